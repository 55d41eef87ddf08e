"""Somebody else opens the session between the door's look at it and the view: nothing of it is shown."""

from __future__ import annotations

import pytest
import trio

from api_keys import bearer, give_key
from asgi_calls import Answer, Talk, call, talk
from interview_edge.core.models import Caller, StreamKey
from interview_edge.sessions.finalizer import FinalizeRequest, finalize
from interview_edge.sessions.handle import SessionHandle
from nodes import Gate, OpenNode, second

ONE = "/v1/sessions/interview"
ROUTES = [
    ("GET", f"{ONE}/state"),
    ("GET", f"{ONE}/events"),
    ("GET", f"{ONE}/result"),
    ("GET", f"{ONE}/audio"),
    ("GET", f"{ONE}/audio?format=flac"),
    ("GET", f"{ONE}/chunks/1"),
    ("POST", f"{ONE}/finalize"),
    ("DELETE", ONE),
]
SOCKET = "/v1/audio/ws/interview"


@pytest.mark.parametrize("still_open", [True, False], ids=["open", "closed"])
@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_nothing_of_another_s_is_shown(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch, method: str, path: str, *, still_open: bool
) -> None:
    async with open_node() as edge:
        bob = bearer(await give_key(edge, "sessions", "ingest", owner="bob"))
        looked = Gate(edge.parts.catalog, "owner_of", monkeypatch)
        answers: list[Answer] = []

        async def ask() -> None:
            answers.append(await call(edge.asgi_app, method, path, headers=bob))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await looked.reached.wait()  # the door found it nobody's
            async with edge.registry.use("interview", Caller("alice")) as session:
                await SessionHandle(session, edge.parts).feed(second(1), seq=1)
                await finalize(session, FinalizeRequest(), edge.parts)
            if not still_open:
                await edge.registry.close_one("interview")
            looked.go_on.set()
        assert (answers[0].status, answers[0].json()["code"]) == (404, "session_not_found")
        assert (await call(edge.asgi_app, "GET", ONE + "/state", headers=bob)).status == 404
        assert await edge.parts.reader.chunk(StreamKey("interview"), 1) == second(1)  # it is all there


async def test_a_socket_that_finds_it_another_s_is_closed(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node() as edge:
        bob = bearer(await give_key(edge, "ingest", owner="bob"))
        looked = Gate(edge.parts.catalog, "owner_of", monkeypatch)
        outcomes: list[Talk] = []

        async def record() -> None:
            outcomes.append(await talk(edge.asgi_app, SOCKET, {"type": "hello"}, headers=bob, replies=2))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(record)
            await looked.reached.wait()
            async with edge.registry.use("interview", Caller("alice")):
                pass
            looked.go_on.set()
        assert [frame["code"] for frame in outcomes[0].said] == ["session_not_found"]
        assert outcomes[0].closed == (1008, "session_not_found")
