"""The SQLite catalog's SQL for sessions, events, results, deletes: synchronous, run on the database's thread.

Every function that writes is one piece of work of a group commit: it raises before it has changed anything,
or is rolled back to its savepoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import apsw

from interview_edge.catalog.protocol import (
    FinalizedResult,
    IdempotentAnswer,
    SessionIsDeleted,
    SessionOfAnother,
    SessionRecord,
    SessionSummary,
    StreamRecord,
)
from interview_edge.catalog.records import (
    from_json,
    ledger_from_columns,
    state_from_json,
    state_to_json,
    to_json,
    vad_from_columns,
)
from interview_edge.core.models import (
    TRUSTED,
    Caller,
    Event,
    LedgerSnapshot,
    NewEvent,
    SessionState,
    Utterance,
    VadPosition,
)

EMPTY_STATE = state_to_json(SessionState())
LEDGER_COLUMNS = "held, final_seq, final_length, duplicates, started_at, updated_at"


# -- sessions


def ensure_session(connection: apsw.Connection, session_id: str, at: int, caller: Caller = TRUSTED) -> None:
    """Create the session's row where there is none, as the caller's; raise SessionOfAnother where it is
    somebody else's, SessionIsDeleted where there is a tombstone.
    """
    row: Any = connection.execute(
        "SELECT owner, deleted_at FROM sessions WHERE session_id = ?", (session_id,)
    ).fetchone()
    if row is None:
        connection.execute(
            "INSERT INTO sessions (session_id, owner, key_id, epoch, created_at, updated_at, state) "
            "VALUES (?, ?, ?, 0, ?, ?, ?)",
            (session_id, caller.user, caller.key_id, at, at, EMPTY_STATE),
        )
        return
    owner, deleted_at = row
    if not caller.may_see(owner):
        raise SessionOfAnother(session_id)
    if deleted_at is not None:
        raise SessionIsDeleted(session_id)


def touch(connection: apsw.Connection, session_id: str, at: int) -> None:
    """The session changed at `at`; its `updated_at` never goes back."""
    connection.execute(
        "UPDATE sessions SET updated_at = ? WHERE session_id = ? AND updated_at < ?", (at, session_id, at)
    )


def ensure_stream(connection: apsw.Connection, session_id: str, stream: str) -> None:
    """Create the stream's row where there is none."""
    connection.execute(
        "INSERT INTO streams (session_id, stream, held) VALUES (?, ?, '[]') "
        "ON CONFLICT (session_id, stream) DO NOTHING",
        (session_id, stream),
    )


def open_session(connection: apsw.Connection, session_id: str, at: int, caller: Caller) -> SessionRecord:
    """See `Catalog.open_session`."""
    ensure_session(connection, session_id, at, caller)
    connection.execute("UPDATE sessions SET epoch = epoch + 1 WHERE session_id = ?", (session_id,))
    touch(connection, session_id, at)
    record = load_session(connection, session_id)
    assert record is not None  # noqa: S101  # for mypy: written two lines above, in this transaction
    return record


def owner_of(connection: apsw.Connection, session_id: str) -> str | None:
    """See `Catalog.owner_of`."""
    found: Any = connection.execute("SELECT owner FROM sessions WHERE session_id = ?", (session_id,)).get
    return None if found is None else str(found)


def load_session(connection: apsw.Connection, session_id: str) -> SessionRecord | None:
    """See `Catalog.load_session`."""
    row: Any = connection.execute(
        "SELECT owner, epoch, created_at, updated_at, state, event_count, finalized_at, result_key, "
        "fingerprint, answer, lines_missing, deleted_at FROM sessions WHERE session_id = ?",
        (session_id,),
    ).fetchone()
    if row is None:
        return None
    owner, epoch, created_at, updated_at, state, event_count, *result, deleted_at = row
    finalized = None
    if result[0] is not None:
        at, key, fingerprint, answer, lines_missing = result
        finalized = FinalizedResult(at, key, fingerprint, from_json(answer), lines_missing)
    return SessionRecord(
        session_id=session_id,
        owner=owner,
        epoch=epoch,
        created_at=created_at,
        updated_at=updated_at,
        state=state_from_json(state),
        event_count=event_count,
        streams=_stream_records(connection, session_id),
        finalized=finalized,
        deleted_at=deleted_at,
    )


def _stream_records(connection: apsw.Connection, session_id: str) -> dict[str, StreamRecord]:
    found: Any = connection.execute(
        f"SELECT stream, vad_sample, vad_tracker, {LEDGER_COLUMNS} FROM streams "  # noqa: S608  # a constant
        "WHERE session_id = ? ORDER BY stream",
        (session_id,),
    )
    return {
        stream: StreamRecord(ledger_from_columns(*ledger), vad_from_columns(sample, tracker))
        for stream, sample, tracker, *ledger in found
    }


