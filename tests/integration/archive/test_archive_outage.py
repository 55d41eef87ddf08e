"""A store that fails: everything waits in the journal, is tried again for ever, and arrives exactly once."""

from __future__ import annotations

import pytest
import structlog
import trio
import trio.testing

from interview_edge.backends.memory import MemoryBackend
from interview_edge.backends.protocol import BackendUnavailable
from interview_edge.core.models import Layout, StreamKey
from interview_edge.core.ranges import Ranges
from interview_edge.testing import FaultyBackend
from interview_edge.testing.faults import Effect, PlannedFault

from .conftest import BOTH_LAYOUTS, KEY, NOW, OpenNode, assert_exact, chunk_of, drained, until

CHUNKS = [chunk_of(seq) for seq in range(1, 6)]


@BOTH_LAYOUTS
@pytest.mark.parametrize("effect", [e for e in Effect if e is not Effect.HANGS], ids=lambda e: e.name.lower())
async def test_a_fault_of_a_put_is_mended_by_trying_again(
    open_node: OpenNode, layout: Layout, effect: Effect
) -> None:
    backend = FaultyBackend(MemoryBackend(), [PlannedFault("put", 1, effect)])
    async with open_node(backend, layout=layout) as node:
        await node.journal_chunks(CHUNKS)
        await node.flush()
        if effect is Effect.TORN:
            # The half object can't be told from another node's: it stays, and the extent names the whole one.
            extents = await node.catalog.extents(KEY)
            assert sum("~" in extent.key for extent in extents) == 1
            for chunk in CHUNKS:
                assert await node.reader.chunk(KEY, chunk.seq) == chunk.pcm
        else:
            await assert_exact(node, CHUNKS)
        health = node.archive.health()
    assert health.uploads_failed == 1
    assert (health.retrying, health.streams) == (0, 0)


async def test_debug_lines_follow_a_batch_through_puts_retries_and_trim(open_node: OpenNode) -> None:
    backend = FaultyBackend(
        MemoryBackend(), [PlannedFault("put", number, Effect.UNAVAILABLE) for number in (1, 2)]
    )
    with structlog.testing.capture_logs() as logs:
        async with open_node(backend, layout=Layout.SEGMENTS) as node:
            await node.journal_chunks(CHUNKS)
            await node.flush()
    told = [line for line in logs if line["log_level"] == "debug"]
    events = [line["event"] for line in told]
    assert events == ["a put failed", "a put failed", "upload failed again", "put", "stored and trimmed"]
    assert told[2]["failures"] == 2
    assert told[3]["key"].startswith("sessions/")
    assert told[4]["seqs"] == [(1, 5)]


async def test_a_put_that_hangs_is_given_up_and_tried_again(open_node: OpenNode) -> None:
    backend = FaultyBackend(MemoryBackend(), [PlannedFault("put", 2, Effect.HANGS)])
    async with open_node(backend, upload_timeout=0.05) as node:
        await node.journal_chunks(CHUNKS)
        await node.flush()
        await assert_exact(node, CHUNKS)
        assert node.archive.health().last_error == "BackendUnavailable: the store took over 0.05 s"


async def test_an_outage_keeps_all_and_shows_in_health(open_node: OpenNode) -> None:
    backend = FaultyBackend(MemoryBackend())
    backend.outage = True
    async with open_node(backend) as node:
        await node.journal_chunks(CHUNKS)
        with trio.move_on_after(0.1) as waited:
            await node.archive.flush(KEY.session_id)
        assert waited.cancelled_caught, "a flush doesn't pretend"
        health = node.archive.health()
        assert (health.streams, health.chunks_waiting, health.retrying) == (1, len(CHUNKS), 1)
        assert health.uploads_failed > 1
        assert not health.refused
        backend.outage = False
        await node.flush()
        await assert_exact(node, CHUNKS)


