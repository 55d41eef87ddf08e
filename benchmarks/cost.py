"""What an hour of one session costs at an object store that bills by request and byte, as R2 and S3 do.

Requests are counted at the backend, where each call is one request to the store (backends/bucket.py: no
multipart, no look before a put); bytes are those of the objects that lie there in the end.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import attrs
import trio

from benchmarks.report import Row, Section, tell
from benchmarks.speech_frames import demo_seconds
from interview_edge import Settings, open_edge
from interview_edge.backends import open_backend
from interview_edge.core.models import Layout, SegmentFormat, StreamKey
from interview_edge.core.pcm import CHUNK_BYTES
from interview_edge.testing import FaultyBackend

SESSION = "an hour"
AT_ONCE = 8  # chunks under way
GB = 1e9


@attrs.frozen
class Prices:
    """US dollars. The defaults are R2's list prices for standard storage, without its free tier."""

    put: float = 4.50e-6  # a class A operation: put, list
    get: float = 0.36e-6  # a class B operation: get, head
    gb_month: float = 0.015


@attrs.frozen
class Usage:
    """What one session made of a store: requests by kind, and bytes that lie there."""

    puts: int
    gets_to_store: int
    gets_to_read: int
    lists: int
    stored_bytes: int

    def dollars_to_store(self, prices: Prices) -> float:
        return (self.puts + self.lists) * prices.put + self.gets_to_store * prices.get

    def dollars_a_month(self, prices: Prices) -> float:
        return self.stored_bytes / GB * prices.gb_month


LAYOUTS: tuple[tuple[str, Layout, SegmentFormat], ...] = (
    ("chunks", Layout.CHUNKS, SegmentFormat.FLAC),
    ("segments, WAV", Layout.SEGMENTS, SegmentFormat.WAV),
    ("segments, FLAC", Layout.SEGMENTS, SegmentFormat.FLAC),
)


def run(seconds: int = 3600, prices: Prices | None = None) -> list[Section]:
    """Store `seconds` of recorded speech in each layout, finalize, and read all of it once.

    `other` are requests besides the puts while it is stored, `reads` those of reading it once; dollars are
    for storing it, reading it once, and keeping it for a month.
    """
    return [
        Section(
            f"A session of {seconds:,} s at the store",
            [
                _row(name, _measure(layout, format_, seconds), seconds, prices or Prices())
                for name, layout, format_ in LAYOUTS
            ],
        )
    ]


def _measure(layout: Layout, segment_format: SegmentFormat, seconds: int) -> Usage:
    tell(f"cost: {layout.value}, {segment_format.value}")
    with tempfile.TemporaryDirectory(prefix="edge-cost-") as folder:
        settings = Settings(data_dir=Path(folder), layout=layout, segment_format=segment_format)
        return trio.run(_store_and_read, settings, seconds)


async def _store_and_read(settings: Settings, seconds: int) -> Usage:
    audio = demo_seconds()
    async with open_backend("memory://") as inner:
        backend = FaultyBackend(inner)
        async with open_edge(settings, backend=backend) as edge:
            async with edge.session(SESSION) as session:
                for first in range(1, seconds + 1, AT_ONCE):
                    async with trio.open_nursery() as nursery:
                        for seq in range(first, min(first + AT_ONCE, seconds + 1)):
                            pcm = audio[(seq - 1) % len(audio)]
                            nursery.start_soon(partial(session.feed, pcm, seq=seq, final=seq == seconds))
                await session.finalize()
            written = dict(backend.calls)
            await _read_all(edge.parts.reader.seconds(StreamKey(SESSION), 1, seconds))
            read = {name: count - written.get(name, 0) for name, count in backend.calls.items()}
            sizes = [info.size async for info in inner.list("")]
    return Usage(
        puts=written.get("put", 0),
        gets_to_store=sum(written.get(name, 0) for name in ("get", "get_range", "head")),
        gets_to_read=sum(read.get(name, 0) for name in ("get", "get_range", "head")),
        lists=written.get("list", 0),
        stored_bytes=sum(sizes),
    )


async def _read_all(seconds: AsyncIterator[object]) -> None:
    async for _ in seconds:
        pass


def _row(name: str, usage: Usage, seconds: int, prices: Prices) -> Row:
    return {
        "layout": name,
        "puts": usage.puts,
        "other": usage.gets_to_store + usage.lists,
        "reads": usage.gets_to_read,
        "MB": usage.stored_bytes / 1e6,
        "of PCM": usage.stored_bytes / (seconds * CHUNK_BYTES),
        "$ store": f"{usage.dollars_to_store(prices):.6f}",
        "$ read": f"{usage.gets_to_read * prices.get:.6f}",
        "$ month": f"{usage.dollars_a_month(prices):.6f}",
    }