def list_sessions(
    connection: apsw.Connection, limit: int, before: tuple[int, str] | None, owner: str | None
) -> list[SessionSummary]:
    """See `Catalog.list_sessions`."""
    below = "" if before is None else "AND (created_at, session_id) < (?, ?)"
    of_owner = "" if owner is None else "AND owner = ?"
    found: Any = connection.execute(
        "SELECT session_id, owner, created_at, updated_at, event_count, finalized_at FROM sessions "  # noqa: S608  # constants
        f"WHERE deleted_at IS NULL {below} {of_owner} ORDER BY created_at DESC, session_id DESC LIMIT ?",
        (*(before or ()), *(() if owner is None else (owner,)), limit),
    )
    rows = found.fetchall()
    ledgers: dict[str, dict[str, LedgerSnapshot]] = {row[0]: {} for row in rows}
    marks = ", ".join("?" * len(ledgers))
    streams: Any = connection.execute(
        f"SELECT session_id, stream, {LEDGER_COLUMNS} FROM streams "  # noqa: S608  # constants and marks
        f"WHERE session_id IN ({marks}) ORDER BY session_id, stream",
        tuple(ledgers),
    )
    for session_id, stream, *ledger in streams:
        ledgers[session_id][stream] = ledger_from_columns(*ledger)
    return [
        SessionSummary(
            session_id, owner, created_at, updated_at, ledgers[session_id], event_count, finalized_at
        )
        for session_id, owner, created_at, updated_at, event_count, finalized_at in rows
    ]


# -- events, state, VAD, idempotent answers


def append_events(
    connection: apsw.Connection,
    session_id: str,
    events: Sequence[NewEvent],
    at: int,
    state: SessionState | None,
    vad: Mapping[str, VadPosition],
    answer: IdempotentAnswer | None,
    heard: Sequence[Utterance] = (),
    written: Sequence[Utterance] = (),
) -> list[Event]:
    """See `Catalog.append_events`."""
    ensure_session(connection, session_id, at)
    if written and not _take_out(connection, session_id, written):
        return []
    last: Any = connection.execute("SELECT event_count FROM sessions WHERE session_id = ?", (session_id,)).get
    numbered = [Event(n, e.ts, e.type, e.body, e.stream) for n, e in enumerate(events, start=last + 1)]
    connection.executemany(
        "INSERT INTO events (session_id, seq_no, ts, type, stream, body) VALUES (?, ?, ?, ?, ?, ?)",
        [(session_id, e.seq_no, e.ts, e.type, e.stream, to_json(e.body)) for e in numbered],
    )
    if numbered:
        connection.execute(
            "UPDATE sessions SET event_count = ? WHERE session_id = ?", (numbered[-1].seq_no, session_id)
        )
    if state is not None:
        connection.execute(
            "UPDATE sessions SET state = ? WHERE session_id = ?", (state_to_json(state), session_id)
        )
    for stream, position in vad.items():
        ensure_stream(connection, session_id, stream)
        connection.execute(
            "UPDATE streams SET vad_sample = ?, vad_tracker = ? WHERE session_id = ? AND stream = ?",
            (position.sample, to_json(position.tracker), session_id, stream),
        )
    if answer is not None:
        _keep_answer(connection, session_id, answer)
    connection.executemany(
        "INSERT INTO untranscribed (session_id, stream, utterance, start_sample, end_sample, resolve) "
        "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (session_id, stream, utterance) DO NOTHING",
        [(session_id, u.stream, u.number, u.start_sample, u.end_sample, int(u.resolve)) for u in heard],
    )
    touch(connection, session_id, at)
    return numbered


def _take_out(connection: apsw.Connection, session_id: str, written: Sequence[Utterance]) -> int:
    """How many of these waited."""
    count = 0
    for utterance in written:
        connection.execute(
            "DELETE FROM untranscribed WHERE session_id = ? AND stream = ? AND utterance = ?",
            (session_id, utterance.stream, utterance.number),
        )
        count += connection.changes()
    return count


def untranscribed(
    connection: apsw.Connection, limit: int, after: tuple[str, Utterance] | None
) -> list[tuple[str, Utterance]]:
    """See `Catalog.untranscribed`."""
    behind = "" if after is None else "AND (u.session_id, u.stream, u.utterance) > (?, ?, ?)"
    found: Any = connection.execute(
        "SELECT u.session_id, u.stream, u.utterance, u.start_sample, u.end_sample, u.resolve "  # noqa: S608  # constants
        "FROM untranscribed u "
        f"JOIN sessions s ON s.session_id = u.session_id WHERE s.deleted_at IS NULL {behind} "
        "ORDER BY u.session_id, u.stream, u.utterance LIMIT ?",
        (*(() if after is None else (after[0], after[1].stream, after[1].number)), limit),
    )
    return [
        (session_id, Utterance(stream, number, start, end, resolve=bool(resolve)))
        for session_id, stream, number, start, end, resolve in found
    ]


