"""The ledger of one stream: which seqs are held, which are on their way. A grow-only set (invariants 2, 3).

No I/O, no clock: times come in with the chunk. Any order, repetition and interleaving of the same chunks
gives the same `held`; `merge` is commutative, associative and idempotent.
"""

from __future__ import annotations

import enum
from itertools import islice

from interview_edge.core.models import IngestStatus, LedgerSnapshot
from interview_edge.core.pcm import CHUNK_BYTES
from interview_edge.core.ranges import Ranges
from interview_edge.core.times import iso_from_ms
from interview_edge.errors import FINAL_BELOW_HELD, SEQ_TOO_FAR, STREAM_ENDED, EdgeError

MAX_SEQ_AHEAD = 86_400  # a day of seconds: bounds what one bad seq can make of `missing`
MAX_MISSING_LISTED = 1_000


class Standing(enum.Enum):
    """Where a seq stands when a chunk with it arrives."""

    NEW = "new"
    PENDING = "pending"
    HELD = "held"


class Ledger:
    """Which seqs of a stream are held and pending, and its counters."""

    __slots__ = (
        "_final_length",
        "_final_seq",
        "_held",
        "_pending",
        "_pending_final",
        "duplicates",
        "started_at",
        "updated_at",
    )

    def __init__(self, snapshot: LedgerSnapshot | None = None) -> None:
        snapshot = LedgerSnapshot() if snapshot is None else snapshot
        self._held = Ranges(snapshot.held)
        self._pending: set[int] = set()
        self._pending_final: int | None = None
        self._final_seq = snapshot.final_seq
        self._final_length = snapshot.final_length
        self.duplicates = snapshot.duplicates
        self.started_at = snapshot.started_at
        self.updated_at = snapshot.updated_at

    # -- asking

    def standing(self, seq: int, *, final: bool = False) -> Standing:
        """Where `seq` stands now.

        Raises EdgeError for a NEW seq that may not be taken: `seq_too_far`, `stream_ended`,
        `final_below_held` (a pending chunk counts as held for these: it may commit any moment).
        """
        if seq in self._pending:
            return Standing.PENDING
        if seq in self._held:
            return Standing.HELD
        last = self.last_known
        if seq > last + MAX_SEQ_AHEAD:
            raise EdgeError(SEQ_TOO_FAR, fields={"seq": seq})
        end = self._pending_final if self._final_seq is None else self._final_seq
        if end is not None and seq > end:
            raise EdgeError(STREAM_ENDED, fields={"seq": seq})
        if final and (seq < last or end is not None):
            raise EdgeError(FINAL_BELOW_HELD, fields={"seq": seq})
        return Standing.NEW

    @property
    def last_known(self) -> int:
        """The highest seq held or pending, 0 when none: what comes after it was given to nobody yet."""
        return max(self._held.last, max(self._pending, default=0))

    @property
    def held(self) -> Ranges:
        """The seqs held. Not to be changed by the caller."""
        return self._held

    @property
    def last_seq(self) -> int:
        """The highest seq held, 0 when none."""
        return self._held.last

    @property
    def next_seq(self) -> int:
        """The first missing seq: where a client resumes. Never falls, never passes the first hole."""
        return self._held.first_missing

    @property
    def missing_count(self) -> int:
        return self._held.last - len(self._held)

    @property
    def final_seq(self) -> int | None:
        return self._final_seq

    @property
    def bytes_held(self) -> int:
        """PCM bytes of all held chunks: each a whole second but the final one."""
        if self._final_seq is None:
            return len(self._held) * CHUNK_BYTES
        return (len(self._held) - 1) * CHUNK_BYTES + self._final_length

    # -- changing

    def reserve(self, seq: int, *, final: bool = False) -> None:
        """Mark a NEW seq pending: its bytes are on their way to safety."""
        self._pending.add(seq)
        if final:
            self._pending_final = seq

    def release(self, seq: int) -> None:
        """A pending seq did not become safe: forget it, so that a repeat is NEW again."""
        self._pending.discard(seq)
        if self._pending_final == seq:
            self._pending_final = None

    def admit(self, seq: int, length: int = CHUNK_BYTES, *, final: bool = False, at: int) -> bool:
        """The bytes of `seq` are safe: hold it. Answers False, changing nothing, where it was held before."""
        self.release(seq)
        if not self._held.add(seq):
            return False
        if final:
            self._final_seq, self._final_length = seq, length
        self.started_at = at if self.started_at is None else min(self.started_at, at)
        self.updated_at = at if self.updated_at is None else max(self.updated_at, at)
        return True

    def count_duplicate(self, at: int) -> None:
        """A repeat of a held chunk came, with the same bytes."""
        self.duplicates += 1
        self.updated_at = at if self.updated_at is None else max(self.updated_at, at)

    # -- showing

    def snapshot(self) -> LedgerSnapshot:
        """What the catalog keeps. Pending seqs are not part of it."""
        return LedgerSnapshot(
            held=tuple(self._held),
            final_seq=self._final_seq,
            duplicates=self.duplicates,
            final_length=self._final_length,
            started_at=self.started_at,
            updated_at=self.updated_at,
        )

    def missing(self, upto: int | None = None) -> tuple[tuple[tuple[int, int], ...], bool]:
        """At most 1,000 missing ranges, and whether there are more."""
        listed = tuple(islice(self._held.missing(upto), MAX_MISSING_LISTED + 1))
        return listed[:MAX_MISSING_LISTED], len(listed) > MAX_MISSING_LISTED

    def status(self, session_id: str, created_at: int) -> IngestStatus:
        """The stream's status as the wire shows it; an empty stream's times are those of its session."""
        missing, truncated = self.missing()
        return IngestStatus(
            session_id=session_id,
            meeting_id=session_id,
            last_seq=self.last_seq,
            received_chunks=len(self._held),
            duplicate_chunks=self.duplicates,
            missing_chunks=self.missing_count,
            bytes_stored=self.bytes_held,
            started_at=iso_from_ms(created_at if self.started_at is None else self.started_at),
            updated_at=iso_from_ms(created_at if self.updated_at is None else self.updated_at),
            missing=missing,
            missing_truncated=truncated,
        )


def merge(a: LedgerSnapshot, b: LedgerSnapshot) -> LedgerSnapshot:
    """The ledger that holds what either holds: commutative, associative, idempotent.

    Two ends of one stream (two nodes were told different ones): the later stands. `duplicates` takes the
    larger, since a sum would not be idempotent.
    """
    held = Ranges(a.held)
    held.update(b.held)
    ends = [(s.final_seq, s.final_length) for s in (a, b) if s.final_seq is not None]
    final_seq, final_length = max(ends, default=(None, 0))
    starts = [s.started_at for s in (a, b) if s.started_at is not None]
    updates = [s.updated_at for s in (a, b) if s.updated_at is not None]
    return LedgerSnapshot(
        held=tuple(held),
        final_seq=final_seq,
        final_length=final_length,
        duplicates=max(a.duplicates, b.duplicates),
        started_at=min(starts, default=None),
        updated_at=max(updates, default=None),
    )
