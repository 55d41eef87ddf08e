from __future__ import annotations

from collections.abc import Iterable

import pytest

from interview_edge.archive.planning import plan_objects, runs
from interview_edge.core.models import Layout, SegmentFormat, StreamKey
from interview_edge.journal.records import JournalRow, ObjectPlan

KEY = StreamKey("s")
INTERVAL = 60_000


def rows_of(seqs: Iterable[int], at: int = 0) -> list[JournalRow]:
    return [JournalRow(seq, 0, False, 32_000, b"", b"", at) for seq in seqs]


def plan(rows: list[JournalRow], layout: Layout, *, now_ms: int = 0, hurry: bool = False) -> list[ObjectPlan]:
    return list(
        plan_objects(
            KEY,
            rows,
            layout=layout,
            segment_format=SegmentFormat.FLAC,
            hurry=hurry,
            now_ms=now_ms,
            interval_ms=INTERVAL,
        )
    )


def spans(plans: list[ObjectPlan]) -> list[tuple[int, int]]:
    return [(p.first, p.last) for p in plans]


@pytest.mark.parametrize("layout", list(Layout))
def test_nothing_gives_nothing(layout: Layout) -> None:
    assert plan([], layout, now_ms=10**9, hurry=True) == []


def test_chunks_are_due_together_once_the_oldest_is_an_interval_old() -> None:
    rows = [*rows_of([1, 2], at=0), *rows_of([4], at=59_000)]
    assert plan(rows, Layout.CHUNKS, now_ms=INTERVAL - 1) == []
    assert spans(plan(rows, Layout.CHUNKS, now_ms=INTERVAL)) == [(1, 2), (4, 4)]
    assert spans(plan(rows, Layout.CHUNKS, hurry=True)) == [(1, 2), (4, 4)]


def test_a_late_chunk_with_a_low_seq_does_not_hide_an_older_one() -> None:
    rows = [*rows_of([1], at=50_000), *rows_of([5], at=0)]
    assert spans(plan(rows, Layout.CHUNKS, now_ms=INTERVAL)) == [(1, 1), (5, 5)]


def test_a_long_run_is_cut() -> None:
    assert spans(plan(rows_of(range(3, 130)), Layout.CHUNKS, hurry=True)) == [(3, 62), (63, 122), (123, 129)]


def test_a_complete_segment_is_due_at_once() -> None:
    rows = rows_of(range(1, 62), at=0)
    (segment,) = plan(rows, Layout.SEGMENTS, now_ms=0)
    assert (segment.first, segment.last) == (1, 60)
    assert segment.object_key == "sessions/s/segments/00000001-00000060.flac"
    assert segment.format == "flac"


def test_an_incomplete_segment_waits_two_intervals_then_goes_in_its_runs() -> None:
    rows = rows_of([61, 62, 64], at=0)
    assert plan(rows, Layout.SEGMENTS, now_ms=2 * INTERVAL - 1) == []
    assert spans(plan(rows, Layout.SEGMENTS, now_ms=2 * INTERVAL)) == [(61, 62), (64, 64)]


def test_each_segment_waits_for_its_own_rows() -> None:
    rows = [*rows_of([2], at=0), *rows_of([61], at=100_000)]
    assert spans(plan(rows, Layout.SEGMENTS, now_ms=2 * INTERVAL)) == [(2, 2)]


@pytest.mark.parametrize(
    ("seqs", "expected"),
    [([], []), ([1], [(1, 1)]), ([1, 2, 3], [(1, 3)]), ([1, 3, 4], [(1, 1), (3, 4)])],
)
def test_runs(seqs: list[int], expected: list[tuple[int, int]]) -> None:
    assert list(runs(seqs)) == expected


@pytest.mark.parametrize("layout", list(Layout))
def test_a_clock_that_was_set_back_holds_nothing_up(layout: Layout) -> None:
    """The rows were accepted a day from now."""
    assert spans(plan(rows_of([1, 2], at=86_400_000), layout)) == [(1, 2)]
