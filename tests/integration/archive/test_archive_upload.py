"""Chunks on their way from the journal to the backend and the catalog, when nothing fails."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from interview_edge.backends.memory import MemoryBackend
from interview_edge.core.models import Layout, SegmentFormat, StreamKey

from .conftest import BOTH_LAYOUTS, KEY, NOW, HeldBackend, OpenNode, assert_exact, chunk_of, drained, until


@BOTH_LAYOUTS
async def test_a_flush_stores_everything_journalled(
    open_node: OpenNode, backend: MemoryBackend, layout: Layout
) -> None:
    chunks = [chunk_of(seq) for seq in (*range(1, 64), *range(70, 73))]
    async with open_node(backend, layout=layout) as node:
        await node.journal_chunks(chunks)
        await node.flush()
        extents = await assert_exact(node, chunks)
    assert len(extents) == (len(chunks) if layout is Layout.CHUNKS else 3)


async def test_objects_carry_the_contracts_keys_and_metadata(
    open_node: OpenNode, backend: MemoryBackend
) -> None:
    key = StreamKey("面试 1", "teacher")
    async with open_node(backend) as node:
        await node.journal_chunks([chunk_of(3)], key)
        await node.flush(key.session_id)
    folder = "sessions/%E9%9D%A2%E8%AF%95%201/chunks/teacher"
    info = await backend.head(f"{folder}/00000003.pcm")
    assert info.content_type == "application/octet-stream"
    assert info.metadata == {
        "session_id": "%E9%9D%A2%E8%AF%95%201",
        "meeting_id": "%E9%9D%A2%E8%AF%95%201",
        "stream": "teacher",
        "seq": "3",
        "timestamp_ms": "3000",
        "sample_rate": "16000",
        "channels": "1",
        "format": "pcm_s16le",
    }


@pytest.mark.parametrize("segment_format", list(SegmentFormat), ids=lambda f: f.value)
async def test_a_short_final_chunk_ends_its_segment(
    open_node: OpenNode, backend: MemoryBackend, segment_format: SegmentFormat
) -> None:
    chunks = [chunk_of(1), chunk_of(2), chunk_of(3, final=True, length=1_000)]
    async with open_node(backend, layout=Layout.SEGMENTS, segment_format=segment_format) as node:
        await node.journal_chunks(chunks)
        await node.flush()
        (extent,) = await assert_exact(node, chunks)
        session = await node.catalog.load_session(KEY.session_id)
    assert extent.key == f"sessions/interview-1/segments/00000001-00000003.{segment_format.value}"
    assert extent.length == 65_000
    info = await backend.head(extent.key)
    assert info.content_type == f"audio/{segment_format.value}"
    assert (info.metadata["seq"], info.metadata["last_seq"]) == ("1", "3")
    assert session is not None
    ledger = session.streams["mixed"].ledger
    assert (ledger.final_seq, ledger.final_length) == (3, 1_000)


@BOTH_LAYOUTS
async def test_a_late_chunk_is_added_and_no_object_is_rewritten(
    open_node: OpenNode, backend: MemoryBackend, layout: Layout
) -> None:
    early = [chunk_of(seq) for seq in (1, 2, 4, 5)]
    late = chunk_of(3)
    async with open_node(backend, layout=layout) as node:
        await node.journal_chunks(early)
        await node.flush()
        before = {key: await backend.head(key) for key in await node.keys()}
        await node.journal_chunks([late])
        await node.flush()
        await assert_exact(node, [*early, late])
        after = {key: await backend.head(key) for key in await node.keys()}
    assert {key: after[key] for key in before} == before
    assert len(after) == len(before) + 1


async def test_a_complete_segment_goes_at_once_and_an_incomplete_one_waits(
    open_node: OpenNode, backend: MemoryBackend
) -> None:
    async with open_node(backend, layout=Layout.SEGMENTS) as node:
        await node.journal_chunks(chunk_of(seq) for seq in range(1, 63))
        await until(lambda: node.archive.health().chunks_waiting == 2)
        assert node.stored == [(KEY, ((1, 60),))]


async def test_a_segment_that_completes_during_a_step_goes_right_after_it(open_node: OpenNode) -> None:
    backend = HeldBackend(MemoryBackend())
    async with open_node(backend, layout=Layout.SEGMENTS) as node:
        await node.journal_chunks([chunk_of(1)])
        node.archive.hurry(KEY.session_id)
        await backend.asked.wait()
        await node.journal_chunks(chunk_of(seq) for seq in range(61, 121))
        backend.go_on.set()
        await drained(node)
        assert node.stored == [(KEY, ((1, 1),)), (KEY, ((61, 120),))]


async def test_layout_chunks_waits_for_the_interval(open_node: OpenNode, backend: MemoryBackend) -> None:
    now = NOW
    async with open_node(backend, upload_interval_ms=60_000, now_ms=lambda: now) as node:
        now += 59_000
        await node.journal_chunks([chunk_of(1)])
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert await node.keys() == []
        assert node.archive.health().oldest_unstored_ms == 59_000
    now += 1_000
    async with open_node(backend, upload_interval_ms=60_000, now_ms=lambda: now) as node:
        await drained(node)


async def test_put_at_once_needs_no_flush(open_node: OpenNode, backend: MemoryBackend) -> None:
    async with open_node(backend, put_at_once=True) as node:
        await node.journal_chunks([chunk_of(1), chunk_of(2)])
        await drained(node)
        assert len(await node.keys()) == 2


async def test_repeats_are_counted_once(open_node: OpenNode, backend: MemoryBackend) -> None:
    chunks = [chunk_of(1), chunk_of(2)]
    async with open_node(backend) as node:
        await node.journal_chunks(chunks)
        await node.journal_chunks(chunks[:1] * 3, repeat=True)
        await node.flush()
        await assert_exact(node, chunks, duplicates=3)


async def test_one_flush_serves_every_stream_of_its_session_and_no_other(
    open_node: OpenNode, backend: MemoryBackend
) -> None:
    teacher, students, other = StreamKey("a", "teacher"), StreamKey("a", "students"), StreamKey("b")
    async with open_node(backend) as node:
        for key in (teacher, students, other):
            await node.journal_chunks([chunk_of(1)], key)
        await node.flush("a")
        assert {key for key, _ in node.stored} == {teacher, students}
        with trio.fail_after(30):
            await node.archive.flush_all()
        assert {key for key, _ in node.stored} == {teacher, students, other}
        assert node.archive.health().streams == 0


@BOTH_LAYOUTS
async def test_a_clock_that_is_set_back_a_day_delays_no_upload_by_a_day(
    open_node: OpenNode, backend: MemoryBackend, layout: Layout
) -> None:
    def yesterday() -> int:
        return NOW - 86_400_000

    async with open_node(backend, layout=layout, upload_interval_ms=5, now_ms=yesterday) as node:
        await node.journal_chunks([chunk_of(1)])
        await until(lambda: bool(node.stored))
