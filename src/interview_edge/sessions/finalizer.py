"""Finalize: everything accepted is stored, then result.json is written, last (invariant 7; contract
ingest.md).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import trio

from interview_edge.catalog.protocol import FinalizedResult, SessionRecord
from interview_edge.core.keys import result_key
from interview_edge.core.ledger import MAX_MISSING_LISTED, Ledger
from interview_edge.core.models import DEFAULT_STREAM, Event, Extent, StreamKey
from interview_edge.core.pcm import SAMPLE_BYTES, SAMPLE_RATE
from interview_edge.core.state_json import state_to_json
from interview_edge.core.times import iso_from_ms
from interview_edge.errors import FINALIZE_TIMEOUT, SESSION_DELETED, EdgeError
from interview_edge.sessions.ingest_summary import sum_statuses
from interview_edge.sessions.node_parts import NodeParts
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
    it all
    within `finalize_timeout`. Cancelled anywhere it may simply be called again.
    """
    try:
        with trio.fail_after(parts.settings.finalize_timeout):
            async with session.state_lane():
                return await _finalize(session, request, parts)
    except trio.TooSlowError as error:
        raise EdgeError(FINALIZE_TIMEOUT, retry_after=parts.settings.retry_max) from error


async def _finalize(session: Session, request: FinalizeRequest, parts: NodeParts) -> FinalizedResult:
    await session.settle()
    await parts.archive.flush(session.session_id)
    record = await parts.catalog.load_session(session.session_id)
    if record is None:
        raise RuntimeError("an open session has its row: open_session made it")
    if record.deleted_at is not None:
        raise EdgeError(SESSION_DELETED)
    content = await _gather(session, record, request, parts)
    fingerprint = _fingerprint(content)
    previous = record.finalized
    if previous is not None and previous.fingerprint == fingerprint:
        return previous
    finalized_at = parts.wall_ms()
    key = result_key(session.session_id)
    body = {"session_id": session.session_id, "finalized_at": iso_from_ms(finalized_at)} | content
    encoded = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    await parts.backend.put(key, encoded, content_type="application/json")
    answer = {
        "session_id": session.session_id,
        "result_key": key,
        "event_count": len(content["events"]),
        "finalized_at": body["finalized_at"],
        "complete": content["complete"],
        "missing": content["missing"],
        "missing_by_stream": {name: stream["missing"] for name, stream in content["streams"].items()},
    }
    cut = [name for name, stream in content["streams"].items() if "missing_truncated" in stream]
    if cut:
        answer["missing_truncated"] = True
    kept = {"answer": answer, "metadata": content["metadata"], "ends": content["ends"], "cut": cut}
    result = FinalizedResult(finalized_at, key, fingerprint, kept)
    await parts.catalog.record_finalized(session.session_id, result)
    session.finalized = result
    return result


async def _gather(
    session: Session, record: SessionRecord, request: FinalizeRequest, parts: NodeParts
) -> dict[str, Any]:
    """What result.json says besides its own time. Only the catalog is asked, so that it names nothing that
    isn't stored; but the count of repeats is the session's, since the last ones wait in the journal.
    """
    before: Mapping[str, Any] = record.finalized.answer if record.finalized else {}
    ends = _latest_ends(before.get("ends", {}), request.ends)
    metadata = before.get("metadata", {}) if request.metadata is None else dict(request.metadata)
    streams, audio, statuses = {}, [], {}
    for name in sorted({*record.streams, *ends}):
        key = StreamKey(record.session_id, name)
        stream = record.streams.get(name)
        ledger = Ledger(stream.ledger if stream else None)
        if name in session.streams:
            ledger.duplicates = max(ledger.duplicates, session.streams[name].ledger.duplicates)
        statuses[name] = ledger.status(record.session_id, record.created_at)
        streams[name] = _describe_stream(ledger, ends.get(name, 0)) | {"ingest": attrs.asdict(statuses[name])}
        audio += [_manifest_row(name, extent) for extent in await parts.catalog.extents(key)]
    events = await _all_events(record.session_id, parts)
    main = statuses.get(DEFAULT_STREAM) or sum_statuses(record.session_id, statuses.values())
    listed = streams.get(DEFAULT_STREAM, {"missing": []})
    return {
        "state": state_to_json(record.state),
        "events": [event.to_wire() for event in events],
        "ingest": None if main is None else attrs.asdict(main),
        "metadata": metadata,
        "complete": all(stream["missing_seconds"] == 0 for stream in streams.values()),
        **{name: listed[name] for name in ("missing", "missing_truncated") if name in listed},
        "streams": streams,
        "transcript": [],
        "audio": audio,
        "ends": ends,
    }


def _latest_ends(before: Mapping[str, int], now: Mapping[str, int]) -> dict[str, int]:
    return {name: max(before.get(name, 0), now.get(name, 0)) for name in {*before, *now}}


def _describe_stream(ledger: Ledger, stated_end: int) -> dict[str, Any]:
    end = max(ledger.last_seq, stated_end)
    missing, truncated = ledger.missing(end)
    shown: dict[str, Any] = {
        "seconds": ledger.bytes_held / (SAMPLE_RATE * SAMPLE_BYTES),
        "last_seq": end,
        "missing": [list(r) for r in missing],
        "missing_seconds": end - len(ledger.held),
    }
    if truncated:
        shown["missing_truncated"] = True
        shown["missing_listed"] = MAX_MISSING_LISTED
    return shown


def _manifest_row(stream: str, extent: Extent) -> dict[str, Any]:
    return {
        "stream": stream,
        "key": extent.key,
        "first_seq": extent.first,
        "last_seq": extent.last,
        "seconds": extent.length / (SAMPLE_RATE * SAMPLE_BYTES),
        "format": extent.format,
        "sha256": extent.sha256.hex(),
    } | ({"expired": True} if extent.expired else {})


async def _all_events(session_id: str, parts: NodeParts) -> Sequence[Event]:
    events: list[Event] = []
    while page := await parts.catalog.events(
        session_id, after=events[-1].seq_no if events else 0, limit=EVENTS_A_READ
    ):
        events += page
    return events


def _fingerprint(content: Mapping[str, Any]) -> str:
    """SHA-256 of everything that the result says besides its own time: an equal one need not be written
    again.

    Duplicates and times of repeats don't change what was recorded, so they are left out.
    """
    streams = {name: {k: v for k, v in s.items() if k != "ingest"} for name, s in content["streams"].items()}
    judged = {k: v for k, v in content.items() if k not in {"ingest", "streams"}} | {"streams": streams}
    return hashlib.sha256(json.dumps(judged, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
