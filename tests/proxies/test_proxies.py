"""Each reverse proxy of the how-tos, as configured there, with TLS, in front of two nodes."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import attrs
import httpx
import pybase64
import pytest
import trio
from trio_websocket import HandshakeError, WebSocketConnection

from api_keys import give_key
from interview_edge import Settings
from interview_edge.core.pcm import CHUNK_BYTES
from interview_edge.serving import Server, open_server
from nodes import second
from proxies.entrance import HOST, PATIENCE, PROGRAMS, Entrance, Program, entrance

IDS = ("one", "two", "a/b", "%2F", "a%b", "采访 1", "..", "x?y#z", *(f"interview-{n}" for n in range(8)))
BURSTS = (1001, 1002)  # by RateLimit-Limit a test sees which node answered


@attrs.frozen
class House:
    """Two nodes behind a proxy, with a key that both know."""

    entrance: Entrance
    nodes: Sequence[Server]
    key: str

    def node_of(self, headers: Any) -> int:
        return BURSTS.index(int(headers["ratelimit-limit"]))


@asynccontextmanager
async def opened(program: Program, folder: Path, **changes: Any) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        nodes = []
        for number, burst in enumerate(BURSTS):
            settings = Settings(
                port=0,
                data_dir=folder / f"node{number}",
                catalog=f"sqlite://{folder}/catalog.db",
                storage=(folder / "objects").as_uri(),
                trusted_proxies=("127.0.0.1",),
                journal_min_free_bytes=0,
                ip_rate=0.001,
                ip_burst=burst,
                key_rate=0,
                drain_timeout=1,
                **changes,
            )
            nodes.append(await stack.enter_async_context(open_server(settings)))
        key = await give_key(nodes[0].edge, "ingest", "sessions")
        await nodes[1].edge.access.ring.load()
        addresses = [node.url.removeprefix("http://") for node in nodes]
        yield House(await stack.enter_async_context(entrance(program, addresses, folder)), nodes, key)


@pytest.fixture(params=PROGRAMS, ids=lambda program: program.name)
async def house(request: Any, tmp_path: Path) -> AsyncIterator[House]:
    async with opened(request.param, tmp_path) as house:
        yield house


def path(session_id: str, rest: str = "/state") -> str:
    return f"/v1/sessions/{spelled(session_id)}{rest}"


def spelled(session_id: str) -> str:
    """As the Python client does; dots alone would be a folder's name to whoever reads the path."""
    return quote(session_id, safe="").replace("..", "%2E%2E")


async def ask(ws: WebSocketConnection, frame: dict[str, Any], padding: int = 0) -> dict[str, Any]:
    with trio.fail_after(PATIENCE):
        await ws.send_message(json.dumps(frame) + " " * padding)
        answer: dict[str, Any] = json.loads(await ws.get_message())
    return answer


def chunk(seq: int) -> dict[str, Any]:
    assert len(second(seq)) == CHUNK_BYTES
    return {
        "type": "chunk", "seq": seq, "timestamp_ms": 1000 * seq, "sample_rate": 16000, "channels": 1,
        "format": "pcm_s16le", "content_b64": pybase64.b64encode(second(seq)).decode(),
    }  # fmt: skip


async def test_audio_is_streamed_and_acked(house: House) -> None:
    async with house.entrance.audio("/v1/audio/ws/interview", house.key) as ws:
        for seq in range(1, 6):
            answer = await ask(ws, chunk(seq) | {"meeting_id": "interview"})
            assert (answer["type"], answer["seq"]) == ("ack", seq)
    async with house.entrance.http(house.key) as http:
        state = (await http.get(path("interview"))).json()
        assert state["ingest"]["received_chunks"] == 5
        part = await http.get(path("interview", "/chunks/3"))
    assert part.content == second(3)


async def test_a_session_s_requests_all_reach_the_same_node(house: House) -> None:
    """Whatever its id holds: the path comes as it was sent."""
    found: dict[str, int] = {}
    async with house.entrance.http(house.key) as http:
        for session_id in IDS:
            for _ in range(2):
                answer = await http.get(path(session_id))
                assert answer.status_code == 200
                node = house.node_of(answer.headers)
                assert found.setdefault(session_id, node) == node
            audio = f"/v1/audio/ws/{spelled(session_id)}"
            for target in (audio, f"{audio}/teacher"):
                async with house.entrance.audio(target, house.key) as ws:
                    told = {name.decode(): value.decode() for name, value in ws.handshake_headers}
                    assert house.node_of(told) == found[session_id]
                    assert (await ask(ws, {"type": "hello"}))["type"] == "ready"
                    assert house.nodes[found[session_id]].edge.registry.live(session_id) is not None
    assert set(found.values()) == {0, 1}


