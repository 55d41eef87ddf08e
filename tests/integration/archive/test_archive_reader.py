"""Reads see what was acked: from the journal, then through the object table, across both in one go."""

from __future__ import annotations

from contextlib import aclosing

import attrs
import pytest
import trio

from interview_edge.archive import AudioReader
from interview_edge.backends.memory import MemoryBackend
from interview_edge.backends.protocol import BackendUnavailable, ObjectNotFound
from interview_edge.core.models import Extent, Layout, SegmentFormat
from interview_edge.errors import CHUNK_EXPIRED, EdgeError
from interview_edge.testing import FaultyBackend

from .conftest import BOTH_LAYOUTS, KEY, Node, OpenNode, chunk_of, pcm_of


async def read_all(reader: AudioReader, first: int, last: int) -> list[tuple[int, bytes | None]]:
    async with aclosing(reader.seconds(KEY, first, last)) as seconds:
        return [second async for second in seconds]


@BOTH_LAYOUTS
async def test_journal_and_objects_read_as_one(
    open_node: OpenNode, backend: MemoryBackend, layout: Layout
) -> None:
    async with open_node(backend, layout=layout) as node:
        await node.journal_chunks(chunk_of(seq) for seq in range(1, 63))
        await node.flush()
        await node.journal_chunks([chunk_of(64), chunk_of(65, final=True, length=700)])
        expected: list[tuple[int, bytes | None]] = [(seq, pcm_of(seq)) for seq in range(1, 63)]
        expected += [(63, None), (64, pcm_of(64)), (65, pcm_of(65, length=700)), (66, None)]
        assert await read_all(node.reader, 1, 66) == expected
        assert await read_all(node.reader, 31, 61) == expected[30:61]
        assert await node.reader.chunk(KEY, 65) == pcm_of(65, length=700)
        assert await node.reader.chunk(KEY, 63) is None
        await node.flush()
        assert await read_all(node.reader, 1, 66) == expected
        assert await node.reader.chunk(KEY, 65) == pcm_of(65, length=700)


async def test_each_segment_is_fetched_once(open_node: OpenNode) -> None:
    backend = FaultyBackend(MemoryBackend())
    async with open_node(backend, layout=Layout.SEGMENTS, segment_format=SegmentFormat.WAV) as node:
        await node.journal_chunks(chunk_of(seq) for seq in range(1, 121))
        await node.flush()
        before = backend.calls["get"]
        await read_all(node.reader, 31, 120)
        assert backend.calls["get"] - before == 2


class Expiring:
    """A catalog in which retention has marked every extent, from the `after`-th look on."""

    def __init__(self, node: Node, after: int) -> None:
        self._catalog = node.catalog
        self._looks = 0
        self._after = after

    async def extents(self, *args: int) -> list[Extent]:
        self._looks += 1
        found = await self._catalog.extents(*args)  # type: ignore[arg-type]  # passed on as they came
        return [attrs.evolve(extent, expired=self._looks > self._after) for extent in found]


@pytest.mark.parametrize("after", [0, 1], ids=["before the look", "between look and fetch"])
async def test_an_expired_second_says_so(open_node: OpenNode, backend: MemoryBackend, after: int) -> None:
    async with open_node(backend) as node:
        await node.journal_chunks([chunk_of(1)])
        await node.flush()
        for key in await node.keys():
            await backend.delete(key)
        reader = AudioReader(node.journal, Expiring(node, after), backend)  # type: ignore[arg-type]  # only extents
        with pytest.raises(EdgeError) as caught:
            await reader.chunk(KEY, 1)
        assert caught.value.kind is CHUNK_EXPIRED
        reader = AudioReader(node.journal, Expiring(node, after), backend)  # type: ignore[arg-type]  # only extents
        assert await read_all(reader, 1, 1) == [(1, None)]


async def test_a_lost_object_is_an_error_and_never_a_gap(open_node: OpenNode, backend: MemoryBackend) -> None:
    async with open_node(backend) as node:
        await node.journal_chunks([chunk_of(1)])
        await node.flush()
        for key in await node.keys():
            await backend.delete(key)
        with pytest.raises(ObjectNotFound):
            await node.reader.chunk(KEY, 1)
        with pytest.raises(ObjectNotFound):
            await read_all(node.reader, 1, 1)


async def test_an_outage_is_an_error_and_never_a_gap(open_node: OpenNode) -> None:
    backend = FaultyBackend(MemoryBackend())
    async with open_node(backend) as node:
        await node.journal_chunks([chunk_of(1), chunk_of(2)])
        await node.flush()
        await node.journal_chunks([chunk_of(3)])
        backend.outage = True
        with pytest.raises(BackendUnavailable):
            await node.reader.chunk(KEY, 1)
        with pytest.raises(BackendUnavailable):
            await read_all(node.reader, 1, 3)
        assert await node.reader.chunk(KEY, 3) == pcm_of(3), "what the journal holds needs no store"


async def test_reads_while_the_archive_moves_the_audio(open_node: OpenNode, backend: MemoryBackend) -> None:
    """At no moment between ack and trim is a second neither in the journal nor in the object table."""
    count = 40
    async with open_node(backend, put_at_once=True) as node, trio.open_nursery() as nursery:
        journalled = 0
        finished = trio.Event()

        async def feed() -> None:
            nonlocal journalled
            for seq in range(1, count + 1):
                await node.journal_chunks([chunk_of(seq)])
                journalled = seq
            await node.flush()
            finished.set()

        nursery.start_soon(feed)
        while not finished.is_set():
            upto = journalled
            await trio.lowlevel.checkpoint()
            for seq, pcm in await read_all(node.reader, 1, upto):
                assert pcm == pcm_of(seq)
