"""Request bodies: each limit, their sum, the pace; on plain ASGI messages, without a server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from interview_edge.errors import EdgeError
from interview_edge.web.hypercorn import BodyBudget, BodyLimit


@attrs.define
class Peer:
    """A client whose body is `pieces`, `pause` seconds apart; a body without an end when `endless`."""

    pieces: list[bytes]
    pause: float = 0
    endless: bool = False
    read: int = 0
    got: list[dict[str, Any]] = attrs.Factory(list)

    async def receive(self) -> dict[str, Any]:
        await trio.sleep(self.pause)
        piece = self.pieces[self.read] if self.read < len(self.pieces) else b""
        self.read += 1
        return {
            "type": "http.request",
            "body": piece,
            "more_body": self.endless or self.read < len(self.pieces),
        }

    async def send(self, message: Any) -> None:
        await trio.lowlevel.checkpoint()
        self.got.append(message)

    @property
    def status(self) -> int:
        return int(self.got[0]["status"])


async def take_whole_body(_scope: Any, receive: Any, send: Any) -> None:
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        body += message["body"]
        if not message["more_body"]:
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def refuse(error: EdgeError, _scope: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": error.kind.status, "headers": []})
    await send({"type": "http.response.body", "body": error.kind.code.encode()})


def limited(app: Any = take_whole_body, budget: BodyBudget | None = None, **rules: Any) -> BodyLimit:
    rules = {"budget_timeout": 5, "grace": 10, "min_rate": 100, **rules}
    return BodyLimit(
        app=app, limit_for=lambda _scope: 1000, budget=budget or BodyBudget(10_000), refuse=refuse, **rules
    )


def scope(*headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http", "method": "POST", "path": "/", "headers": list(headers)}


def sized(length: int) -> dict[str, Any]:
    return scope((b"content-length", b"%d" % length))


CHUNKED = (b"transfer-encoding", b"chunked")


@pytest.mark.parametrize("head", [sized(1000), scope(CHUNKED)])
async def test_a_body_at_the_limit_passes_whole(head: dict[str, Any]) -> None:
    peer = Peer([b"a" * 600, b"b" * 400])
    await limited()(head, peer.receive, peer.send)
    assert peer.got[-1]["body"] == b"a" * 600 + b"b" * 400


async def test_a_declared_length_over_the_limit_is_refused_unread() -> None:
    peer = Peer([b"a" * 1001])
    await limited()(sized(1001), peer.receive, peer.send)
    assert (peer.status, peer.read) == (413, 0)
    assert (b"connection", b"close") in peer.got[0]["headers"]
    assert peer.got[-1]["body"] == b"body_too_large"


async def test_a_chunked_body_is_cut_off_at_the_limit_and_answered_once() -> None:
    peer = Peer([b"a" * 400] * 100)
    await limited()(scope(CHUNKED), peer.receive, peer.send)
    assert (peer.status, peer.read) == (413, 3)
    assert len(peer.got) == 2


@pytest.mark.parametrize("pieces", [[], [b"x"] * 10_000])
async def test_a_body_below_the_least_pace_is_refused(pieces: list[bytes], autojump_clock: MockClock) -> None:
    peer = Peer(pieces, pause=1 if pieces else 3600, endless=True)
    await limited()(scope(CHUNKED), peer.receive, peer.send)
    assert peer.status == 408
    assert 10 <= trio.current_time() < 12


async def test_a_slow_body_at_the_least_pace_passes(autojump_clock: MockClock) -> None:
    peer = Peer([b"a" * 20] * 50, pause=0.19)
    await limited(grace=0.5)(sized(1000), peer.receive, peer.send)
    assert peer.status == 200


async def test_time_the_application_takes_is_not_the_peers(autojump_clock: MockClock) -> None:
    async def dawdle(_scope: Any, receive: Any, send: Any) -> None:
        await trio.sleep(1000)
        await take_whole_body(_scope, receive, send)

    peer = Peer([b"a"])
    await limited(dawdle)(sized(1), peer.receive, peer.send)
    assert peer.status == 200


async def test_the_sum_of_bodies_is_bounded_and_the_next_waits(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    budget, release, running = BodyBudget(2000), trio.Event(), 0

    async def hold(_scope: Any, receive: Any, send: Any) -> None:
        nonlocal running
        running += 1
        await release.wait()
        await take_whole_body(_scope, receive, send)

    app = limited(hold, budget, budget_timeout=60)
    peers = [Peer([b"a" * 900]) for _ in range(3)]
    for peer in peers:
        nursery.start_soon(app, sized(900), peer.receive, peer.send)
    await wait_all_tasks_blocked()
    assert (running, budget.held) == (2, 1800)
    release.set()
    await trio.sleep(1)
    assert [peer.status for peer in peers] == [200, 200, 200]
    assert budget.held == 0


async def test_no_room_in_time_is_503(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async def hold(_scope: Any, _receive: Any, _send: Any) -> None:
        await trio.sleep(3600)

    app = limited(hold, BodyBudget(1000))
    first, second = Peer([]), Peer([])
    nursery.start_soon(app, scope(CHUNKED), first.receive, first.send)
    await wait_all_tasks_blocked()
    await app(sized(1), second.receive, second.send)
    assert (second.status, second.got[-1]["body"], second.read) == (503, b"bodies_busy", 0)
    nursery.cancel_scope.cancel()


async def test_a_cancelled_wait_for_room_holds_nothing(nursery: trio.Nursery) -> None:
    budget = BodyBudget(1000)
    async with budget.reserve(900, 60):
        with trio.move_on_after(0):
            async with budget.reserve(200, 60):
                raise AssertionError("there was no room")
    assert budget.held == 0
    async with budget.reserve(1000, 60):
        assert budget.held == 1000


@pytest.mark.parametrize("fails", [ValueError, None])
async def test_the_reservation_ends_with_the_request(fails: type[Exception] | None) -> None:
    budget = BodyBudget(1000)

    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        await trio.lowlevel.checkpoint()
        if fails is not None:
            raise fails

    peer = Peer([b"a"])
    if fails is None:
        await limited(app, budget)(sized(1), peer.receive, peer.send)
    else:
        with pytest.raises(fails):
            await limited(app, budget)(sized(1), peer.receive, peer.send)
    assert budget.held == 0


@pytest.mark.parametrize("make", [lambda: {"type": "websocket", "headers": []}, lambda: sized(0), scope])
async def test_what_has_no_body_goes_straight_through(make: Callable[[], dict[str, Any]]) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await trio.lowlevel.checkpoint()
        seen.append((scope, receive, send))

    peer, head = Peer([]), make()
    await limited(app)(head, peer.receive, peer.send)
    assert seen == [(head, peer.receive, peer.send)]
