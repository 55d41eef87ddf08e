"""A session as a reader sees it, live or not, without opening it: no epoch is raised, nothing is written."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import attrs

from interview_edge.catalog.protocol import SessionSummary
from interview_edge.core.ledger import Ledger
from interview_edge.core.models import (
    DEFAULT_STREAM,
    TRUSTED,
    Caller,
    IngestStatus,
    LedgerSnapshot,
    SessionState,
)
from interview_edge.errors import SESSION_DELETED, SESSION_NOT_FOUND, STREAM_NOT_FOUND, EdgeError
from interview_edge.sessions.ingest_summary import sum_statuses
from interview_edge.sessions.loading import JournalledPart, ledger_of, read_session
from interview_edge.sessions.node_parts import NodeParts
from interview_edge.sessions.registry import Registry
from interview_edge.sessions.session import Session


@attrs.frozen
class SessionView:
    """One session at one moment. Times are epoch ms; `live`: a socket is open."""

    session_id: str
    created_at: int
    updated_at: int
    state: SessionState
    event_count: int
    streams: Mapping[str, LedgerSnapshot]
    finalized_at: int | None = None
    result_key: str | None = None
    live: bool = False

    def statuses(self) -> dict[str, IngestStatus]:
        """The status of each stream, by name."""
        return {
            name: Ledger(ledger).status(self.session_id, self.created_at)
            for name, ledger in sorted(self.streams.items())
        }

    def main_status(self) -> IngestStatus | None:
        """The `ingest` of the session: its `mixed` stream's, else the sum; None without streams."""
        return self.statuses().get(DEFAULT_STREAM) or self.total_status()

    def total_status(self) -> IngestStatus | None:
        """The sum over every stream; None without streams."""
        return sum_statuses(self.session_id, self.statuses().values())

    def heard(self, stream: str) -> LedgerSnapshot:
        """The ledger of a stream that holds a second. Raises EdgeError(stream_not_found) that names those."""
        heard = {name: ledger for name, ledger in self.streams.items() if ledger.held}
        if stream not in heard:
            raise EdgeError(STREAM_NOT_FOUND, fields={"streams": sorted(heard)})
        return heard[stream]


async def view_session(
    session_id: str, registry: Registry, parts: NodeParts, caller: Caller = TRUSTED
) -> SessionView | None:
    """The session from memory where it is open here, else from catalog and journal; None for one never seen.

    Raises EdgeError: session_not_found for one that the caller may not see, decided by the very record that
    is shown; session_deleted. CatalogUnavailable, JournalError. The caller sets the deadline.
    """
    session = registry.live(session_id)
    if session is not None and not session.closing:
        if not caller.may_see(session.owner):
            raise EdgeError(SESSION_NOT_FOUND)
        return _view_open(session)
    record, journalled = await read_session(
        session_id, parts, partial(parts.catalog.load_session, session_id)
    )
    if record is None:
        # Opening writes the catalog's row before the first append, so the journal can't know more.
        return None
    if not caller.may_see(record.owner):
        raise EdgeError(SESSION_NOT_FOUND)
    if record.deleted_at is not None:
        raise EdgeError(SESSION_DELETED)
    ledgers = {}
    updated_at = record.updated_at
    for name in {*record.streams, *journalled}:
        known = record.streams.get(name)
        part = journalled.get(name, JournalledPart())
        ledger = ledger_of(known.ledger if known else None, part, parts.settings.ack)
        ledgers[name] = ledger.snapshot()
        updated_at = max(updated_at, ledger.updated_at or 0)
    return SessionView(
        session_id,
        record.created_at,
        updated_at,
        record.state,
        record.event_count,
        ledgers,
        record.finalized.finalized_at if record.finalized else None,
        record.finalized.result_key if record.finalized else None,
    )


def _view_open(session: Session) -> SessionView:
    return SessionView(
        session.session_id,
        session.created_at,
        session.updated_at,
        session.state,
        session.event_count,
        {name: stream.ledger.snapshot() for name, stream in session.streams.items()},
        session.finalized.finalized_at if session.finalized else None,
        session.finalized.result_key if session.finalized else None,
        live=session.sockets > 0,
    )


async def view_summary(summary: SessionSummary, registry: Registry, parts: NodeParts) -> SessionView | None:
    """The view of a listed session, None where it was deleted since; its catalog row alone serves where the
    journal holds nothing of it.
    """
    open_here = registry.live(summary.session_id) is not None
    if open_here or await parts.journal.repeats(summary.session_id):
        try:
            return await view_session(summary.session_id, registry, parts)
        except EdgeError:  # session_deleted, the only kind that view_session raises
            return None
    return SessionView(
        summary.session_id,
        summary.created_at,
        summary.updated_at,
        SessionState(),
        summary.event_count,
        summary.streams,
        summary.finalized_at,
    )
