"""The Catalog protocol: the database of sessions, ledgers, the object table, events, idempotency keys,
results.

SQLite implements it (catalog/sqlite.py); PostgreSQL can stand beside it, so nothing here is SQLite's.
`interview_edge.testing.check_catalog` holds an implementation to this text.

Every write is one transaction, durable when it returns, and idempotent where its text says so. All methods
run on trio and may be called concurrently. When the database can't answer, they raise `CatalogUnavailable`: a
retry may help, and nothing of the failed call is visible. A cancelled call happened whole or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import attrs

from interview_edge.catalog.access import AccessRecords
from interview_edge.catalog.files import FileRecords
from interview_edge.core.models import (
    TRUSTED,
    Caller,
    Event,
    Extent,
    LedgerSnapshot,
    NewEvent,
    SessionState,
    StreamKey,
    Utterance,
    VadPosition,
)


class CatalogUnavailable(Exception):
    """The catalog can't answer now. Retry."""


class SessionIsDeleted(Exception):
    """The session has a tombstone: no write may bring it back."""


class SessionOfAnother(Exception):
    """The session is somebody else's: to this caller it isn't there."""


@attrs.frozen
class StreamRecord:
    """What the catalog knows of one stream."""

    ledger: LedgerSnapshot
    vad: VadPosition | None = None


@attrs.frozen
class SessionRecord:
    """What the catalog knows of one session. Times are epoch ms."""

    session_id: str
    owner: str
    epoch: int
    created_at: int
    updated_at: int
    state: SessionState
    event_count: int
    streams: Mapping[str, StreamRecord]
    finalized: FinalizedResult | None = None
    deleted_at: int | None = None


@attrs.frozen
class FinalizedResult:
    """The last finalize of a session.

    `fingerprint` says what it was made from (see sessions/finalizer.py): an equal one means that writing anew
    would write the same, an empty one that the object may be a later finalize's, which failed. `answer` is
    the response body as JSON-able data. `lines_missing` is how many lines, and names in lines, it went
    without because they weren't there yet.
    """

    finalized_at: int
    result_key: str
    fingerprint: str
    answer: Mapping[str, Any]
    lines_missing: int = 0


@attrs.frozen
class SessionSummary:
    """One row of `GET /v1/sessions`."""

    session_id: str
    owner: str
    created_at: int
    updated_at: int
    streams: Mapping[str, LedgerSnapshot]
    event_count: int
    finalized_at: int | None


@attrs.frozen
class StoredChunks:
    """One confirmed step of the archive: objects of one stream that the backend holds now.

    `ledger` is the ledger of exactly these seqs (held = the seqs of `extents`; final_seq where the final
    chunk is among them; duplicates = how many repeats to add; times of these chunks). `identities` maps each
    seq to its 16-byte identity.
    """

    key: StreamKey
    extents: Sequence[Extent]
    identities: Mapping[int, bytes]
    ledger: LedgerSnapshot
    stored_at: int


@attrs.frozen
class IdempotentAnswer:
    """An answer kept under an idempotency key. `body_digest` tells the same request from another."""

    key: str
    body_digest: bytes
    answer: bytes
    created_at: int


