"""Sessions open once, close when idle, drain in time, and leave nothing behind (invariants 6, 9, 11)."""

from __future__ import annotations

import gc
import os
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing

from interview_edge.app import Edge
from interview_edge.catalog.protocol import CatalogUnavailable
from interview_edge.core.models import Caller
from interview_edge.errors import EdgeError
from interview_edge.sessions.session import Session
from interview_edge.settings import SettingsError
from nodes import OpenNode, connect, second


async def test_an_idle_session_closes_and_opens_again_where_it_was(open_node: OpenNode) -> None:
    async with open_node(session_idle_timeout=0.02) as edge:
        async with connect(edge, "s") as client:
            await client.send_chunk(1)
            await client.answer()
            await trio.sleep(0.05)
            assert edge.registry.live("s") is not None  # a socket holds it
        with trio.fail_after(5):
            while edge.registry.live("s") is not None:
                await trio.sleep(0.005)
        async with connect(edge, "s") as client:
            ready = await client.hello()
            assert (ready["next_seq"], ready["epoch"]) == (2, 2)


async def test_many_who_ask_at_once_get_one_session(open_node: OpenNode) -> None:
    async with open_node() as edge:
        seen: set[int] = set()

        async def use() -> None:
            async with edge.registry.use("s") as session:
                seen.add(id(session))
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(use)
        assert len(seen) == 1


