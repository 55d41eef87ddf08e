"""Finalize: everything accepted is stored, then result.json is written, last (invariant 7; contract
ingest.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import attrs
import trio

from interview_edge.catalog.protocol import FinalizedResult, SessionRecord
from interview_edge.core.keys import result_key
from interview_edge.core.ledger import MAX_SEQ_AHEAD
from interview_edge.core.models import Event, StreamKey
from interview_edge.errors import FINALIZE_TIMEOUT, SEQ_TOO_FAR, SESSION_DELETED, EdgeError
from interview_edge.sessions.node_parts import NodeParts
from interview_edge.sessions.result_document import ResultDocument, ResultSource, compose
from interview_edge.sessions.session import Session

EVENTS_A_READ = 1_000


@attrs.frozen
class FinalizeRequest:
    """`ends` are the clients' words on each stream's last seq: they may add missing seconds, never hide any.

    `metadata` None keeps what an earlier finalize was given.
    """

    metadata: Mapping[str, Any] | None = None
    ends: Mapping[str, int] = attrs.field(factory=dict)


async def finalize(session: Session, request: FinalizeRequest, parts: NodeParts) -> FinalizedResult:
    """Store what was accepted before this call, write result.json and record it; or answer as before.

    Raises EdgeError(finalize_timeout), with nothing written, where the backend or the catalog does not have
    it all within `finalize_timeout`; EdgeError(seq_too_far) for an end over a day ahead, as for a chunk.
    Cancelled anywhere it may simply be called again.
    """
    try:
        with trio.fail_after(parts.settings.finalize_timeout):
            await session.settle()  # which lines there will be
            await _await_lines(session, parts)
            async with session.state_lane():
                return await _finalize(session, request, parts)
    except trio.TooSlowError as error:
        raise EdgeError(FINALIZE_TIMEOUT, retry_after=parts.settings.retry_max) from error


async def _finalize(session: Session, request: FinalizeRequest, parts: NodeParts) -> FinalizedResult:
    await session.settle()  # what came while lines were waited for
    _check_ends(session, request.ends)
    await parts.archive.flush(session.session_id)
    record = await parts.catalog.load_session(session.session_id)
    if record is None:
        raise RuntimeError("an open session has its row: open_session made it")
    if record.deleted_at is not None:
        raise EdgeError(SESSION_DELETED)
    # Counted before the events are read: what comes between the two is counted though it is there, which
    # costs a renewal and no line.
    names_missing = session.names.count
    waiting = await parts.catalog.count_untranscribed(session.session_id) + session.lines.count
    source = await _gather(session, record, request, waiting, parts)
    key, finalized_at = result_key(session.session_id), parts.wall_ms()
    document = await trio.to_thread.run_sync(partial(compose, source, key, finalized_at))
    lines_missing = waiting + names_missing
    if record.finalized is not None and record.finalized.fingerprint == document.fingerprint:
        if record.finalized.lines_missing == lines_missing:
            return record.finalized
        result = attrs.evolve(record.finalized, lines_missing=lines_missing)
    else:
        await _doubt(session, record, parts)
        await parts.backend.put(key, document.encoded, content_type="application/json")
        kept = _kept(source, document)
        result = FinalizedResult(finalized_at, key, document.fingerprint, kept, lines_missing)
    await parts.catalog.record_finalized(session.session_id, result)
    session.finalized = result
    return result


async def _doubt(session: Session, record: SessionRecord, parts: NodeParts) -> None:
    """Let no finalize answer "as before" until this one is recorded: if it fails after the put, the object is
    not what the catalog says.
    """
    if record.finalized is not None:
        in_doubt = attrs.evolve(record.finalized, fingerprint="")
        await parts.catalog.record_finalized(session.session_id, in_doubt)


async def _await_lines(session: Session, parts: NodeParts) -> None:
    """Before the state lane is taken, which resolves need. What is late isn't waited for: once it is there
    the result is written anew (after_transcription.py).
    """
    patience = min(parts.settings.transcription_wait, parts.settings.finalize_timeout / 2)
    with trio.move_on_after(patience):
        if parts.desk is not None:
            await parts.desk.written(session.session_id)
        await session.lines.wait()
        await session.names.wait()


def _check_ends(session: Session, ends: Mapping[str, int]) -> None:
    """A typo must not make a day of missing seconds, which no later finalize could take back."""
    for name, end in ends.items():
        stream = session.streams.get(name)
        if end > (0 if stream is None else stream.ledger.last_seq) + MAX_SEQ_AHEAD:
            raise EdgeError(SEQ_TOO_FAR, f"frame.last_seq must be at most {MAX_SEQ_AHEAD} ahead of last_seq")


def _kept(source: ResultSource, document: ResultDocument) -> dict[str, Any]:
    """What the catalog keeps beside the result: its answer, and what the next finalize starts from."""
    return {
        "answer": document.answer,
        "metadata": source.metadata,
        "ends": source.ends,
        "cut": document.cut,
    }


async def _gather(
    session: Session, record: SessionRecord, request: FinalizeRequest, waiting: int, parts: NodeParts
) -> ResultSource:
    """Only the catalog is asked, so that the result names nothing that isn't stored; but the counts of
    repeats are the session's, since the last ones wait in the journal.
    """
    before: Mapping[str, Any] = record.finalized.answer if record.finalized else {}
    return ResultSource(
        record=record,
        ends=_latest_ends(before.get("ends", {}), request.ends),
        duplicates={name: stream.ledger.duplicates for name, stream in session.streams.items()},
        metadata=before.get("metadata", {}) if request.metadata is None else dict(request.metadata),
        extents={
            name: await parts.catalog.extents(StreamKey(record.session_id, name)) for name in record.streams
        },
        events=await _all_events(record.session_id, parts),
        untranscribed=waiting,
    )


def _latest_ends(before: Mapping[str, int], now: Mapping[str, int]) -> dict[str, int]:
    return {name: max(before.get(name, 0), now.get(name, 0)) for name in {*before, *now}}


async def _all_events(session_id: str, parts: NodeParts) -> Sequence[Event]:
    events: list[Event] = []
    while page := await parts.catalog.events(
        session_id, after=events[-1].seq_no if events else 0, limit=EVENTS_A_READ
    ):
        events += page
    return events
