"""JSON schemas of what the HTTP routes take and give, for the OpenAPI document. A test holds answers to
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]

MAX_INTEGER = 2**53 - 1  # what every JSON reader holds exactly

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
STREAM: Schema = {"type": "string", "pattern": "^[a-z0-9_-]{1,32}$"}
NUMBER: Schema = {"type": "number"}
BOOLEAN: Schema = {"type": "boolean"}
TIME: Schema = {"type": "string", "format": "date-time"}
ANYTHING: Schema = {"type": "object"}
RANGE: Schema = {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}
RANGES: Schema = {"type": "array", "items": RANGE, "description": "Ranges of seqs, both ends included."}


def ref(name: str) -> Schema:
    """A schema of SCHEMAS, by reference."""
    return {"$ref": f"#/components/schemas/{name}"}


def record(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """An object with these fields."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
    }


def closed(schema: Schema) -> Schema:
    """`schema` without fields that it doesn't name: a body that parse_fields reads."""
    return {**schema, "additionalProperties": False}


def whole(low: int, high: int = MAX_INTEGER) -> Schema:
    """An integer of low..high."""
    return {"type": "integer", "minimum": low, "maximum": high}


def choice(*values: str, default: str) -> Schema:
    """One of a few words, for a parameter that may be left out."""
    return {"type": "string", "enum": list(values), "default": default}


def listing(items: Schema) -> Schema:
    """An array of `items`."""
    return {"type": "array", "items": items}


def nullable(schema: Schema) -> Schema:
    """`schema` or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def by_name(schema: Schema) -> Schema:
    """An object whose every value is `schema`."""
    return {"type": "object", "additionalProperties": schema}


_PERSON = record({"name": TEXT}, {"email": TEXT})
_POSITIVE: Schema = {"type": ["integer", "null"], "minimum": 1}
_AUDIO: Schema = {
    **record(
        {
            "content_b64": {"type": "string", "minLength": 1},
            "format": {"enum": ["wav", "pcm_s16le", "mp3", "m4a", "ogg", "flac"]},
        },
        {"sample_rate": _POSITIVE, "channels": _POSITIVE},
    ),
    "not": {"required": ["last_ms"]},  # with that it is the other kind
}

SCHEMAS: Mapping[str, Schema] = {
    "Error": record({"detail": TEXT, "code": TEXT}, {"field": TEXT, "seq": COUNT, "error": ANYTHING}),
    "IngestStatus": record(
        {
            "session_id": TEXT,
            "meeting_id": TEXT,
            "last_seq": COUNT,
            "received_chunks": COUNT,
            "duplicate_chunks": COUNT,
            "missing_chunks": COUNT,
            "bytes_stored": COUNT,
            "started_at": TIME,
            "updated_at": TIME,
            "missing": RANGES,
            "missing_truncated": BOOLEAN,
        }
    ),
    "Cluster": record(
        {
            "cluster_id": TEXT,
            "centroid": listing(NUMBER),
            "sample_count": COUNT,
            "bound_name": nullable(TEXT),
        }
    ),
    "SessionState": record(
        {"clusters": listing(ref("Cluster")), "bindings": by_name(TEXT), "config": by_name({})},
        {"roster": listing(_PERSON)},
    ),
    "State": record(
        {
            "session_id": TEXT,
            "state": ref("SessionState"),
            "event_count": COUNT,
            "updated_at": nullable(TIME),
            "ingest": nullable(ref("IngestStatus")),
            "ingest_by_stream": by_name(ref("IngestStatus")),
        }
    ),
    "SessionSummary": record(
        {
            "session_id": TEXT,
            "started_at": TIME,
            "last_activity_at": TIME,
            "status": {"enum": ["live", "closed"]},
            "seconds": NUMBER,
            "missing": COUNT,
            "finalized": BOOLEAN,
            "finalized_at": nullable(TIME),
        }
    ),
    "SessionList": record({"items": listing(ref("SessionSummary")), "next": nullable(TEXT)}),
    "Event": record({"seq_no": COUNT, "ts": TIME, "type": TEXT}, {"stream": TEXT}),
    "EventList": record({"items": listing(ref("Event")), "next": nullable(COUNT)}),
    "ResolveRequest": record(
        {"audio": {"oneOf": [_AUDIO, record({"last_ms": whole(1, 600_000)}, {"stream": STREAM})]}},
        {"asr_text": nullable(TEXT), "roster": nullable(listing(_PERSON))},
    ),
    "ResolveAnswer": record(
        {
            "cluster_id": TEXT,
            "speaker_name": nullable(TEXT),
            "decision": {"enum": ["auto", "confirm", "unknown"]},
            "evidence": ANYTHING,
            "updated_state": ref("SessionState"),
        },
        {"session_id": TEXT},
    ),
    "FinalizeRequest": record({}, {"metadata": nullable(ANYTHING)}),
    "Finalized": record(
        {
            "session_id": TEXT,
            "result_key": TEXT,
            "event_count": COUNT,
            "finalized_at": TIME,
            "complete": BOOLEAN,
            "missing": RANGES,
            "missing_by_stream": by_name(RANGES),
        },
        {"missing_truncated": BOOLEAN},
    ),
    "TranscriptLine": record(
        {
            "stream": STREAM,
            "utterance": whole(1),
            "start_ms": COUNT,
            "end_ms": COUNT,
            "text": TEXT,
            "language": nullable(TEXT),
            "speaker": nullable(TEXT),
        }
    ),
    "Transcript": record({"session_id": TEXT, "lines": listing(ref("TranscriptLine")), "waiting": COUNT}),
    "Deleted": record({"session_id": TEXT, "deleted": BOOLEAN}),
    "Status": record({"status": TEXT}, {"check": TEXT}),
    "ServiceHealth": record({"service": TEXT, "status": TEXT, "timestamp": TIME}),
    "Check": record({"status": {"enum": ["ok", "warn", "error"]}}, {"value": {}, "detail": TEXT}),
    "Health": record(
        {
            "status": {"enum": ["ok", "degraded", "error"]},
            "app": TEXT,
            "version": TEXT,
        },
        {
            "backend": ANYTHING,
            "catalog": ANYTHING,
            "journal": ANYTHING,
            "sessions": ANYTHING,
            "memory": ANYTHING,
            "uploads": ANYTHING,
            "speakers": ANYTHING,
            "vad": ANYTHING,
            "checks": by_name(ref("Check")),
            "services": by_name({"enum": ["ok", "degraded", "error", "unset", "off"]}),
        },
    ),
}