def count_untranscribed(connection: apsw.Connection, session_id: str, stream: str | None) -> int:
    """See `Catalog.count_untranscribed`."""
    count: Any = connection.execute(
        "SELECT count(*) FROM untranscribed WHERE session_id = ?1 AND (?2 IS NULL OR stream = ?2)",
        (session_id, stream),
    ).get
    return int(count)


def _keep_answer(connection: apsw.Connection, session_id: str, answer: IdempotentAnswer) -> None:
    connection.execute(
        "INSERT INTO idempotency (session_id, idempotency_key, body_digest, answer, created_at) "
        "VALUES (?, ?, ?, ?, ?) ON CONFLICT (session_id, idempotency_key) DO UPDATE SET "
        "body_digest = excluded.body_digest, answer = excluded.answer, created_at = excluded.created_at",
        (session_id, answer.key, answer.body_digest, answer.answer, answer.created_at),
    )


def events(
    connection: apsw.Connection, session_id: str, after: int, limit: int, types: Sequence[str] | None
) -> list[Event]:
    """See `Catalog.events`."""
    if types is not None and not types:
        return []
    of_types = "" if types is None else f"AND type IN ({', '.join('?' * len(types))})"
    found: Any = connection.execute(
        "SELECT seq_no, ts, type, stream, body FROM events "  # noqa: S608  # constants and marks
        f"WHERE session_id = ? AND seq_no > ? {of_types} ORDER BY seq_no LIMIT ?",
        (session_id, after, *(types or ()), limit),
    )
    return [Event(n, ts, type_, from_json(body), stream) for n, ts, type_, stream, body in found]


def idempotent_answer(
    connection: apsw.Connection, session_id: str, key: str, not_before: int
) -> IdempotentAnswer | None:
    """See `Catalog.idempotent_answer`."""
    row: Any = connection.execute(
        "SELECT body_digest, answer, created_at FROM idempotency "
        "WHERE session_id = ? AND idempotency_key = ? AND created_at >= ?",
        (session_id, key, not_before),
    ).fetchone()
    return None if row is None else IdempotentAnswer(key, *row)


def forget_idempotent_answers(connection: apsw.Connection, before: int) -> int:
    """See `Catalog.forget_idempotent_answers`."""
    connection.execute("DELETE FROM idempotency WHERE created_at < ?", (before,))
    return connection.changes()


# -- finalize and delete


def record_finalized(connection: apsw.Connection, session_id: str, result: FinalizedResult) -> None:
    """See `Catalog.record_finalized`."""
    ensure_session(connection, session_id, result.finalized_at)
    connection.execute(
        "UPDATE sessions SET finalized_at = ?, result_key = ?, fingerprint = ?, answer = ?, "
        "lines_missing = ? WHERE session_id = ?",
        (
            result.finalized_at,
            result.result_key,
            result.fingerprint,
            to_json(result.answer),
            result.lines_missing,
            session_id,
        ),
    )
    touch(connection, session_id, result.finalized_at)


def results_to_renew(connection: apsw.Connection, limit: int, after: str) -> list[str]:
    """See `Catalog.results_to_renew`."""
    found: Any = connection.execute(
        "SELECT session_id FROM sessions s WHERE lines_missing > 0 AND session_id > ? AND deleted_at IS NULL "
        "AND NOT EXISTS (SELECT 1 FROM untranscribed u WHERE u.session_id = s.session_id) "
        "ORDER BY session_id LIMIT ?",
        (after, limit),
    )
    return [session_id for (session_id,) in found]


def mark_deleted(connection: apsw.Connection, session_id: str, at: int) -> None:
    """See `Catalog.mark_deleted`."""
    connection.execute(
        "INSERT INTO sessions (session_id, epoch, created_at, updated_at, state, deleted_at) "
        "VALUES (?, 0, ?, ?, ?, ?) ON CONFLICT (session_id) DO UPDATE SET "
        "deleted_at = coalesce(sessions.deleted_at, excluded.deleted_at)",
        (session_id, at, at, EMPTY_STATE, at),
    )


def deletions_under_way(connection: apsw.Connection) -> list[str]:
    """See `Catalog.deletions_under_way`."""
    found: Any = connection.execute(
        "SELECT session_id FROM sessions WHERE deleted_at IS NOT NULL AND purged_at IS NULL "
        "ORDER BY session_id"
    )
    return [session_id for (session_id,) in found]


def purge_session(connection: apsw.Connection, session_id: str) -> None:
    """See `Catalog.purge_session`."""
    connection.execute(
        "UPDATE sessions SET purged_at = deleted_at, state = ?, event_count = 0, finalized_at = NULL, "
        "result_key = NULL, fingerprint = NULL, answer = NULL, lines_missing = 0 "
        "WHERE session_id = ? AND deleted_at IS NOT NULL",
        (EMPTY_STATE, session_id),
    )
    if not connection.changes():
        return
    for table in (
        "untranscribed",
        "idempotency",
        "events",
        "identities",
        "objects",
        "streams",
    ):  # children before parents
        connection.execute(f"DELETE FROM {table} WHERE session_id = ?", (session_id,))  # noqa: S608  # constants
