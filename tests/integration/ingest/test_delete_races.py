"""A deletion against whatever comes meanwhile: nothing is acked for a session that has a tombstone."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from interview_edge.app import Edge
from interview_edge.errors import EdgeError
from interview_edge.sessions.deleting import delete
from nodes import Gate, OpenNode, connect, second


async def leave_one_second(edge: Edge) -> None:
    """A session with one second that nobody uses any more."""
    async with edge.session("s") as session:
        await session.feed(second(1), seq=1)


async def test_a_socket_that_comes_during_a_deletion_is_told_4410(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node() as edge:
        await leave_one_second(edge)
        tombstone = Gate(edge.parts.catalog, "mark_deleted", monkeypatch)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(delete, "s", edge.registry, edge.parts)
            await tombstone.reached.wait()
            async with connect(edge, "s") as client:
                await client.send_chunk(2)
                await trio.testing.wait_all_tasks_blocked(0.01)
                tombstone.go_on.set()
                assert (await client.answer())["code"] == "session_deleted"
                assert (await client.closed_with())[0] == 4410


async def test_a_deletion_cut_off_after_its_tombstone_leaves_no_session_that_acks(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node() as edge:
        await leave_one_second(edge)
        tombstone = Gate(edge.parts.catalog, "mark_deleted", monkeypatch)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(delete, "s", edge.registry, edge.parts)
            await tombstone.reached.wait()
            nursery.cancel_scope.cancel()
        async with connect(edge, "s") as client:
            await client.send_chunk(2)
            assert (await client.answer())["code"] == "session_deleted"


async def test_whoever_holds_a_deleted_session_is_told(open_node: OpenNode) -> None:
    async with open_node() as edge, edge.session("s") as session:
        await session.feed(second(1), seq=1)
        await delete("s", edge.registry, edge.parts)
        for seq in (1, 2):  # a repeat and a new one
            with trio.fail_after(5), pytest.raises(EdgeError, match="session_deleted"):
                await session.feed(second(seq), seq=seq)
        with pytest.raises(EdgeError, match="session_deleted"):
            await session.finalize()
        assert [info async for info in edge.parts.backend.list("sessions/")] == []


async def test_a_finalize_that_waited_behind_a_deletion_writes_nothing(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node() as edge, edge.session("s") as session:
        await session.feed(second(1), seq=1)
        tombstone = Gate(edge.parts.catalog, "mark_deleted", monkeypatch)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(delete, "s", edge.registry, edge.parts)
            await tombstone.reached.wait()

            @nursery.start_soon
            async def finalize() -> None:
                with pytest.raises(EdgeError, match="session_deleted"):
                    await session.finalize()

            await trio.testing.wait_all_tasks_blocked(0.01)
            tombstone.go_on.set()
        assert [info async for info in edge.parts.backend.list("sessions/")] == []


async def test_a_refused_deletion_leaves_the_session_as_it_was(open_node: OpenNode) -> None:
    async with open_node() as edge, connect(edge, "s") as client:
        await client.send_chunk(1)
        await client.answer()
        with pytest.raises(EdgeError, match="session_live"):
            await delete("s", edge.registry, edge.parts)
        await client.send_chunk(2)
        assert (await client.answer())["status"] == "stored"
        async with connect(edge, "s") as other:
            assert (await other.hello())["epoch"] == 1


async def test_a_repeat_whose_session_ends_is_answered(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node() as edge, edge.session("s") as session:
        await session.feed(second(1), seq=1)

        async def hangs(*_: object) -> None:
            await trio.sleep_forever()

        monkeypatch.setattr(edge.parts.journal, "rows", hangs)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def repeat() -> None:
                with trio.fail_after(5), pytest.raises(EdgeError, match="storage_unavailable"):
                    await session.feed(second(1), seq=1)

            await trio.testing.wait_all_tasks_blocked(0.01)
            live = edge.registry.live("s")
            assert live is not None
            live.close()
