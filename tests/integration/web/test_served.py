"""The application under our own server, over real sockets: what only a server's own parsing can show."""

from __future__ import annotations

from pathlib import Path

import httpx
import trio
from trio_websocket import open_websocket_url

from interview_edge.serving import open_server
from interview_edge.settings import Settings
from nodes import connect, second


def settings(folder: Path) -> Settings:
    return Settings(data_dir=folder, port=0, journal_min_free_bytes=0, drain_timeout=2.0)


async def test_encoded_ids_ranges_and_heads_over_the_wire(tmp_path: Path) -> None:
    with trio.fail_after(30):
        async with (
            open_server(settings(tmp_path)) as server,
            httpx.AsyncClient(base_url=server.url) as client,
        ):
            async with connect(server.edge, "a/b 你") as peer:
                await peer.send_chunk(1)
                await peer.answer()
            path = "/v1/sessions/a%2Fb%20%E4%BD%A0"
            assert (await client.get(f"{path}/state")).json()["session_id"] == "a/b 你"
            whole = await client.get(f"{path}/audio")
            assert whole.content[44:] == second(1)
            part = await client.get(f"{path}/audio", headers={"range": "bytes=44-47"})
            assert (part.status_code, part.content) == (206, second(1)[:4])
            head = await client.head(f"{path}/audio")
            assert (head.headers["content-length"], head.content) == ("32044", b"")
            refused = await client.get("/v1/audio/ws/x")
            assert (refused.status_code, refused.json()["code"]) == (426, "upgrade_required")
            missing = await client.options("/v1/sessions/x/state")
            assert (missing.status_code, missing.headers["allow"]) == (405, "GET, HEAD")


async def exchange(url: str, request: bytes) -> bytes:
    """Everything that the server answers until it closes. (A client library leaves a refused socket open.)"""
    host, port = url.removeprefix("http://").split(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        await stream.send_all(request)
        return b"".join([part async for part in stream])


async def test_a_bad_handshake_gets_its_reason_as_http(tmp_path: Path) -> None:
    upgrade = (
        b" HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    with trio.fail_after(30):
        async with open_server(settings(tmp_path)) as server:
            url = server.url.replace("http", "ws")
            for target, status, code in (
                (b"/v1/audio/ws/%FF", b"400", b"invalid_path"),
                (b"/v1/audio/ws/" + b"x" * 129, b"400", b"invalid_session_id"),
                (b"/nowhere", b"404", b"route_not_found"),
            ):
                answer = await exchange(server.url, b"GET " + target + upgrade)
                assert answer.startswith(b"HTTP/1.1 " + status)
                assert b'"code":"' + code + b'"' in answer
            async with open_websocket_url(url + "/v1/audio/ws/a%2Fb") as socket:
                await socket.send_message('{"type": "hello"}')
                assert '"session_id":"a/b"' in await socket.get_message()


async def test_a_body_too_large_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    with trio.fail_after(30):
        async with open_server(settings(tmp_path)) as server:
            answer = await exchange(
                server.url,
                b"POST /v1/sessions/s/finalize HTTP/1.1\r\nhost: localhost\r\n"
                b"content-length: 99999999\r\n\r\n",
            )
            assert answer.startswith(b"HTTP/1.1 413")
            assert b'"code":"body_too_large"' in answer