@runtime_checkable
class Catalog(Protocol):
    @property
    def access(self) -> AccessRecords:
        """Keys, grants, audit rows and usage, in the same database."""
        ...

    @property
    def files(self) -> FileRecords:
        """The object table by files: looked at, given up, swept."""
        ...

    # -- sessions

    async def open_session(self, session_id: str, at: int, caller: Caller = TRUSTED) -> SessionRecord:
        """Create the session as the caller's where it is new, raise its epoch by one, and return it with the
        new epoch.

        Raises, having changed nothing: `SessionOfAnother` for one that the caller may not see,
        `SessionIsDeleted` for one with a tombstone.
        """
        ...

    async def owner_of(self, session_id: str) -> str | None:
        """Whose the session is, a tombstoned one too; None for one never seen."""
        ...

    async def load_session(self, session_id: str) -> SessionRecord | None:
        """The session as it stands, tombstoned ones included (`deleted_at` set); None for one never seen."""
        ...

    async def list_sessions(
        self, *, limit: int, before: tuple[int, str] | None = None, owner: str | None = None
    ) -> Sequence[SessionSummary]:
        """Sessions without tombstone, by (created_at, session_id) descending, those below `before` only; of
        one owner, where given.
        """
        ...

    # -- the object table

    async def record_stored(self, stored: StoredChunks) -> Sequence[int]:
        """Commit one step of the archive: extents, identities, ledger and counters in one transaction.

        Creates session and stream where they are new (a journal may know them before the catalog).
        Idempotent: an extent whose key and seqs are there already changes nothing, and where none of the
        extents is new, no duplicates are added. (A step without extents adds its duplicates each time: a
        crash between it and the journal's trim counts those repeats twice, and nothing else.) The ledger is
        merged as `core.ledger.merge` does. Where another extent already holds one of the seqs, the first
        stands for it (`Extent.recorded`), and so does its identity; the answer is the seqs, ascending, that
        were held before with another identity (conflicts). Raises `SessionIsDeleted`.

        The same transaction counts the step as usage of the session's owner and key (empty where it has
        none) on the UTC day of `stored_at`: `chunks` and `audio_samples` of the seqs that were not held
        before, `stored_bytes` of the objects that no extent of the stream named before. So nothing counts
        twice, and a conflict counts no chunk, though its object counts its bytes.
        """
        ...

    async def extents(self, key: StreamKey, first: int = 1, last: int | None = None) -> Sequence[Extent]:
        """The extents of a stream that overlap `first..last`, in order of `first`, then as they were
        recorded.

        Two may hold the same seq (two nodes, a late conflict): the one with the lower `recorded` stands.
        """
        ...

    async def identities(self, key: StreamKey, seqs: Sequence[int]) -> Mapping[int, bytes]:
        """The identities of those of `seqs` that are held in the catalog."""
        ...

    async def held_objects(self, session_id: str) -> Sequence[str]:
        """Every object key that the object table names for a session."""
        ...

    # -- events, state, VAD

    async def append_events(
        self,
        session_id: str,
        events: Sequence[NewEvent],
        *,
        at: int,
        state: SessionState | None = None,
        vad: Mapping[str, VadPosition] | None = None,
        answer: IdempotentAnswer | None = None,
        heard: Sequence[Utterance] = (),
        written: Sequence[Utterance] = (),
    ) -> Sequence[Event]:
        """Append events (may be none), and in the same transaction replace the state, the streams' VAD
        positions and keep an idempotent answer (in place of an older one under its key). Numbers the events
        on from the session's last; creates session and streams where they are new. Raises `SessionIsDeleted`.

        `heard` are utterances that wait for their transcript from here on, `written` those that wait no
        longer. Where none of `written` waits, nothing at all happens and the answer is empty: somebody else
        has written it.
        """
        ...

    async def untranscribed(
        self, *, limit: int, after: tuple[str, Utterance] | None = None
    ) -> Sequence[tuple[str, Utterance]]:
        """Utterances that wait for their transcript, with their sessions, by session, stream and number;
        those after `after`. Not of tombstoned sessions.
        """
        ...

    async def count_untranscribed(self, session_id: str, *, stream: str | None = None) -> int:
        """How many of the session's utterances, or of one stream's, wait for their transcript."""
        ...

    async def events(
        self, session_id: str, *, after: int = 0, limit: int = 100, types: Sequence[str] | None = None
    ) -> Sequence[Event]:
        """Events with seq_no > `after`, ascending; of `types` only, where given."""
        ...

    async def idempotent_answer(
        self, session_id: str, key: str, *, not_before: int
    ) -> IdempotentAnswer | None:
        """The answer kept under `key`, unless it was made before `not_before`."""
        ...

    async def forget_idempotent_answers(self, before: int) -> int:
        """Delete answers made before `before`; how many."""
        ...

    # -- finalize and delete

    async def record_finalized(self, session_id: str, result: FinalizedResult) -> None:
        """Keep the session's last result, in place of an older one. Idempotent. Raises `SessionIsDeleted`."""
        ...

    async def results_to_renew(self, *, limit: int, after: str = "") -> Sequence[str]:
        """Sessions whose last result has `lines_missing` and of which no utterance waits any more, by id,
        those after `after`. Not tombstoned ones.
        """
        ...

    async def mark_deleted(self, session_id: str, at: int) -> None:
        """Set the tombstone (creating the row where there is none). Idempotent: the first `at` stays."""
        ...

    async def deletions_under_way(self) -> Sequence[str]:
        """Tombstoned sessions whose rows were not purged yet: the next start goes on with them."""
        ...

    async def purge_session(self, session_id: str) -> None:
        """Delete everything of a tombstoned session but the tombstone. Idempotent; a session without a
        tombstone is left alone."""
        ...

    async def aclose(self) -> None:
        """Take no more calls: they raise `CatalogUnavailable` from here on. Idempotent."""
        ...
