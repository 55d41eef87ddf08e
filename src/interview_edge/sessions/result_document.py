"""result.json: what a finalized session's record says, and what it is judged by. Pure; hours of audio make
megabytes of it, so it is composed and encoded in a thread (finalizer.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import msgspec

from interview_edge.catalog.protocol import SessionRecord
from interview_edge.core.ledger import MAX_MISSING_LISTED, Ledger
from interview_edge.core.models import DEFAULT_STREAM, Event, Extent
from interview_edge.core.pcm import SAMPLE_BYTES, SAMPLE_RATE
from interview_edge.core.state_json import state_to_json
from interview_edge.core.times import iso_from_ms
from interview_edge.core.transcripts import lines_of
from interview_edge.sessions.ingest_summary import sum_statuses


@attrs.frozen
class ResultSource:
    """What a result is made from. `ends` are the stated ends by stream, `duplicates` counts repeats,
    `untranscribed` the utterances that were heard and aren't written yet.
    """

    record: SessionRecord
    ends: Mapping[str, int]
    duplicates: Mapping[str, int]
    metadata: Mapping[str, Any]
    extents: Mapping[str, Sequence[Extent]]
    events: Sequence[Event]
    untranscribed: int = 0


@attrs.frozen
class ResultDocument:
    """`encoded` is result.json; `answer` what the caller of finalize is told of it.

    `fingerprint` is the SHA-256 of everything that the result says besides its own time: an equal one need
    not be
    written again. Duplicates and times of repeats don't change what was recorded, so they are left out.
    `cut` names
    the streams whose list of missing ranges was cut.
    """

    encoded: bytes
    answer: Mapping[str, Any]
    fingerprint: str
    cut: Sequence[str]


def compose(source: ResultSource, key: str, finalized_at: int) -> ResultDocument:
    """The document that `key` is to hold. `finalized_at` is epoch ms."""
    session_id = source.record.session_id
    content = _content(source)
    streams = content["streams"]
    head = {"session_id": session_id, "finalized_at": iso_from_ms(finalized_at)}
    cut = [name for name, stream in streams.items() if "missing_truncated" in stream]
    answer = {
        "session_id": session_id,
        "result_key": key,
        "event_count": len(source.events),
        "finalized_at": head["finalized_at"],
        "complete": content["complete"],
        "missing": content["missing"],
        "missing_by_stream": {name: stream["missing"] for name, stream in streams.items()},
    } | ({"missing_truncated": True} if cut else {})
    return ResultDocument(msgspec.json.encode(head | content), answer, _fingerprint(content), cut)


def _content(source: ResultSource) -> dict[str, Any]:
    record = source.record
    streams, statuses = {}, {}
    for name in sorted({*record.streams, *source.ends}):
        known = record.streams.get(name)
        ledger = Ledger(known.ledger if known else None)
        ledger.duplicates = max(ledger.duplicates, source.duplicates.get(name, 0))
        statuses[name] = ledger.status(record.session_id, record.created_at)
        streams[name] = _describe_stream(ledger, source.ends.get(name, 0)) | {
            "ingest": attrs.asdict(statuses[name])
        }
    main = statuses.get(DEFAULT_STREAM) or sum_statuses(record.session_id, statuses.values())
    listed = streams.get(DEFAULT_STREAM, {"missing": []})
    return {
        "state": state_to_json(record.state),
        "events": [event.to_wire() for event in source.events],
        "ingest": None if main is None else attrs.asdict(main),
        "metadata": source.metadata,
        "complete": all(stream["missing_seconds"] == 0 for stream in streams.values()),
        **{name: listed[name] for name in ("missing", "missing_truncated") if name in listed},
        "streams": streams,
        "transcript": [line.to_wire() for line in lines_of(source.events, record.state.bindings)],
        "transcript_waiting": source.untranscribed,
        "audio": [_manifest_row(name, extent) for name in streams for extent in source.extents.get(name, ())],
        "ends": source.ends,
    }


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


def _fingerprint(content: Mapping[str, Any]) -> str:
    streams = {name: {k: v for k, v in s.items() if k != "ingest"} for name, s in content["streams"].items()}
    judged = {k: v for k, v in content.items() if k not in {"ingest", "streams"}} | {"streams": streams}
    return hashlib.sha256(msgspec.json.encode(judged, order="deterministic")).hexdigest()
