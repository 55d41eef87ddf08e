"""A session as catalog and journal know it together: for opening it, and for reads that don't open it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

import attrs

from interview_edge.catalog.protocol import SessionRecord
from interview_edge.core.ledger import Ledger
from interview_edge.core.models import AckLevel, Event, LedgerSnapshot, StreamKey
from interview_edge.journal import JournalRow
from interview_edge.sessions.node_parts import NodeParts

REREADINGS = 3  # of a session that the archive is moving meanwhile
ROWS_A_READ = 4_096
EVENTS_A_READ = 1_000

R = TypeVar("R")


@attrs.frozen
class JournalledPart:
    """What the journal holds of one stream; `repeats` are those that the catalog doesn't count yet."""

    rows: Sequence[JournalRow] = ()
    repeats: int = 0


async def read_session(
    session_id: str, parts: NodeParts, read_record: Callable[[], Awaitable[R]]
) -> tuple[R, dict[str, JournalledPart]]:
    """The catalog's record, by `read_record`, and the session's streams in the journal.

    The journal is read before and after the catalog: the archive may move rows (and the count of repeats)
    from one to the other meanwhile, and a row is in at least one of them at every moment.
    """
    for _ in range(REREADINGS):
        before = await parts.journal.repeats(session_id)
        rows = {name: await _rows(StreamKey(session_id, name), parts) for name in before}
        record = await read_record()
        after = await parts.journal.repeats(session_id)
        # A stream without repeats may have left: its rows are in the record then.
        if all(after.get(name, 0) == count for name, count in before.items()):
            break
    return record, {name: JournalledPart(rows[name], before[name]) for name in before}


async def _rows(key: StreamKey, parts: NodeParts) -> Sequence[JournalRow]:
    rows: list[JournalRow] = []
    while page := await parts.journal.rows(key, rows[-1].seq + 1 if rows else 1, limit=ROWS_A_READ):
        rows += page
    return rows


def ledger_of(known: LedgerSnapshot | None, part: JournalledPart, level: AckLevel) -> Ledger:
    """The ledger of both. What is only journalled counts unless the node promises the backend."""
    ledger = Ledger(known)
    # A row that the catalog holds too only waits for its trim: the commit before it counted the repeats.
    if not any(row.seq in ledger.held for row in part.rows):
        ledger.duplicates += part.repeats
    if level is not AckLevel.BACKEND:
        for row in part.rows:
            if row.seq not in ledger.held:
                ledger.admit(row.seq, row.length, final=row.final, at=row.at)
    return ledger


class DoubtfulSession(Protocol):
    """What is asked of a session whose catalog knows more than it does."""

    session_id: str

    @property
    def told_up_to(self) -> int: ...

    def published(self, events: Sequence[Event]) -> None: ...


async def reread(session: DoubtfulSession, parts: NodeParts) -> SessionRecord:
    """The catalog's record after a write of this session was cut off, so that nobody heard how it ended. Who
    listens is told of its events.

    Raises CatalogUnavailable, SessionIsDeleted.
    """
    # An empty write waits its turn behind the one in doubt; a read might pass it.
    await parts.catalog.append_events(session.session_id, [], at=parts.wall_ms())
    record = await parts.catalog.load_session(session.session_id)
    if record is None:
        raise RuntimeError("an open session has its row: open_session made it")
    # From the first that is untold: others commit events too, and may have told theirs meanwhile.
    after = session.told_up_to
    while missed := await parts.catalog.events(session.session_id, after=after, limit=EVENTS_A_READ):
        session.published(missed)
        after = max(missed[-1].seq_no, session.told_up_to)
    return record
