"""Two nodes with parts of one stream, one catalog and one store: both merge, and no byte is lost."""

from __future__ import annotations

from typing import Any

import trio

from interview_edge.archive.batch import LOOK_ROWS
from interview_edge.backends.memory import MemoryBackend
from interview_edge.backends.protocol import BackendRefused
from interview_edge.core.keys import conflict_key
from interview_edge.core.models import Layout

from .conftest import (
    BOTH_LAYOUTS,
    KEY,
    Fuse,
    HeldBackend,
    Node,
    OpenNode,
    assert_exact,
    chunk_of,
    drained,
    until,
)


@BOTH_LAYOUTS
async def test_two_nodes_with_different_parts_merge(
    open_node: OpenNode, backend: MemoryBackend, layout: Layout
) -> None:
    first = [chunk_of(seq) for seq in (1, 2, 5)]
    second = [chunk_of(seq) for seq in (2, 3, 4, 5, 6)]
    async with open_node(backend, name="a", layout=layout) as a:
        await a.journal_chunks(first)
        await a.flush()
    async with open_node(backend, name="b", layout=layout) as b:
        await b.journal_chunks(second)
        await b.flush()
        await assert_exact(b, [chunk_of(seq) for seq in range(1, 7)])
        assert b.conflicts == []


@BOTH_LAYOUTS
async def test_other_bytes_found_late_are_kept_apart_and_said(
    open_node: OpenNode, backend: MemoryBackend, layout: Layout
) -> None:
    ours, theirs = chunk_of(1), chunk_of(1, salt="other")
    async with open_node(backend, name="a", layout=layout) as a:
        await a.journal_chunks([ours])
        await a.flush()
    async with open_node(backend, name="b", layout=layout) as b:
        await b.journal_chunks([theirs, chunk_of(2)])
        await b.flush()
        await assert_conflict_kept(b, ours.pcm, theirs)
        assert b.conflicts == [(KEY, (1,))]
        assert await b.reader.chunk(KEY, 2) == chunk_of(2).pcm


class NoConflicts(MemoryBackend):
    """A bucket whose policy allows what audio needs, and forgot the conflicts."""

    async def put(self, key: str, data: bytes, **more: Any) -> bool:
        if "/conflicts/" in key:
            raise BackendRefused("AccessDenied")
        return await super().put(key, data, **more)


async def test_one_that_cannot_be_kept_stops_no_upload_and_stays_in_the_journal(open_node: OpenNode) -> None:
    backend, count = NoConflicts(), LOOK_ROWS + 60
    async with open_node(backend, name="a") as a:
        await a.journal_chunks([chunk_of(1)])
        await a.flush()
    async with open_node(backend, name="b") as b:
        await b.journal_chunks([chunk_of(1, salt="other"), *(chunk_of(seq) for seq in range(2, count + 1))])
        b.archive.hurry(KEY.session_id)
        await until(lambda: b.journal.stats.rows == 1)
        assert [row.seq for row in await b.journal.rows(KEY, limit=count)] == [1]
        assert await b.reader.chunk(KEY, count) == chunk_of(count).pcm


async def assert_conflict_kept(node: Node, first: bytes, late: object) -> None:
    theirs = chunk_of(1, salt="other")
    assert late == theirs
    name = conflict_key(KEY, 1, theirs.identity)
    assert await node.reader.chunk(KEY, 1) == first, "the first extent stands"
    assert await node.backend.get(name) == theirs.pcm
    (event,) = await node.catalog.events(KEY.session_id, types=["conflict"])
    assert event.stream == "mixed"
    assert event.body["seq"] == 1
    assert event.body["key"] == name
    assert event.body["sha256"] == theirs.sha256.hex()
    assert await node.journal.streams() == []


async def test_a_stop_at_any_call_of_a_conflict_says_it_once(open_node: OpenNode) -> None:
    ours, theirs = chunk_of(1), chunk_of(1, salt="other")

    async def conflict(folder: str, fuse: Fuse) -> int:
        backend = MemoryBackend()
        async with open_node(backend, name="a", folder=folder) as a:
            await a.journal_chunks([ours])
            await a.flush()
        async with open_node(backend, name="b", folder=folder, fuse=fuse) as b:
            await b.journal_chunks([theirs])
            b.archive.hurry(KEY.session_id)
            await until(lambda: not b.journal.stats.rows or fuse.blown.is_set())
        async with open_node(backend, name="b", folder=folder) as b:
            await drained(b)
            await assert_conflict_kept(b, ours.pcm, theirs)
        return len(fuse.calls)

    calls = await conflict("counting", Fuse())
    for point in range(1, calls + 1):
        await conflict(f"after-{point}", Fuse(point, after=True))


async def test_both_nodes_put_before_either_commits(open_node: OpenNode, backend: MemoryBackend) -> None:
    """The key is taken by other bytes that the catalog doesn't know yet: ours go to a key of their own."""
    ours, theirs = chunk_of(1), chunk_of(1, salt="other")
    fuse = Fuse("record_stored")
    async with open_node(backend, name="a", fuse=fuse) as a:
        await a.journal_chunks([ours])
        a.archive.hurry(KEY.session_id)
        with trio.fail_after(30):
            await fuse.blown.wait()
    async with open_node(backend, name="b") as b:
        await b.journal_chunks([theirs])
        await b.flush()
        (extent,) = await b.catalog.extents(KEY)
        assert extent.key == f"sessions/interview-1/chunks/00000001~{theirs.sha256.hex()[:8]}.pcm"
        assert await b.reader.chunk(KEY, 1) == theirs.pcm
    async with open_node(backend, name="a") as a:
        await drained(a)
        assert await a.reader.chunk(KEY, 1) == theirs.pcm
        assert await a.backend.get(conflict_key(KEY, 1, ours.identity)) == ours.pcm


async def test_a_node_that_is_quicker_between_look_and_commit(
    open_node: OpenNode, backend: MemoryBackend
) -> None:
    """The catalog's own answer shows the conflict; the step after it keeps the other bytes."""
    ours, theirs = chunk_of(1), chunk_of(1, salt="other")
    held = HeldBackend(backend)
    async with open_node(backend, name="a") as a, open_node(held, name="b") as b:
        await b.journal_chunks([theirs])
        b.archive.hurry(KEY.session_id)
        with trio.fail_after(30):
            await held.asked.wait()
            await a.journal_chunks([ours])
            await a.flush()
            held.go_on.set()
            await b.flush()
        assert await b.reader.chunk(KEY, 1) == ours.pcm
        assert await backend.get(conflict_key(KEY, 1, theirs.identity)) == theirs.pcm
        assert b.conflicts == [(KEY, (1,))]
