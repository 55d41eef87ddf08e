"""Sockets that show their credential in the first frame, by ticket, or lose it while they are open."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from api_keys import bearer, give_key, revoke
from asgi_calls import PATIENCE, Talk, call, talk
from interview_edge.access.principal import Principal, Scope, Via
from interview_edge.app import Edge, wall_ms
from interview_edge.catalog.access import AuditEntry, GrantKind
from interview_edge.core.models import Caller
from interview_edge.serving import open_server
from interview_edge.settings import Settings
from interview_edge.wire import chunk_dialect
from interview_edge.wire.frames import ChunkFrame
from nodes import OpenNode, second

SOCKET = "/v1/audio/ws/interview"
FIRST_FRAME = f"{SOCKET}?auth=first-frame"
HELLO = {"type": "hello"}


def auth(**credential: str) -> dict[str, str]:
    return {"type": "auth", **credential}


def refusal(outcome: Talk) -> tuple[str, int]:
    """The code of the error frame, and the close that followed with it as its reason."""
    (frame,) = outcome.said
    assert frame["type"] == "error"
    assert outcome.closed is not None
    assert outcome.closed[1] == frame["code"]
    return frame["code"], outcome.closed[0]


async def ticket_of(edge: Edge, owner: str = "alice") -> str:
    principal = Principal(owner, frozenset({Scope.INGEST}), Via.KEY)
    return (await edge.access.grants.give(GrantKind.TICKET, principal, 60)).text


@pytest.mark.parametrize("by", ["key", "token", "ticket"])
async def test_the_first_frame_opens_the_socket(open_node: OpenNode, by: str) -> None:
    async with open_node() as edge:
        key = await give_key(edge, "ingest")
        shown = await ticket_of(edge) if by == "ticket" else key
        outcome = await talk(edge.asgi_app, FIRST_FRAME, auth(**{by: shown}), HELLO, replies=2)
        assert [frame["type"] for frame in outcome.said] == ["auth_ok", "ready"]
        assert await edge.parts.catalog.owner_of("interview") == "alice"


@pytest.mark.parametrize(
    ("first", "code"),
    [
        (auth(key="ie_0000000000000000_" + "x" * 43), "invalid_key"),
        (auth(token="nobody's"), "invalid_key"),
        (auth(ticket="nobody's"), "invalid_ticket"),
        (HELLO, "missing_auth"),
        ("{", "missing_auth"),
        (b"IE\x01\x00", "missing_auth"),
        (auth(key="k" * 20_000), "missing_auth"),
    ],
)
async def test_any_other_first_frame_closes_it_with_nothing_opened(
    open_node: OpenNode, first: Any, code: str
) -> None:
    async with open_node() as edge:
        await give_key(edge, "ingest")
        outcome = await talk(edge.asgi_app, FIRST_FRAME, first, HELLO, replies=2)
        assert refusal(outcome) == (code, 4401)
        assert edge.registry.live("interview") is None
        assert await edge.parts.catalog.owner_of("interview") is None
        assert len(edge.sockets) == 0


async def test_each_kind_of_key_in_the_first_frame(open_node: OpenNode) -> None:
    async with open_node() as edge:
        async with edge.registry.use("interview", Caller("alice")):
            pass
        revoked = await give_key(edge, "ingest")
        await revoke(edge, revoked)
        expected = {
            revoked: ("invalid_key", 4401),
            await give_key(edge, "ingest", expires_at=wall_ms() - 1): ("invalid_key", 4401),
            await give_key(edge, "sessions"): ("insufficient_scope", 4403),
            await give_key(edge, "ingest", owner="bob"): ("session_not_found", 1008),
        }
        for key, answer in expected.items():
            outcome = await talk(edge.asgi_app, FIRST_FRAME, auth(key=key), HELLO, replies=2)
            assert refusal(outcome) == answer
        # The headers' key is not the frame's.
        right = await give_key(edge, "ingest")
        outcome = await talk(edge.asgi_app, FIRST_FRAME, HELLO, headers=bearer(right), replies=2)
        assert refusal(outcome) == ("missing_auth", 4401)


async def test_who_says_nothing_is_closed_in_time(open_node: OpenNode) -> None:
    async with open_node(auth_timeout=0.01) as edge:
        await give_key(edge, "ingest")
        assert refusal(await talk(edge.asgi_app, FIRST_FRAME, replies=2)) == ("auth_timeout", 4401)


async def test_who_has_said_nothing_yet_is_told_of_a_drain(open_node: OpenNode) -> None:
    async with open_node(auth_timeout=60) as edge, trio.open_nursery() as nursery:
        await give_key(edge, "ingest")
        outcomes: list[Talk] = []

        async def wait() -> None:
            outcomes.append(await talk(edge.asgi_app, FIRST_FRAME, replies=2))

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        await edge.drain(1)
        with trio.fail_after(PATIENCE):
            while not outcomes:
                await trio.lowlevel.checkpoint()
        assert refusal(outcomes[0]) == ("draining", 1012)


async def test_without_keys_the_first_frame_is_answered_all_the_same(open_node: OpenNode) -> None:
    async with open_node() as edge:
        outcome = await talk(edge.asgi_app, FIRST_FRAME, auth(key="any"), HELLO, replies=2)
        assert [frame["type"] for frame in outcome.said] == ["auth_ok", "ready"]
        elsewhere = await talk(edge.asgi_app, FIRST_FRAME, headers={"host": "rebound.example.com"})
        assert elsewhere.status == 403


@pytest.mark.parametrize(("offered", "chosen"), [("ie.v1, ", "ie.v1"), ("", None)])
async def test_a_ticket_among_the_subprotocols_opens_one_socket(
    open_node: OpenNode, offered: str, chosen: str | None
) -> None:
    async with open_node() as edge:
        await give_key(edge, "ingest")
        offer = {"sec-websocket-protocol": f"{offered}ie.ticket.{await ticket_of(edge)}"}
        outcome = await talk(edge.asgi_app, SOCKET, HELLO, headers=offer, replies=1)
        assert (outcome.status, outcome.subprotocol) == (101, chosen)
        again = await talk(edge.asgi_app, SOCKET, headers=offer)
        assert again.refused is not None
        assert (again.status, again.refused.json()["code"]) == (401, "invalid_ticket")


async def test_a_ticket_is_used_up_last(open_node: OpenNode) -> None:
    async with open_node() as edge:
        await give_key(edge, "ingest")
        offer = {"sec-websocket-protocol": f"ie.v1, ie.ticket.{await ticket_of(edge)}"}
        assert (await talk(edge.asgi_app, "/nowhere", headers=offer)).status == 404
        assert (await talk(edge.asgi_app, f"{SOCKET}/Teacher", headers=offer)).status == 400
        asked = await call(edge.asgi_app, "GET", "/v1/sessions/interview/state", headers=offer)
        assert (asked.status, asked.json()["code"]) == (401, "invalid_ticket")  # for sockets only
        assert (await talk(edge.asgi_app, SOCKET, headers=offer)).status == 101


async def test_of_two_sockets_with_one_ticket_one_is_admitted(open_node: OpenNode) -> None:
    async with open_node() as edge:
        await give_key(edge, "ingest")
        ticket = await ticket_of(edge)
        offer = {"sec-websocket-protocol": f"ie.v1, ie.ticket.{ticket}"}
        outcomes: list[bool] = []

        async def by_offer() -> None:
            outcomes.append((await talk(edge.asgi_app, SOCKET, headers=offer)).status == 101)

        async def by_frame() -> None:
            said = (await talk(edge.asgi_app, FIRST_FRAME, auth(ticket=ticket), replies=1)).said
            outcomes.append(said[0]["type"] == "auth_ok")

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(by_offer)
                nursery.start_soon(by_frame)
        assert outcomes.count(True) == 1


# -- over real connections: pipelined frames, revocation, expiry


def settings(folder: Path, **more: Any) -> Settings:
    defaults: dict[str, Any] = {"port": 0, "journal_min_free_bytes": 0, "drain_timeout": 2.0}
    return Settings(data_dir=folder, **(defaults | more))


@asynccontextmanager
async def serving(folder: Path, **more: Any) -> AsyncIterator[tuple[Edge, str]]:
    """A node that is served, and the URL of its sockets."""
    with trio.fail_after(30):
        async with open_server(settings(folder, **more)) as server:
            yield server.edge, server.url.replace("http", "ws")


@asynccontextmanager
async def opened(url: str, path: str, **more: Any) -> AsyncIterator[WebSocketConnection]:
    """A WebSocket on a stream of our own: the library leaves it open where the server closes first."""
    host, _, port = url.removeprefix("ws://").rpartition(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream, trio.open_nursery() as nursery:
        yield await wrap_client_stream(nursery, stream, f"{host}:{port}", path, **more)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def connected(url: str, key: str, session_id: str) -> AsyncIterator[WebSocketConnection]:
    """A socket by header that the server has greeted."""
    headers = [(name.encode(), value.encode()) for name, value in bearer(key).items()]
    async with opened(url, f"/v1/audio/ws/{session_id}", extra_headers=headers) as socket:
        await socket.send_message(json.dumps(HELLO))
        assert (await told(socket))["type"] == "ready"
        yield socket


async def told(socket: WebSocketConnection) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await socket.get_message())
    return found


async def ends_with(socket: WebSocketConnection) -> tuple[str, int]:
    """The code of the error frame, and of the close after it."""
    frame = await told(socket)
    with pytest.raises(ConnectionClosed) as closed:
        await socket.get_message()
    assert closed.value.reason is not None
    assert closed.value.reason.reason == frame["code"]
    return frame["code"], closed.value.reason.code


async def test_frames_sent_along_with_the_first_wait_for_its_answer(tmp_path: Path) -> None:
    async with serving(tmp_path) as (edge, url):
        key = await give_key(edge, "ingest")
        async with opened(url, FIRST_FRAME) as socket:
            for frame in (auth(key=key), HELLO, {"type": "ping"}):
                await socket.send_message(json.dumps(frame))
            assert {(await told(socket))["type"] for _ in range(3)} == {"auth_ok", "ready", "pong"}
        async with opened(url, FIRST_FRAME) as socket:
            for frame in (auth(key=key + "x"), HELLO):
                await socket.send_message(json.dumps(frame))
            assert await ends_with(socket) == ("invalid_key", 4401)


async def test_a_browser_s_offers_are_answered_with_ours(tmp_path: Path) -> None:
    async with serving(tmp_path) as (edge, url):
        await give_key(edge, "ingest")
        offers = ["ie.v1", f"ie.ticket.{await ticket_of(edge)}"]
        async with opened(url, SOCKET, subprotocols=offers) as socket:
            assert socket.subprotocol == "ie.v1"


async def test_a_revoked_key_ends_its_open_sockets_and_no_others(tmp_path: Path) -> None:
    async with serving(tmp_path) as (edge, url):
        hers, his = await give_key(edge, "ingest"), await give_key(edge, "ingest", owner="bob")
        async with connected(url, hers, "one") as ended, connected(url, his, "two") as stays:
            chunk = ChunkFrame(1, 1_000, False, second(1))
            await ended.send_message(chunk_dialect.encode_chunk_binary(chunk))
            assert (await told(ended))["type"] == "ack"
            await revoke(edge, hers)
            assert await ends_with(ended) == ("invalid_key", 4401)
            await stays.send_message(json.dumps({"type": "ping"}))
            assert (await told(stays))["type"] == "pong"
        admin = bearer(await give_key(edge, "admin"))
        state = await call(edge.asgi_app, "GET", "/v1/sessions/one/state", headers=admin)
        assert state.json()["ingest"]["received_chunks"] == 1  # what was acked stays


async def test_a_key_that_another_process_revokes_ends_them_too(tmp_path: Path) -> None:
    async with serving(tmp_path, key_poll_interval=0.01) as (edge, url):
        key = await give_key(edge, "ingest")
        async with connected(url, key, "one") as ended:
            entry = AuditEntry(at=wall_ms(), action="key.revoke", outcome="done")
            await edge.parts.catalog.access.revoke_key(key.split("_")[1], wall_ms(), entry)
            assert await ends_with(ended) == ("invalid_key", 4401)


@pytest.mark.parametrize("catalog_is_away", [False, True])
async def test_a_key_that_expires_ends_them_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, catalog_is_away: bool
) -> None:
    ahead = 0
    monkeypatch.setattr("interview_edge.app.wall_ms", lambda: wall_ms() + ahead)
    async with serving(tmp_path, key_poll_interval=0.01) as (edge, url):
        key = await give_key(edge, "ingest", expires_at=wall_ms() + 3_600_000)
        async with connected(url, key, "one") as ended:
            if catalog_is_away:
                await edge.parts.catalog.aclose()
            ahead = 3_600_000
            assert await ends_with(ended) == ("invalid_key", 4401)
