from __future__ import annotations

import attrs

from interview_edge.archive.batch import (
    LOOK_ROWS,
    PORTION_ROWS,
    STEP_ROWS,
    Batch,
    View,
    choose,
    forgettable,
    portions,
)
from interview_edge.archive.policy import ArchivePolicy
from interview_edge.core.keys import segment_key
from interview_edge.core.models import Layout, SegmentFormat, StreamKey
from interview_edge.core.ranges import Ranges
from interview_edge.journal.records import JournalRow, ObjectPlan

KEY = StreamKey("s")
OURS, THEIRS = b"o" * 16, b"t" * 16
SEGMENTS = ArchivePolicy(layout=Layout.SEGMENTS)
CHUNKS = ArchivePolicy(layout=Layout.CHUNKS)


def row(seq: int) -> JournalRow:
    return JournalRow(seq, 0, False, 32_000, b"", OURS, 0)


def segment(first: int, last: int) -> ObjectPlan:
    name = segment_key(KEY, first, last, SegmentFormat.FLAC)
    return ObjectPlan(KEY, first, last, Layout.SEGMENTS, "flac", name)


def run_of_chunks(first: int, last: int) -> ObjectPlan:
    return ObjectPlan(KEY, first, last, Layout.CHUNKS, "pcm")


def view(seqs: range, *plans: ObjectPlan, held: dict[int, bytes] | None = None, cut: bool = False) -> View:
    return View(KEY, [row(seq) for seq in seqs], cut, plans, held or {})


def work(batch: Batch) -> list[tuple[int, int, bool]]:
    return [(job.plan.first, job.plan.last, job.new) for job in batch.jobs]


def test_a_journalled_plan_is_followed_whatever_the_layout_is_now() -> None:
    seen = view(range(1, 9), segment(1, 4), run_of_chunks(5, 6))
    batch = choose(seen, CHUNKS, hurry=True, now_ms=0)
    assert work(batch) == [(1, 4, False), (5, 6, False), (7, 8, True)]
    assert batch.jobs[0].plan.object_key == "sessions/s/segments/00000001-00000004.flac"


def test_a_journalled_plan_does_not_wait_for_its_age() -> None:
    batch = choose(view(range(1, 9), run_of_chunks(1, 4)), CHUNKS, hurry=False, now_ms=0)
    assert work(batch) == [(1, 4, False)]
    assert [r.seq for r in batch.waiting] == [5, 6, 7, 8]
    assert not batch.more


def test_a_segment_partly_stored_by_another_node_is_put_whole_for_the_rest() -> None:
    seen = view(range(1, 5), segment(1, 4), held={2: OURS, 3: THEIRS})
    batch = choose(seen, SEGMENTS, hurry=True, now_ms=0)
    (job,) = batch.jobs
    assert [r.seq for r in job.rows] == [1, 2, 3, 4]
    assert [r.seq for r in job.lacking] == [1, 4]
    assert (batch.same, batch.conflicts) == ([], []), "the next step's, when the segment is done"
    assert batch.more


def test_what_the_catalog_holds_is_trimmed_or_kept_as_a_conflict() -> None:
    batch = choose(view(range(1, 4), held={1: OURS, 2: THEIRS}), CHUNKS, hurry=True, now_ms=0)
    assert [r.seq for r in batch.same] == [1]
    assert [r.seq for r in batch.conflicts] == [2]
    assert work(batch) == [(3, 3, True)]


def test_a_segments_plan_with_rows_gone_is_void_and_the_rest_planned_anew() -> None:
    batch = choose(view(range(3, 5), segment(1, 4)), SEGMENTS, hurry=True, now_ms=0)
    assert work(batch) == [(3, 4, True)]


def test_a_plan_that_ends_out_of_sight_is_left_to_a_later_step() -> None:
    last = LOOK_ROWS
    seen = view(range(1, last + 1), segment(last - 1, last + 5), cut=True)
    batch = choose(seen, CHUNKS, hurry=True, now_ms=0)
    assert all(job.plan.last < last - 1 for job in batch.jobs)
    assert batch.more


def test_a_step_is_bounded() -> None:
    batch = choose(view(range(1, 200)), CHUNKS, hurry=True, now_ms=0)
    assert sum(len(job.rows) for job in batch.jobs) == STEP_ROWS
    assert batch.more


def test_a_plan_may_be_forgotten_when_nothing_of_it_is_left() -> None:
    seen = view(range(3, 5), run_of_chunks(1, 4), held={1: OURS, 2: OURS})
    batch = choose(seen, CHUNKS, hurry=True, now_ms=0)
    assert list(forgettable(seen, batch, Ranges([(3, 3)]))) == [(3, 3)]
    assert list(forgettable(seen, batch, Ranges([(3, 4)]))) == [(1, 4)]


def test_seqs_that_are_nowhere_are_never_forgotten() -> None:
    seen = view(range(3, 5), segment(1, 4))
    batch = choose(seen, SEGMENTS, hurry=True, now_ms=0)
    assert list(forgettable(seen, batch, Ranges([(3, 4)]))) == [(3, 4)]


def test_a_plan_that_ends_out_of_sight_is_not_forgotten() -> None:
    seen = attrs.evolve(view(range(1, 5), run_of_chunks(1, 6)), cut=True, held={5: OURS, 6: OURS})
    batch = choose(seen, CHUNKS, hurry=True, now_ms=0)
    assert list(forgettable(seen, batch, Ranges([(1, 4)]))) == [(1, 4)]


def test_a_steps_chunks_are_read_a_portion_at_a_time_and_planned_once() -> None:
    batch = choose(view(range(1, STEP_ROWS + 1)), CHUNKS, hurry=True, now_ms=0)
    parts = [part for portion in portions(batch.jobs) for part in portion]
    assert [r.seq for part in parts for r in part.rows] == list(range(1, STEP_ROWS + 1))
    assert all(len(part.rows) <= PORTION_ROWS and part.lacking == part.rows for part in parts)
    assert [part.new for part in parts] == [True, False, False, False], "a plan is journalled once"


def test_short_runs_share_a_portion_and_a_segment_has_its_own() -> None:
    runs = [run_of_chunks(first, first + 4) for first in (1, 11, 21, 31)]
    seqs = [seq for plan in runs for seq in range(plan.first, plan.last + 1)]
    seen = View(KEY, [row(seq) for seq in [*seqs, *range(41, 71)]], False, [*runs, segment(41, 70)], {})
    batch = choose(seen, CHUNKS, hurry=True, now_ms=0)
    found = [[part.plan.first for part in portion] for portion in portions(batch.jobs)]
    assert found == [[1, 11, 21], [31], [41]]
