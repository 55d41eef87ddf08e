"""What one step does: journalled rows, journalled plans and the catalog's word, sorted into work. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import attrs

from interview_edge.archive.planning import plan_objects
from interview_edge.archive.policy import ArchivePolicy
from interview_edge.core.models import Layout, StreamKey
from interview_edge.core.ranges import Ranges
from interview_edge.journal.records import JournalRow, ObjectPlan

STEP_ROWS = 60  # of audio put in one step
# Of audio read at once: 512 KiB for each step under way. With all 60, eight steps held 15 MB for the eight
# puts that a node has under way, and the allocator kept most of it. A segment is read whole.
PORTION_ROWS = 16
LOOK_ROWS = 240  # of small columns read in one step, so that incomplete segments don't hide a complete one


@attrs.frozen
class View:
    """A stream as a step finds it: the lowest `rows` (`cut` where the journal has more), all `plans`, and
    `held`, the identities that the catalog has of the seqs of both.
    """

    key: StreamKey
    rows: Sequence[JournalRow]
    cut: bool
    plans: Sequence[ObjectPlan]
    held: Mapping[int, bytes]

    @property
    def by_seq(self) -> dict[int, JournalRow]:
        return {row.seq: row for row in self.rows}

    def fresh(self, row: JournalRow) -> bool:
        """Whether the catalog doesn't hold the seq yet."""
        return row.seq not in self.held

    def same(self, row: JournalRow) -> bool:
        return self.held.get(row.seq) == row.identity


@attrs.frozen
class Job:
    """One plan to carry out. `rows` are put; extents are written for `lacking`: those that the catalog
    doesn't hold.
    """

    plan: ObjectPlan
    rows: Sequence[JournalRow]
    lacking: Sequence[JournalRow]
    new: bool


@attrs.frozen
class Batch:
    """The work of one step.

    `same`: rows that the catalog holds already, to be trimmed only. `conflicts`: rows whose seq it holds with
    another identity. `more`: further work is due at once. `waiting`: rows that aren't due.
    """

    jobs: Sequence[Job]
    same: Sequence[JournalRow]
    conflicts: Sequence[JournalRow]
    more: bool
    waiting: Sequence[JournalRow]


def choose(view: View, policy: ArchivePolicy, *, hurry: bool, now_ms: int) -> Batch:
    """Sort a stream's rows into the work of one step: journalled plans first, exactly as they are, then new
    ones.

    Segments of a journalled plan are put whole though another node may have stored some of their seqs
    meanwhile (so a replay makes the same object); their rows are trimmed when the segment is done, not
    before.
    """
    followed, reserved = _followed(view)
    fresh = [row for row in view.rows if view.fresh(row) and row.seq not in reserved]
    by_seq = view.by_seq
    plans = plan_objects(
        view.key,
        fresh,
        layout=policy.layout,
        segment_format=policy.segment_format,
        hurry=hurry or policy.put_at_once,
        now_ms=now_ms,
        interval_ms=policy.upload_interval_ms,
    )
    planned: list[Job] = []
    for plan in plans:
        rows = [by_seq[seq] for seq in range(plan.first, plan.last + 1)]
        planned.append(Job(plan, rows, rows, new=True))
    jobs = list(_within_budget([*followed, *planned]))
    due = {row.seq for job in planned for row in job.rows}
    held = [row for row in view.rows if not view.fresh(row) and row.seq not in reserved]
    conflicts = [row for row in held if not view.same(row)]
    # What is held of a segment under way is settled by the step after it.
    left = any(len(job.lacking) < len(job.rows) for job in jobs) or len(conflicts) > STEP_ROWS
    return Batch(
        jobs=jobs,
        same=[row for row in held if view.same(row)],
        conflicts=conflicts[:STEP_ROWS],
        more=left or len(jobs) < len(followed) + len(planned),
        waiting=[row for row in fresh if row.seq not in due],
    )


def _followed(view: View) -> tuple[list[Job], Ranges]:
    """The journalled plans that are still to be carried out, and the seqs that no new plan may take.

    Void is a segment's plan of which rows are gone (a damaged journal's): what is left is planned anew.
    """
    jobs: list[Job] = []
    reserved = Ranges()
    by_seq = view.by_seq
    sight = view.rows[-1].seq if view.rows else 0
    for plan in view.plans:
        rows = [by_seq[seq] for seq in range(plan.first, plan.last + 1) if seq in by_seq]
        lacking = [row for row in rows if view.fresh(row) and row.seq not in reserved]
        if not lacking:
            continue
        if plan.layout is Layout.CHUNKS:
            jobs.append(Job(plan, lacking, lacking, new=False))
            for row in lacking:
                reserved.add(row.seq)
        elif len(rows) == plan.last - plan.first + 1:
            jobs.append(Job(plan, rows, lacking, new=False))
            reserved.add_range(plan.first, plan.last)
        elif view.cut and plan.last > sight:
            reserved.add_range(plan.first, plan.last)  # its end is out of sight: a later step's
    return jobs, reserved


def _within_budget(jobs: Sequence[Job]) -> Iterator[Job]:
    """As many as fit into a step, the first one always."""
    room = STEP_ROWS
    for job in jobs:
        if len(job.rows) > room and room < STEP_ROWS:
            return
        room -= len(job.rows)
        yield job


def portions(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    """The jobs of a step in parts whose audio is in memory at once: `PORTION_ROWS` chunks, or one segment.

    A job of chunks may be in several parts; it is new in the first only.
    """
    portion: list[Job] = []
    room = PORTION_ROWS
    for part in (part for job in jobs for part in _parts(job)):
        if portion and len(part.rows) > room:
            yield portion
            portion, room = [], PORTION_ROWS
        portion.append(part)
        room -= len(part.rows)
    if portion:
        yield portion


def _parts(job: Job) -> Iterator[Job]:
    if job.plan.layout is not Layout.CHUNKS or len(job.rows) <= PORTION_ROWS:
        yield job
        return
    for start in range(0, len(job.rows), PORTION_ROWS):
        rows = job.rows[start : start + PORTION_ROWS]
        yield Job(job.plan, rows, rows, new=job.new and start == 0)


def forgettable(view: View, batch: Batch, settled: Ranges) -> Ranges:
    """What the journal may forget once `settled` are safe: those seqs, and each plan that has nothing left to
    do.

    The journal drops a plan when one range holds all of it; a plan carried out in parts needs its earlier
    seqs named again. They are gone from the journal and in the catalog, so nobody can bring them back.
    """
    ranges = Ranges(settled)
    here = {row.seq for row in view.rows}
    sight = view.rows[-1].seq if view.cut else None
    for plan in (*view.plans, *(job.plan for job in batch.jobs)):
        seqs = range(plan.first, plan.last + 1)
        in_sight = sight is None or plan.last <= sight
        if in_sight and all(seq in settled or (seq not in here and seq in view.held) for seq in seqs):
            ranges.add_range(plan.first, plan.last)
    return ranges
