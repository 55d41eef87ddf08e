"""A request that is refused at the door, over a real connection: its client sees the answer, whatever it does
with its body.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trio
import trio.lowlevel

from api_keys import give_key
from interview_edge.serving import open_server
from interview_edge.settings import Settings
from interview_edge.web import refused_body

RESOLVE = "/v1/sessions/s/resolve"


@asynccontextmanager
async def guarded(folder: Path) -> AsyncIterator[str]:
    """The URL of a node that asks for a key."""
    settings = Settings(data_dir=folder, port=0, journal_min_free_bytes=0, drain_timeout=2.0)
    with trio.fail_after(30):
        async with open_server(settings) as server:
            await give_key(server.edge, "sessions")
            yield server.url


@asynccontextmanager
async def connection(url: str) -> AsyncIterator[trio.SocketStream]:
    host, port = url.removeprefix("http://").split(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        yield stream


def head(method: str, path: str, *lines: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "host: edge", *lines, "", ""]).encode()


async def answer(stream: trio.SocketStream) -> tuple[bytes, bytes]:
    """Status line and headers, and the body, of one answer with a Content-Length."""
    got = b""
    while b"\r\n\r\n" not in got:
        got += await stream.receive_some()
    headers, _, body = got.partition(b"\r\n\r\n")
    length = int(headers.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += await stream.receive_some()
    assert len(body) == length
    return headers, body


@pytest.mark.parametrize("path", [RESOLVE, "/nowhere", "/v1/sessions/s/state"])
async def test_a_small_body_is_thrown_away_and_the_connection_goes_on(tmp_path: Path, path: str) -> None:
    async with guarded(tmp_path) as url, connection(url) as stream:
        for _ in range(2):
            await stream.send_all(head("POST", path, "content-length: 60000"))
            for _ in range(6):  # after the headers, in parts
                await trio.lowlevel.checkpoint()
                await stream.send_all(b"x" * 10_000)
            headers, body = await answer(stream)
            assert headers.split()[1] in (b"401", b"404", b"405")
            assert b"connection: close" not in headers.lower()
            assert b'"code"' in body
        await stream.send_all(head("GET", "/livez"))
        assert (await answer(stream))[0].startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("length", ["content-length: 9000000", "transfer-encoding: chunked"])
async def test_a_large_body_is_answered_unread_and_the_connection_closed(tmp_path: Path, length: str) -> None:
    async with guarded(tmp_path) as url, connection(url) as stream:
        await stream.send_all(head("POST", RESOLVE, length))
        headers, body = await answer(stream)
        assert headers.startswith(b"HTTP/1.1 401")
        assert b"connection: close" in headers.lower()
        assert b"missing_auth" in body
        assert await stream.receive_some() == b""


async def test_a_client_that_sends_all_of_it_first_sees_the_answer(tmp_path: Path) -> None:
    async with guarded(tmp_path) as url, httpx.AsyncClient(base_url=url) as client:
        for size in (10, 100_000, 3_000_000):
            refused = await client.post(RESOLVE, content=b"x" * size)
            assert (refused.status_code, refused.json()["code"]) == (401, "missing_auth")


async def test_who_promises_a_small_body_and_sends_none_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refused_body, "PATIENCE", 0.01)
    async with guarded(tmp_path) as url, connection(url) as stream:
        await stream.send_all(head("POST", RESOLVE, "content-length: 10"))
        headers, _ = await answer(stream)
        assert headers.startswith(b"HTTP/1.1 401")
        assert b"connection: close" in headers.lower()
        assert await stream.receive_some() == b""