async def test_large_frames_and_bodies_pass(house: House) -> None:
    async with house.entrance.audio("/v1/audio/ws/interview", house.key) as ws:
        answer = await ask(ws, chunk(1) | {"meeting_id": "interview"}, padding=200_000)
        assert (answer["type"], answer["seq"]) == ("ack", 1)
    body = b'{"padding":"' + b"x" * (15 * 1024 * 1024) + b'"}'
    async with house.entrance.http(house.key) as http:
        answer = await http.post(path("interview", "/resolve"), content=body)
    # The node read it all, and misses the audio in it.
    assert (answer.status_code, answer.json()["code"]) == (400, "audio_required")


async def test_the_proxy_is_believed_and_its_clients_are_not(house: House) -> None:
    """An address's requests are counted down: by that one sees whose a request is."""

    def left(answer: httpx.Response) -> int:
        return int(answer.headers["ratelimit-limit"]) - int(answer.headers["ratelimit-remaining"])

    spoofed = {"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "http"}
    async with house.entrance.http(house.key) as http, house.entrance.http(house.key, "127.0.0.3") as other:
        first = await http.get(path("interview"))
        second = await http.get(path("interview"), headers=spoofed)
        stranger = await other.get(path("interview"), headers={"x-forwarded-for": "127.0.0.2, 127.0.0.1"})
    assert [left(first), left(second), left(stranger)] == [1, 2, 1]
    for answer in (first, second):
        assert "strict-transport-security" in answer.headers
    # Not through the proxy, and not from an address that is trusted: what it says of itself counts nothing.
    node = house.nodes[house.node_of(first.headers)]
    transport = httpx.AsyncHTTPTransport(local_address="127.0.0.4")
    headers = {"authorization": f"Bearer {house.key}", "x-forwarded-for": "127.0.0.2"}
    async with httpx.AsyncClient(transport=transport, base_url=node.url, headers=headers) as direct:
        answers = [await direct.get(path("interview")) for _ in range(2)]
    assert [left(answer) for answer in answers] == [1, 2]


async def test_the_server_s_own_checks_work_through_it(house: House) -> None:
    async with house.entrance.http("ie_wrong") as http:
        refused = await http.get(path("interview"))
        ready = await http.get("/readyz", headers={"authorization": ""})
    assert (refused.status_code, refused.json()["code"]) == (401, "invalid_key")
    assert ready.status_code == 200


async def test_a_page_behind_it_logs_in_and_out(house: House) -> None:
    """`Host` and the scheme come through: the cookie is for TLS alone, and a page's own origin is known."""
    origin = {"origin": f"https://{HOST}:{house.entrance.port}"}
    async with house.entrance.http("") as page:
        del page.headers["authorization"]
        login = await page.post("/auth/login", json={"key": house.key}, headers=origin)
        assert "; Secure" in login.headers["set-cookie"]
        proof = {"x-csrf-token": login.json()["csrf_token"]}
        foreign = await page.post(
            path("one", "/finalize"), headers=proof | {"origin": "https://evil.example"}
        )
        own = await page.post(path("one", "/finalize"), headers=proof | origin)
    assert (foreign.status_code, foreign.json()["code"]) == (403, "csrf_refused")
    assert own.status_code == 200


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
async def test_without_a_key_nobody_is_served_through_it(program: Program, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        settings = Settings(port=0, data_dir=tmp_path / "node", trusted_proxies=("127.0.0.1",))
        node = await stack.enter_async_context(open_server(settings))
        address = node.url.removeprefix("http://")
        found = await stack.enter_async_context(entrance(program, [address] * 2, tmp_path))
        http = await stack.enter_async_context(found.http("none", "127.0.0.1"))
        answer = await http.get(path("interview"))
    assert (answer.status_code, answer.json()["code"]) == (403, "local_only")


async def test_a_node_that_drains_gets_no_more_sockets(house: House) -> None:
    async with house.entrance.http(house.key) as http:
        node = house.node_of((await http.get(path("interview"))).headers)
    async with house.entrance.audio("/v1/audio/ws/interview", house.key) as ws:
        assert (await ask(ws, {"type": "hello"}))["type"] == "ready"
        await house.nodes[node].edge.drain(1)
    with trio.fail_after(PATIENCE):
        while house.nodes[1 - node].edge.registry.live("interview") is None:
            await try_a_socket(house)


async def try_a_socket(house: House) -> None:
    """Open the session; a proxy that asks nodes how they are may not know yet."""
    try:
        async with house.entrance.audio("/v1/audio/ws/interview", house.key) as ws:
            assert (await ask(ws, {"type": "hello"}))["type"] == "ready"
    except* HandshakeError:
        await trio.sleep(0.05)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_idle_sockets_are_left_open_longer_than_the_server_s_pings_are_apart(program: Program) -> None:
    names = "timeout client|timeout server|timeout tunnel|proxy_read_timeout|proxy_send_timeout"
    limits = re.findall(rf"(?:{names}) +(\d+)s", program.configuration)
    assert len(limits) == {"nginx": 2, "caddy": 0, "haproxy": 3}[program.name]
    assert all(int(seconds) >= Settings().silent_peer_timeout for seconds in limits)
