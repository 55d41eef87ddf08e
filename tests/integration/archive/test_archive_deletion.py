"""Deleting a session: nothing of it stays or comes back, wherever a crash cuts the deletion off."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from interview_edge.archive import delete_session, resume_deletions
from interview_edge.backends.memory import MemoryBackend
from interview_edge.backends.protocol import BackendRefused
from interview_edge.catalog import SessionIsDeleted
from interview_edge.core.models import StreamKey
from interview_edge.testing import FaultyBackend

from .conftest import (
    BACKEND_CALLS,
    CATALOG_CALLS,
    JOURNAL_CALLS,
    KEY,
    NOW,
    Fuse,
    HeldBackend,
    Node,
    OpenNode,
    assert_exact,
    chunk_of,
    drained,
    until,
)

NEIGHBOUR = StreamKey(KEY.session_id + "0")  # whose keys begin as the session's do, but for the slash


async def fill(node: Node) -> None:
    for key in (KEY, NEIGHBOUR):
        await node.journal_chunks([chunk_of(1), chunk_of(2)], key)
        await node.flush(key.session_id)
        await node.journal_chunks([chunk_of(3)], key)  # still in the journal


async def delete(node: Node, fuse: Fuse | None = None) -> None:
    fuse = Fuse() if fuse is None else fuse
    fuse.armed = True
    await delete_session(
        KEY.session_id,
        journal=fuse.wire(node.journal, JOURNAL_CALLS),
        catalog=fuse.wire(node.catalog, CATALOG_CALLS),
        backend=fuse.wire(node.backend, BACKEND_CALLS),
        archive=node.archive,
        at=NOW,
    )


async def resume(node: Node) -> None:
    with trio.fail_after(30):
        await resume_deletions(
            journal=node.journal,
            catalog=node.catalog,
            backend=node.backend,
            archive=node.archive,
            now_ms=lambda: NOW,
            retry_interval=0.001,
        )


async def assert_gone(node: Node) -> None:
    assert await node.keys(f"sessions/{KEY.session_id}/") == []
    assert [stream.key for stream in await node.journal.streams() if stream.key == KEY] == []
    assert await node.catalog.extents(KEY) == []
    assert await node.catalog.deletions_under_way() == []
    with pytest.raises(SessionIsDeleted):
        await node.catalog.open_session(KEY.session_id, NOW)


async def test_everything_goes_and_the_neighbour_stays(open_node: OpenNode, backend: MemoryBackend) -> None:
    async with open_node(backend) as node:
        await fill(node)
        await delete(node)
        await assert_gone(node)
        await node.flush(NEIGHBOUR.session_id)
        assert len(await node.keys(f"sessions/{NEIGHBOUR.session_id}/")) == 3


async def test_a_deletion_cut_off_anywhere_is_finished_by_the_next_start(open_node: OpenNode) -> None:
    counting = Fuse()
    async with open_node(MemoryBackend(), folder="counting") as node:
        await fill(node)
        await delete(node, counting)
    assert counting.calls[0] == "mark_deleted"
    for point in range(1, len(counting.calls) + 1):
        backend = MemoryBackend()
        fuse = Fuse(point, after=True)
        async with open_node(backend, folder=str(point)) as node, trio.open_nursery() as nursery:
            await fill(node)
            nursery.start_soon(delete, node, fuse)
            with trio.fail_after(30):
                await fuse.blown.wait()
            nursery.cancel_scope.cancel()
        async with open_node(backend, folder=str(point)) as node:
            await resume(node)
            with trio.fail_after(30):
                await node.archive.flush_all()
            await assert_gone(node)


async def test_a_store_that_is_down_only_delays_the_rest(open_node: OpenNode) -> None:
    backend = FaultyBackend(MemoryBackend())
    async with open_node(backend) as node, trio.open_nursery() as nursery:
        await fill(node)
        await node.catalog.mark_deleted(KEY.session_id, NOW)
        backend.outage = True
        nursery.start_soon(resume, node)
        await until(lambda: backend.calls["list"] == 3)
        assert await node.catalog.deletions_under_way() == [KEY.session_id]
        backend.outage = False
    # The nursery waited for the end of `resume`; the node is closed, so a new one looks.
    async with open_node(backend) as node:
        await assert_gone(node)


async def test_another_nodes_journal_does_not_bring_it_back(
    open_node: OpenNode, backend: MemoryBackend
) -> None:
    """A node that was away during the deletion finds the tombstone when it replays."""
    async with open_node(backend, name="away", run=False) as away:
        await away.journal_chunks([chunk_of(7)])
    async with open_node(backend, name="b") as b:
        await fill(b)
        await delete(b)
    async with open_node(backend, name="away") as away:
        await drained(away)
        await assert_gone(away)
        assert away.archive.health().streams == 0


async def test_the_put_under_way_is_awaited(open_node: OpenNode) -> None:
    backend = HeldBackend(MemoryBackend())
    async with open_node(backend) as node:
        await node.journal_chunks([chunk_of(1)])
        node.archive.hurry(KEY.session_id)
        await backend.asked.wait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(delete, node)
            while not await node.catalog.deletions_under_way():
                pass
            await trio.testing.wait_all_tasks_blocked(0.005)
            assert backend.calls["list"] == 0, "its objects are listed only when none is under way"
            backend.go_on.set()
        await assert_gone(node)


async def test_a_flush_of_a_deleted_session_ends(open_node: OpenNode) -> None:
    backend = FaultyBackend(MemoryBackend())
    backend.outage = True
    async with open_node(backend) as node, trio.open_nursery() as nursery:
        await node.journal_chunks([chunk_of(1)])
        nursery.start_soon(node.flush)
        await until(lambda: node.archive.health().retrying == 1)
        with trio.fail_after(30):
            await node.archive.forget(KEY.session_id)


async def test_the_rest_of_the_session_can_be_exact_before_it_goes(
    open_node: OpenNode, backend: MemoryBackend
) -> None:
    async with open_node(backend) as node:
        await node.journal_chunks([chunk_of(1)])
        await node.flush()
        await assert_exact(node, [chunk_of(1)])
        await delete(node)
        await delete(node)  # idempotent
        await assert_gone(node)


class Defective(MemoryBackend):
    """A plugin whose delete fails once with an error that no protocol names."""

    failed = False

    async def delete(self, key: str) -> None:
        if not self.failed:
            self.failed = True
            raise RuntimeError("a defect")
        await super().delete(key)


async def test_a_plugins_defect_in_a_deletion_is_tried_again_and_ends_no_node(open_node: OpenNode) -> None:
    backend = Defective()
    async with open_node(backend) as node:
        await fill(node)
        await node.catalog.mark_deleted(KEY.session_id, NOW)
        await resume(node)
        await assert_gone(node)
    assert backend.failed


class Locked(MemoryBackend):
    """A bucket that lets nothing of one session go."""

    async def delete(self, key: str) -> None:
        if key.startswith(f"sessions/{KEY.session_id}/"):
            raise BackendRefused("an object lock")
        await super().delete(key)


async def test_a_deletion_that_cannot_go_on_holds_up_no_other(open_node: OpenNode) -> None:
    async with open_node(Locked()) as node, trio.open_nursery() as nursery:
        await fill(node)
        for key in (KEY, NEIGHBOUR):
            await node.catalog.mark_deleted(key.session_id, NOW)
        assert await node.catalog.deletions_under_way() == [KEY.session_id, NEIGHBOUR.session_id]
        nursery.start_soon(resume, node)
        with trio.fail_after(10):
            while await node.catalog.deletions_under_way() != [KEY.session_id]:
                await trio.sleep(0.001)
        nursery.cancel_scope.cancel()