async def test_a_refusal_is_reported_and_retried(open_node: OpenNode) -> None:
    faults = [PlannedFault("put", nth, Effect.REFUSED) for nth in range(1, 4)]
    backend = FaultyBackend(MemoryBackend(), faults)
    async with open_node(backend, concurrency=1, retry_max=0.05) as node:
        await node.journal_chunks(CHUNKS[:1])
        node.archive.hurry(KEY.session_id)
        await until(lambda: node.archive.health().refused)
        await drained(node)
        assert not node.archive.health().refused
        await assert_exact(node, CHUNKS[:1])


async def test_an_outage_costs_memory_for_ranges_not_for_chunks(open_node: OpenNode) -> None:
    backend = FaultyBackend(MemoryBackend())
    backend.outage = True
    async with open_node(backend, run=False) as node:
        for seq in range(1, 10_001):
            node.archive.journalled(KEY, seq, NOW)
        (stream,) = node.archive._streams.values()
        assert list(stream.journalled) == [(1, 10_000)]
        assert stream.settled == Ranges()
        assert len(node.archive._queue) == 1


async def test_retries_leave_no_trail(open_node: OpenNode) -> None:
    """Many failures and hurries of many streams: the schedule stays as small as the streams."""
    backend = FaultyBackend(MemoryBackend())
    backend.outage = True
    keys = [StreamKey(f"s{n}") for n in range(5)]
    async with open_node(backend, run=False) as node:
        for key in keys:
            node.archive.journalled(key, 1, NOW)
        for _ in range(500):
            for key in keys:
                node.archive.hurry(key.session_id)
        assert len(node.archive._queue) <= 2 * len(keys) + 64 + 1


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_no_more_puts_at_once_than_allowed(open_node: OpenNode, concurrency: int) -> None:
    backend = Counting(MemoryBackend())
    async with open_node(backend, concurrency=concurrency) as node:
        for n in range(6):
            await node.journal_chunks(CHUNKS, StreamKey(f"session-{n}"))
        with trio.fail_after(30):
            await node.archive.flush_all()
        assert backend.most == concurrency
        assert len(await node.keys()) == 6 * len(CHUNKS)


class Counting(FaultyBackend):
    """Notes how many puts were under way at once; each takes long enough for others to meet it."""

    now = most = 0

    async def put(self, key: str, data: bytes, **options: object) -> bool:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await trio.sleep(0.002)
            return await super().put(key, data, **options)  # type: ignore[arg-type]  # passed on as they came
        finally:
            self.now -= 1


async def test_whatever_a_plugin_raises_its_text_is_not_shown(open_node: OpenNode) -> None:
    class Leaky(FaultyBackend):
        async def put(self, key: str, data: bytes, **options: object) -> bool:
            if self.calls["put"] == 0:
                self.calls["put"] += 1
                raise OSError("password=hunter2")
            return await super().put(key, data, **options)  # type: ignore[arg-type]  # passed on as they came

    async with open_node(Leaky(MemoryBackend())) as node:
        await node.journal_chunks(CHUNKS)
        await node.flush()
        await assert_exact(node, CHUNKS)
        assert node.archive.health().last_error == "BackendUnavailable: the backend raised OSError"


async def test_one_failing_session_does_not_hold_up_the_others(open_node: OpenNode) -> None:
    class FailsFor(FaultyBackend):
        async def put(self, key: str, data: bytes, **options: object) -> bool:
            if "/bad/" in key:
                await trio.lowlevel.checkpoint()
                raise BackendUnavailable("this one never works")
            return await super().put(key, data, **options)  # type: ignore[arg-type]  # passed on as they came

    async with open_node(FailsFor(MemoryBackend()), concurrency=1) as node:
        await node.journal_chunks(CHUNKS[:1], StreamKey("bad"))
        node.archive.hurry("bad")
        for n in range(5):
            await node.journal_chunks(CHUNKS[:1], StreamKey(f"good-{n}"))
            await node.flush(f"good-{n}")
        assert node.archive.health().streams == 1
