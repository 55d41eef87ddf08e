"""One step of one stream: journal → backend → catalog → trim. The order is the whole of crash safety
(design.md).

Every await here may be the last: what the next start needs is in the journal before each of them. A step
writes its plans down before the first put, commits to the catalog what the backend confirmed, and lets the
journal forget only what the catalog committed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

import attrs
import structlog

from interview_edge.archive.batch import LOOK_ROWS, Batch, Job, View, choose, forgettable, portions
from interview_edge.archive.objects import (
    NewObject,
    chunk_metadata,
    row_metadata,
    segment_metadata,
    session_metadata,
)
from interview_edge.archive.planning import runs
from interview_edge.archive.policy import ArchivePolicy
from interview_edge.archive.putter import Placed, Putter
from interview_edge.backends.protocol import BackendError
from interview_edge.catalog.protocol import Catalog, StoredChunks
from interview_edge.core.keys import chunk_key, conflict_key
from interview_edge.core.models import Extent, Layout, LedgerSnapshot, NewEvent, StreamKey
from interview_edge.core.ranges import Ranges
from interview_edge.journal import Journal
from interview_edge.journal.records import JournalRow

_log = structlog.get_logger(__name__)

CONFLICT = "conflict"  # the event's type
EVENTS_PAGE = 1_000


@attrs.frozen
class StepResult:
    """What a step achieved. `settled` needs no further step; `error` is the first put's that failed, if one
    did.

    `oldest_at`: when the oldest chunk that the step saw and left was accepted. `more`: go on at once.
    """

    settled: Ranges
    error: Exception | None = None
    oldest_at: int | None = None
    more: bool = False


@attrs.frozen
class _Stored:
    """One object, confirmed, and what it means for the catalog."""

    extents: Sequence[Extent]
    rows: Sequence[JournalRow]  # those that the extents hold


class Uploader:
    """Takes the steps. Holds no state of its own: everything it needs to know is in journal and catalog."""

    def __init__(
        self,
        journal: Journal,
        catalog: Catalog,
        putter: Putter,
        policy: ArchivePolicy,
        *,
        now_ms: Callable[[], int],
        on_stored: Callable[[StreamKey, Sequence[tuple[int, int]]], None],
        on_conflict: Callable[[StreamKey, Sequence[int]], None],
    ) -> None:
        self._journal = journal
        self._catalog = catalog
        self._putter = putter
        self._policy = policy
        self._now_ms = now_ms
        self._on_stored = on_stored
        self._on_conflict = on_conflict

    async def step(self, key: StreamKey, known: Ranges, *, hurry: bool) -> StepResult:
        """Store at most 60 of the stream's due chunks. Only one step of a stream at a time.

        `known` are the seqs whose owner was told of their commit: a row may be readable an instant earlier,
        and nobody should hear that a chunk is stored before they hear that it is journalled.

        Raises `JournalError`, `CatalogUnavailable` and `SessionIsDeleted`; a failed put is the result's
        `error`, after the others' were committed.
        At every cancellation and every error the next step, or the next start's, finishes what is under way.
        """
        before = Ranges(known)
        view = await self._look(key, known)
        gone = Ranges() if view.cut else Ranges(before.minus(Ranges((r.seq, r.seq) for r in view.rows)))
        if not view.rows:
            return StepResult(settled=gone)  # trimmed long ago, or their session was dropped
        batch = choose(view, self._policy, hurry=hurry, now_ms=self._now_ms())
        stored, error = await self._put(key, batch)
        repeats = (await self._journal.repeats(key.session_id)).get(key.stream, 0)
        settled = await self._commit(key, stored, repeats)
        late = len(settled) < sum(len(part.rows) for part in stored)
        for row in batch.same:
            settled.add(row.seq)
        if batch.same:
            self._on_stored(key, tuple(runs(row.seq for row in batch.same)))
        try:
            await self._keep_conflicts(key, batch.conflicts)
        except BackendError as refused:  # what is settled is trimmed all the same, or the journal fills up
            error = error or refused
        else:
            for row in batch.conflicts:
                settled.add(row.seq)
        if settled:
            counted = bool(stored) or _ours(view, batch.same)
            await self._journal.trim(key, forgettable(view, batch, settled), repeats if counted else 0)
            _log.debug("stored and trimmed", session_id=key.session_id, stream=key.stream, seqs=list(settled))
        left = [row for row in view.rows if row.seq not in settled]
        settled.update(gone)
        return StepResult(
            settled=settled,
            error=error,
            oldest_at=min((row.at for row in left), default=None),
            more=batch.more or late or (view.cut and len(left) < len(view.rows)),
        )

    async def _look(self, key: StreamKey, known: Ranges) -> View:
        found = await self._journal.rows(key, limit=LOOK_ROWS)
        rows = [row for row in found if row.seq in known]
        plans = await self._journal.plans(key)
        seqs = Ranges((row.seq, row.seq) for row in rows)
        seqs.update((plan.first, plan.last) for plan in plans)
        wanted = [seq for first, last in seqs for seq in range(first, last + 1)]
        held = await self._catalog.identities(key, wanted)
        return View(key, rows, cut=len(found) == LOOK_ROWS, plans=plans, held=held)

    # -- put

    async def _put(self, key: StreamKey, batch: Batch) -> tuple[list[_Stored], BackendError | None]:
        """Put the batch's objects. After the first failure none is begun; what was confirmed counts."""
        stored: list[_Stored] = []
        for portion in portions(batch.jobs):
            error = await self._put_portion(key, portion, stored)
            if error is not None:
                return stored, error
        return stored, None

    async def _put_portion(
        self, key: StreamKey, jobs: Sequence[Job], stored: list[_Stored]
    ) -> BackendError | None:
        """Read the jobs' audio, write their plans down, put their objects; answers the first failure."""
        audio = [await self._read(job) for job in jobs]
        plans = [
            attrs.evolve(job.plan, sha256=_digest(pcm.values()))
            if job.plan.layout is Layout.SEGMENTS
            else job.plan
            for job, pcm in zip(jobs, audio, strict=True)
            if job.new
        ]
        if plans:
            await self._journal.record_plans(plans)
        objects = [
            found for job, pcm in zip(jobs, audio, strict=True) for found in self._objects(key, job, pcm)
        ]
        first_error = None
        for (_, finish), outcome in zip(
            objects, await self._putter.place_all([new for new, _ in objects]), strict=True
        ):
            if isinstance(outcome, Placed):
                stored.append(finish(outcome))
            elif first_error is None:
                first_error = outcome
        return first_error

    async def _read(self, job: Job) -> dict[int, bytes]:
        wanted = {row.seq for row in job.rows}
        found = await self._journal.read(job.plan.key, job.rows[0].seq, job.rows[-1].seq)
        return {seq: pcm for seq, pcm in found if seq in wanted}

    def _objects(
        self, key: StreamKey, job: Job, pcm: Mapping[int, bytes]
    ) -> Iterator[tuple[NewObject, Callable[[Placed], _Stored]]]:
        """The objects of one plan, each with what makes its extents once it lies somewhere.

        Rows whose audio is gone from the journal (the session was dropped this instant) make none.
        """
        if job.plan.layout is Layout.CHUNKS:
            common = session_metadata(key)
            for row in job.rows:
                if row.seq in pcm:
                    name = chunk_key(key, row.seq)
                    new = NewObject(name, pcm[row.seq], "pcm", common | row_metadata(row))
                    yield new, partial(self._one_chunk, row)
        elif len(pcm) == len(job.rows) and job.plan.object_key is not None:
            audio = b"".join(pcm.values())
            metadata = segment_metadata(key, job.rows)
            new = NewObject(job.plan.object_key, audio, job.plan.format, metadata)
            yield new, partial(self._segment, job, audio)

    def _one_chunk(self, row: JournalRow, placed: Placed) -> _Stored:
        extent = Extent(
            first=row.seq,
            last=row.seq,
            key=placed.key,
            length=row.length,
            sha256=row.sha256,
            object_size=placed.size,
            stored_at=self._now_ms(),
        )
        return _Stored([extent], [row])

    def _segment(self, job: Job, audio: bytes, placed: Placed) -> _Stored:
        """Extents of what the catalog lacks: one, unless another node stored some of the segment."""
        offsets: dict[int, int] = {}
        end = 0
        for row in job.rows:
            offsets[row.seq] = end
            end += row.length
        lengths = {row.seq: row.length for row in job.rows}
        extents = []
        for first, last in runs(row.seq for row in job.lacking):
            start, stop = offsets[first], offsets[last] + lengths[last]
            extent = Extent(
                first=first,
                last=last,
                key=placed.key,
                length=stop - start,
                sha256=hashlib.sha256(memoryview(audio)[start:stop]).digest(),
                format=job.plan.format,
                offset=start,
                object_size=placed.size,
                stored_at=self._now_ms(),
            )
            extents.append(extent)
        return _Stored(extents, job.lacking)

    # -- catalog

    async def _commit(self, key: StreamKey, stored: Sequence[_Stored], repeats: int) -> Ranges:
        """Tell the catalog what the backend confirmed. Answers the seqs that are settled by it.

        A conflict that only shows here (another node was quicker since the look) is the next step's: it then
        finds the seq held with another identity. The journal keeps the row until then.
        """
        if not stored:
            return Ranges()
        rows = sorted((row for part in stored for row in part.rows), key=lambda row: row.seq)
        extents = sorted(
            (extent for part in stored for extent in part.extents), key=lambda extent: extent.first
        )
        late = await self._catalog.record_stored(
            StoredChunks(
                key=key,
                extents=extents,
                identities={row.seq: row.identity for row in rows},
                ledger=_ledger(rows, repeats),
                stored_at=self._now_ms(),
            )
        )
        conflicting = set(late)
        settled = list(runs(row.seq for row in rows if row.seq not in conflicting))
        self._on_stored(key, settled)
        return Ranges(settled)

    # -- conflicts

    async def _keep_conflicts(self, key: StreamKey, rows: Sequence[JournalRow]) -> None:
        """Other bytes of a held seq: the first extent stands, these go to `conflicts/`, and an event says so.

        Idempotent: the object's key is made of its identity, and an event that names it isn't appended twice.
        """
        if not rows:
            return
        told = await self._conflicts_told(key.session_id)
        for row in rows:
            name = conflict_key(key, row.seq, row.identity)
            for _, pcm in await self._journal.read(key, row.seq, row.seq):
                await self._putter.place(NewObject(name, pcm, "pcm", chunk_metadata(key, row)))
            if name not in told:
                body = {
                    "seq": row.seq,
                    "key": name,
                    "sha256": row.sha256.hex(),
                    "timestamp_ms": row.timestamp_ms,
                }
                event = NewEvent(ts=self._now_ms(), type=CONFLICT, body=body, stream=key.stream)
                await self._catalog.append_events(key.session_id, [event], at=event.ts)
        self._on_conflict(key, [row.seq for row in rows])

    async def _conflicts_told(self, session_id: str) -> set[object]:
        """The keys that the session's conflict events name."""
        told: set[object] = set()
        after = 0
        while True:
            page = await self._catalog.events(session_id, after=after, limit=EVENTS_PAGE, types=[CONFLICT])
            if not page:
                return told
            told.update(event.body.get("key") for event in page)
            after = page[-1].seq_no


def _digest(parts: Iterable[bytes]) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()


def _ledger(rows: Sequence[JournalRow], duplicates: int) -> LedgerSnapshot:
    """The ledger of exactly these rows, ascending and at least one."""
    final = next((row for row in rows if row.final), None)
    return LedgerSnapshot(
        held=tuple(runs(row.seq for row in rows)),
        final_seq=None if final is None else final.seq,
        final_length=0 if final is None else final.length,
        duplicates=duplicates,
        started_at=min(row.at for row in rows),
        updated_at=max(row.at for row in rows),
    )


def _ours(view: View, same: Sequence[JournalRow]) -> bool:
    """Whether it was this node's own commit, cut off before its trim, that the catalog holds these rows by.

    Then its repeats were counted with it and must not be again. (One that came between that commit and the
    end of the process goes uncounted: the count is a statistic, the ledger is exact.)
    """
    planned = Ranges((plan.first, plan.last) for plan in view.plans)
    return any(row.seq in planned for row in same)