async def test_an_opening_that_fails_or_is_cancelled_leaves_the_next_one_free(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node() as edge:

        async def fails(*_: object) -> None:
            raise CatalogUnavailable("down")

        async def hangs(*_: object) -> None:
            await trio.sleep_forever()

        with monkeypatch.context() as broken:
            broken.setattr(edge.parts.catalog, "open_session", fails)
            with pytest.raises(EdgeError, match="catalog_unavailable"):
                async with edge.session("s"):
                    pass
            broken.setattr(edge.parts.catalog, "open_session", hangs)
            with trio.move_on_after(0.01) as scope:
                async with edge.session("s"):
                    pass
            assert scope.cancelled_caught
        async with edge.session("s") as session:
            assert session.next_seq() == 1


async def test_an_opening_cancelled_at_its_last_step_is_only_cancelled(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node() as edge:
        load = edge.registry._load

        async def load_and_give_up(session_id: str, caller: Caller) -> Session:
            session: Session = await load(session_id, caller)
            scope.cancel()
            return session

        with monkeypatch.context() as hasty, trio.CancelScope() as scope:
            hasty.setattr(edge.registry, "_load", load_and_give_up)
            async with edge.session("s"):
                pass
        assert scope.cancelled_caught
        assert len(edge.registry) == 0


async def test_a_session_that_is_being_opened_does_not_hold_up_the_drain(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node() as edge, trio.open_nursery() as nursery:
        load, loading = edge.registry._load, trio.Event()

        async def slow(session_id: str, caller: Caller) -> Session:
            loading.set()
            await trio.sleep(0.01)
            session: Session = await load(session_id, caller)
            return session

        monkeypatch.setattr(edge.registry, "_load", slow)

        @nursery.start_soon
        async def use() -> None:
            async with edge.session("s"):
                pass

        await loading.wait()
        with trio.fail_after(10):
            await edge.registry.close_all()


async def test_a_session_that_failed_takes_nothing_more(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else two sessions of one id would go on side by side, each with half of the ledger."""
    async with open_node() as edge, connect(edge, "s") as client:
        await client.send_chunk(1)
        await client.answer()
        session = edge.registry.live("s")
        assert session is not None
        assert session._nursery is not None

        async def defect() -> None:
            raise RuntimeError("a defect")

        session._nursery.start_soon(defect)
        with trio.fail_after(5):
            while edge.registry.live("s") is not None:
                await trio.sleep(0.001)
        await client.send_chunk(2)
        assert (await client.answer())["code"] == "internal"
        assert (await client.closed_with())[0] == 1011
        async with connect(edge, "s") as again:
            assert (await again.hello())["next_seq"] == 2


async def test_a_fault_in_one_session_leaves_the_node_and_the_others(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Session.run

    async def broken(self: Session, **arguments: Any) -> None:
        if self.session_id == "bad":
            raise RuntimeError("a defect")
        await run(self, **arguments)

    monkeypatch.setattr(Session, "run", broken)
    async with open_node() as edge:
        async with connect(edge, "bad") as client:
            await client.send_chunk(1)
            assert (await client.closed_with())[0] == 1011
        async with connect(edge, "good") as client:
            await client.send_chunk(1)
            assert (await client.answer())["status"] == "stored"


async def test_more_sessions_than_the_limit_are_refused_and_running_ones_go_on(open_node: OpenNode) -> None:
    async with open_node(max_sessions=1) as edge, connect(edge, "one") as one, connect(edge, "two") as two:
        await one.hello()
        await two.send_json(type="hello")
        assert (await two.answer())["code"] == "session_limit"
        assert await two.closed_with() == (1013, "session_limit")
        await one.send_chunk(1)
        assert (await one.answer())["status"] == "stored"


async def test_drain_answers_what_was_accepted_and_says_where_to_resume(open_node: OpenNode) -> None:
    async with open_node() as edge:
        async with connect(edge, "s") as client:
            for seq in (1, 2, 4):
                await client.send_chunk(seq)
            await client.answers(3)
            await client.send_chunk(5)
            await edge.drain(2.0)
            frames = [await client.answer()]
            while frames[-1]["type"] != "going_away":
                frames.append(await client.answer())
            assert frames[-1]["next_seq"] == 3
            assert 0 < frames[-1]["time_left_ms"] <= 2000
            assert await client.closed_with() == (1012, "draining")
        async with connect(edge, "new") as late:
            await late.send_json(type="hello")
            assert (await late.answer())["code"] == "draining"
            assert (await late.closed_with())[0] == 1012
        assert len(edge.sockets) == 0


async def test_two_nodes_on_one_folder_are_refused(open_node: OpenNode) -> None:
    async with open_node():
        with pytest.raises(SettingsError, match="in use by another"):
            async with open_node():
                pass


async def test_a_thousand_connects_and_drops_leave_nothing(open_node: OpenNode) -> None:
    async with open_node(session_idle_timeout=0.02) as edge:
        await _wave(edge, 50)
        await _all_closed(edge)
        tasks, files = trio.lowlevel.current_statistics().tasks_living, _open_files()
        for _ in range(10):
            await _wave(edge, 100)
        await _all_closed(edge)
        assert trio.lowlevel.current_statistics().tasks_living <= tasks
        assert _open_files() <= files
        gc.collect()
        assert not [o for o in gc.get_objects() if isinstance(o, Session)]


async def _wave(edge: Edge, count: int) -> None:
    async def one(number: int) -> None:
        async with connect(edge, f"wave-{number}") as client:
            if number % 2:
                await client.send_chunk(1, second(number))
                await client.answer()

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(one, number)


async def _all_closed(edge: Edge) -> None:
    with trio.fail_after(20):
        while len(edge.registry):
            await trio.sleep(0.005)
        await trio.testing.wait_all_tasks_blocked()  # the last ones are leaving their frames


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_the_windows_of_a_session_stay_below_its_cap_together(open_node: OpenNode) -> None:
    second_bytes = len(second(1))
    cap = 4 * second_bytes / 10**6
    node = open_node(window_ms=2_000, upload_interval_ms=1_000, max_memory_mb=cap)
    async with node as edge, edge.session("s") as session:
        for seq in range(1, 6):
            for stream in ("a", "b", "c", "d"):
                await session.feed(second(seq), seq=seq, stream=stream)
                live = edge.registry.live("s").streams.values()
                assert sum(each.window.held_bytes for each in live) <= 4 * second_bytes
        assert await session.chunk(5, "a") == second(5)
        assert edge.registry.live("s").streams["d"].window.read(5) == second(5)
