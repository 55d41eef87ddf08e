"""A node is stopped at every await of a step, on the near and the far side of it; the next start finishes the
work.

Stopped means: nothing of the archive runs on from there, and the next node opens the same files. (Tests that
kill a real process with -9 stand with the server.)
"""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
import trio

from interview_edge.backends.local import open_local
from interview_edge.backends.memory import MemoryBackend
from interview_edge.core.models import Layout

from .conftest import (
    BOTH_LAYOUTS,
    KEY,
    Fuse,
    GroupingBackend,
    Node,
    OpenNode,
    assert_exact,
    chunk_of,
    drained,
)

# A run, a gap, another segment and a short final chunk; few, since each costs a restart for each of its
# calls.
CHUNKS = [chunk_of(1), chunk_of(2), chunk_of(61, final=True, length=500)]
REPEATS = 2


async def run_until_blown(node: Node, fuse: Fuse) -> None:
    await node.journal_chunks(CHUNKS)
    await node.journal_chunks(CHUNKS[:1] * REPEATS, repeat=True)
    async with trio.open_nursery() as nursery:

        async def flush() -> None:
            await node.archive.flush_all()
            if fuse.blow_at is not None:
                await drained(node)
            nursery.cancel_scope.cancel()

        nursery.start_soon(flush)
        with trio.fail_after(30):
            await fuse.blown.wait()
        nursery.cancel_scope.cancel()


async def calls_of_an_undisturbed_step(
    open_node: OpenNode, layout: Layout, store: type[MemoryBackend] = MemoryBackend
) -> list[str]:
    counting = Fuse()
    async with open_node(store(), folder="undisturbed", fuse=counting, layout=layout) as node:
        await run_until_blown(node, counting)
        await assert_exact(node, CHUNKS, duplicates=REPEATS)
    return counting.calls


@pytest.mark.parametrize("after", [False, True], ids=["before the call", "after the call"])
@pytest.mark.parametrize("changed", [False, True], ids=["same layout", "other layout at restart"])
@pytest.mark.parametrize(("store", "put"), [(MemoryBackend, "put"), (GroupingBackend, "put_group")])
@BOTH_LAYOUTS
async def test_a_stop_at_any_call_loses_nothing_and_stores_nothing_twice(
    open_node: OpenNode, layout: Layout, store: type[MemoryBackend], put: str, changed: bool, after: bool
) -> None:
    calls = await calls_of_an_undisturbed_step(open_node, layout, store)
    assert set(calls) >= {"rows", "record_plans", put, "record_stored", "trim"}
    other = Layout.CHUNKS if layout is Layout.SEGMENTS else Layout.SEGMENTS
    # Before the plan is journalled nothing of the old layout is left to meet.
    first = calls.index("record_plans") + 1 if changed else 1
    for point in range(first, len(calls) + 1):
        backend = store()
        fuse = Fuse(point, after=after)
        async with open_node(backend, folder=str(point), fuse=fuse, layout=layout) as node:
            await run_until_blown(node, fuse)
        async with open_node(backend, folder=str(point), layout=other if changed else layout) as node:
            await drained(node)
            await assert_exact(node, CHUNKS, duplicates=REPEATS)


@BOTH_LAYOUTS
async def test_put_confirmed_and_catalog_commit_lost(open_node: OpenNode, layout: Layout) -> None:
    """The plan was journalled, so replay finds the same objects, leaves them as they are and commits."""
    times = iter(range(10**6))
    backend = MemoryBackend(now=lambda: datetime.datetime.fromtimestamp(next(times), datetime.UTC))
    fuse = Fuse("record_stored")
    async with open_node(backend, fuse=fuse, layout=layout) as node:
        await run_until_blown(node, fuse)
        written = {key: await backend.head(key) for key in await node.keys()}
        assert await node.catalog.extents(KEY) == []
    async with open_node(backend, layout=layout) as node:
        await drained(node)
        await assert_exact(node, CHUNKS, duplicates=REPEATS)
        assert {key: await backend.head(key) for key in await node.keys()} == written


@BOTH_LAYOUTS
async def test_catalog_committed_and_trim_lost(open_node: OpenNode, layout: Layout) -> None:
    """Replay finds the extents: it puts nothing, and only trims."""
    backend = MemoryBackend()
    fuse = Fuse("trim")
    async with open_node(backend, fuse=fuse, layout=layout) as node:
        await run_until_blown(node, fuse)
        assert node.journal.stats.rows == len(CHUNKS)
    replay = Fuse()
    async with open_node(backend, fuse=replay, layout=layout) as node:
        await drained(node)
        await assert_exact(node, CHUNKS, duplicates=REPEATS)
    assert "trim" in replay.calls
    assert not {"put", "record_stored", "record_plans"} & set(replay.calls)


@pytest.mark.parametrize(("store", "put"), [(MemoryBackend, "put"), (GroupingBackend, "put_group")])
async def test_each_call_of_a_step_comes_after_what_makes_it_safe(
    open_node: OpenNode, store: type[MemoryBackend], put: str
) -> None:
    calls = await calls_of_an_undisturbed_step(open_node, Layout.CHUNKS, store)
    assert calls.index("record_plans") < calls.index(put)
    last_put = len(calls) - 1 - calls[::-1].index(put)
    assert last_put < calls.index("record_stored") < calls.index("trim")


async def test_a_plan_carried_out_in_parts_over_several_starts(open_node: OpenNode) -> None:
    """Each start gets one put through; then everything is there and no plan is left behind."""
    backend = MemoryBackend()
    for attempt in range(len(CHUNKS)):
        fuse = Fuse("put", after=True)
        async with open_node(backend, fuse=fuse, concurrency=1) as node:
            if attempt == 0:
                await run_until_blown(node, fuse)
            else:
                with trio.fail_after(30):
                    await fuse.blown.wait()
    async with open_node(backend) as node:
        await drained(node)
        await assert_exact(node, CHUNKS, duplicates=REPEATS)


@BOTH_LAYOUTS
async def test_the_same_on_a_real_disk(open_node: OpenNode, tmp_path: Path, layout: Layout) -> None:
    """The store too is opened anew, from its folder."""
    url = (tmp_path / "objects").as_uri()
    fuse = Fuse("put_group", after=True)
    async with open_local(url, {}) as store, open_node(store, fuse=fuse, layout=layout) as node:
        await run_until_blown(node, fuse)
        assert await node.catalog.extents(KEY) == []
    async with open_local(url, {}) as store, open_node(store, layout=layout) as node:
        await drained(node)
        await assert_exact(node, CHUNKS, duplicates=REPEATS)
