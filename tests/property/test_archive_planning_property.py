"""Planning and the choice of a step's work, for any journal and any word of the catalog."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from interview_edge.archive.batch import STEP_ROWS, View, choose, forgettable
from interview_edge.archive.planning import SEGMENT_CHUNKS, plan_objects
from interview_edge.archive.policy import ArchivePolicy
from interview_edge.core.models import Layout, SegmentFormat, StreamKey
from interview_edge.core.ranges import Ranges
from interview_edge.journal.records import JournalRow, ObjectPlan

KEY = StreamKey("s")
INTERVAL = 60_000
NOW = 1_000_000
OURS, THEIRS = b"o" * 16, b"t" * 16

layouts = st.sampled_from(Layout)
rows = st.dictionaries(st.integers(1, 200), st.integers(0, NOW), max_size=120).map(
    lambda found: [JournalRow(seq, 0, False, 32_000, b"", OURS, at) for seq, at in sorted(found.items())]
)


def plan(found: list[JournalRow], layout: Layout, *, hurry: bool) -> list[ObjectPlan]:
    return list(
        plan_objects(
            KEY,
            found,
            layout=layout,
            segment_format=SegmentFormat.WAV,
            hurry=hurry,
            now_ms=NOW,
            interval_ms=INTERVAL,
        )
    )


def seqs_of(plans: list[ObjectPlan]) -> list[int]:
    return [seq for p in plans for seq in range(p.first, p.last + 1)]


@settings(max_examples=60)
@given(rows, layouts)
def test_in_a_hurry_every_row_is_in_exactly_one_plan(found: list[JournalRow], layout: Layout) -> None:
    assert seqs_of(plan(found, layout, hurry=True)) == [row.seq for row in found]


@settings(max_examples=60)
@given(rows, layouts, st.booleans())
def test_plans_lie_within_the_rows_and_the_bounds(
    found: list[JournalRow], layout: Layout, hurry: bool
) -> None:
    plans = plan(found, layout, hurry=hurry)
    covered = seqs_of(plans)
    assert len(covered) == len(set(covered))
    assert set(covered) <= {row.seq for row in found}
    assert all(p.last - p.first < SEGMENT_CHUNKS for p in plans)
    assert plans == plan(found, layout, hurry=hurry)
    if layout is Layout.SEGMENTS:
        assert all((p.first - 1) // SEGMENT_CHUNKS == (p.last - 1) // SEGMENT_CHUNKS for p in plans)


@settings(max_examples=60)
@given(rows, layouts)
def test_no_chunk_waits_longer_than_it_may(found: list[JournalRow], layout: Layout) -> None:
    covered = set(seqs_of(plan(found, layout, hurry=False)))
    longest = INTERVAL if layout is Layout.CHUNKS else 2 * INTERVAL
    assert all(row.seq in covered for row in found if row.at <= NOW - longest)


@settings(max_examples=150)
@given(st.data(), rows, layouts, layouts)
def test_any_stream_is_brought_in_by_finitely_many_steps(
    data: st.DataObject, found: list[JournalRow], layout: Layout, before: Layout
) -> None:
    """With plans of an earlier start, rows of them gone, some seqs held by others: nothing is lost."""
    planned = plan(found, before, hurry=True)
    plans = data.draw(st.lists(st.sampled_from(planned), unique=True)) if planned else []
    seqs = [row.seq for row in found]
    gone = data.draw(st.sets(st.sampled_from(seqs), max_size=5)) if seqs else set()
    held = (
        data.draw(st.dictionaries(st.sampled_from(seqs), st.sampled_from([OURS, THEIRS]), max_size=10))
        if seqs
        else {}
    )
    left = {row.seq: row for row in found if row.seq not in gone}
    policy = ArchivePolicy(layout=layout)
    for _ in range(len(seqs) + 2):
        if not left:
            break
        view = View(KEY, sorted(left.values(), key=lambda row: row.seq), False, plans, held)
        batch = choose(view, policy, hurry=True, now_ms=NOW)
        lacking = [row.seq for job in batch.jobs for row in job.lacking]
        assert len(lacking) == len(set(lacking)), "no second is stored twice"
        assert not set(lacking) & set(held), "no second that the catalog holds is stored again"
        assert sum(len(job.rows) for job in batch.jobs) <= STEP_ROWS
        settled = Ranges((row.seq, row.seq) for row in (*batch.same, *batch.conflicts))
        for seq in lacking:
            settled.add(seq)
            held = {**held, seq: OURS}
        after = View(KEY, view.rows, False, plans, held)
        forget = forgettable(after, batch, settled)
        assert not [seq for seq in left if seq in forget and seq not in held], (
            "only what the catalog holds goes"
        )
        left = {seq: row for seq, row in left.items() if seq not in forget}
        plans = [
            p for p in (*plans, *(j.plan for j in batch.jobs if j.new)) if not forget.covers(p.first, p.last)
        ]
    assert not left
