"""Which journalled chunks become which objects, and when. Pure: no I/O, and the time comes in.

With layout `chunks` an object is one second, so a plan is only a run of seqs that is due together. With
layout `segments` the objects are aligned: segment k holds seqs 60k+1 to 60k+60, so that nodes and restarts
cut alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from interview_edge.core.keys import segment_key
from interview_edge.core.models import Layout, SegmentFormat, StreamKey
from interview_edge.journal.records import JournalRow, ObjectPlan

SEGMENT_CHUNKS = 60  # a minute an object: 60 times fewer writes, which is what R2 bills by
# A segment of one minute is complete a minute after its first chunk, so an incomplete one waits longer than
# the interval before it counts as one with a gap.
INCOMPLETE_INTERVALS = 2


def plan_objects(
    key: StreamKey,
    rows: Sequence[JournalRow],
    *,
    layout: Layout,
    segment_format: SegmentFormat,
    hurry: bool,
    now_ms: int,
    interval_ms: int,
) -> Sequence[ObjectPlan]:
    """The objects that are due now, in order of seq; each is of consecutive `rows` and at most 60 of them.

    `rows` ascend by seq. Layout `chunks`: everything, once the oldest row is `interval_ms` old. Layout
    `segments`: each complete segment at once; the runs of an incomplete one when its oldest row is two
    intervals old (a late chunk so becomes a small object of its own). In a `hurry` everything is due.
    Segments come without `sha256`.
    """
    if layout is Layout.CHUNKS:
        if not (hurry or _age(rows, now_ms) >= interval_ms):
            return ()
        return [
            ObjectPlan(key=key, first=first, last=last, layout=layout, format="pcm")
            for run in runs(row.seq for row in rows)
            for first, last in _cut(*run)
        ]
    return [
        ObjectPlan(
            key=key,
            first=first,
            last=last,
            layout=layout,
            format=segment_format.value,
            object_key=segment_key(key, first, last, segment_format),
        )
        for segment in _segments(rows)
        if hurry
        or len(segment) == SEGMENT_CHUNKS
        or _age(segment, now_ms) >= INCOMPLETE_INTERVALS * interval_ms
        for first, last in runs(row.seq for row in segment)
    ]


def due_after_ms(layout: Layout, interval_ms: int) -> int:
    """How old a stream's oldest waiting chunk gets before everything with it is due, complete or not."""
    return interval_ms if layout is Layout.CHUNKS else INCOMPLETE_INTERVALS * interval_ms


def completes_segment(seq: int) -> bool:
    """Whether `seq` is the last of its segment: worth a look, since in order it completes it."""
    return seq % SEGMENT_CHUNKS == 0


def runs(seqs: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Ascending seqs as inclusive ranges of consecutive ones."""
    first = last = 0
    for seq in seqs:
        if first and seq == last + 1:
            last = seq
            continue
        if first:
            yield first, last
        first = last = seq
    if first:
        yield first, last


def _cut(first: int, last: int) -> Iterator[tuple[int, int]]:
    """`first..last` in pieces of at most 60."""
    for start in range(first, last + 1, SEGMENT_CHUNKS):
        yield start, min(start + SEGMENT_CHUNKS - 1, last)


def _segments(rows: Sequence[JournalRow]) -> Iterator[Sequence[JournalRow]]:
    """The rows by the aligned segment in which they lie."""
    start = 0
    for i in range(1, len(rows) + 1):
        if i == len(rows) or _segment_of(rows[i]) != _segment_of(rows[start]):
            yield rows[start:i]
            start = i


def _segment_of(row: JournalRow) -> int:
    return (row.seq - 1) // SEGMENT_CHUNKS


def _age(rows: Sequence[JournalRow], now_ms: int) -> int:
    """How long ago the oldest was accepted; one from the future (the clock was set back) is as old as it is
    far.
    """
    return abs(now_ms - min((row.at for row in rows), default=now_ms))
