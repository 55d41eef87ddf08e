"""JSON schemas of what the routes of keys, logins, usage, audit and realtime tokens take and give."""

from __future__ import annotations

from collections.abc import Mapping

from interview_edge.access.principal import Scope, Via
from interview_edge.catalog.access import UsageKind
from interview_edge.web.schemas import (
    ANYTHING,
    BOOLEAN,
    COUNT,
    NUMBER,
    TEXT,
    TIME,
    Schema,
    closed,
    listing,
    nullable,
    record,
    ref,
    whole,
)

SCOPES: Schema = {"type": "array", "items": {"enum": [scope.value for scope in Scope]}}
AMOUNTS: Schema = {
    "type": "object",
    "properties": {kind.value: whole(0) for kind in UsageKind},
    "additionalProperties": False,
}
_WHO: Mapping[str, Schema] = {
    "user": TEXT,
    "scopes": SCOPES,
    "via": {"enum": [via.value for via in Via]},
    "key_id": nullable(TEXT),
    "expires_at": nullable(TIME),
}
_KEY: Mapping[str, Schema] = {
    "key_id": TEXT,
    "name": TEXT,
    "owner": TEXT,
    "scopes": SCOPES,
    "quotas": AMOUNTS,
    "created_at": TIME,
    "expires_at": nullable(TIME),
    "revoked_at": nullable(TIME),
    "last_used_at": nullable(TIME),
}

_USED: Mapping[str, Schema] = {
    "chunks": COUNT,
    "audio_seconds": {**NUMBER, "minimum": 0},
    "stored_bytes": COUNT,
    "realtime_tokens": COUNT,
}
_DAY: Schema = {"type": "string", "format": "date"}


ACCESS_SCHEMAS: Mapping[str, Schema] = {
    "LoginRequest": closed(record({"key": TEXT})),
    "Login": record({**_WHO, "csrf_token": TEXT}),
    "Me": record(_WHO, {"csrf_token": TEXT}),
    "Done": record({"done": BOOLEAN}),
    "Ticket": record({"ticket": TEXT, "expires_in": COUNT}),
    "Key": record(_KEY),
    "NewKey": record({**_KEY, "key": TEXT}),
    "KeyList": record({"items": listing(ref("Key"))}),
    "KeyRequest": closed(
        record(
            {
                "name": {"type": "string", "minLength": 1, "maxLength": 100},
                "scopes": {**SCOPES, "minItems": 1},
            },
            {
                "owner": {"type": "string", "minLength": 1, "maxLength": 256, "default": "local"},
                "expires_in_days": {"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": 3650},
                "quotas": AMOUNTS,
            },
        )
    ),
    "Audit": record(
        {
            "items": listing(
                record(
                    {
                        "number": COUNT,
                        "at": TIME,
                        "action": TEXT,
                        "outcome": TEXT,
                        "detail": ANYTHING,
                        **dict.fromkeys(
                            ("owner", "key_id", "target", "address", "request_id"), nullable(TEXT)
                        ),
                    }
                )
            ),
            "next": nullable(COUNT),
        }
    ),
    "Usage": record(
        {
            "from": _DAY,
            "to": _DAY,
            "user": nullable(TEXT),
            "totals": record(_USED),
            "days": listing(record({"day": _DAY, "user": TEXT, "key_id": nullable(TEXT), **_USED})),
            "quotas": listing(
                record(
                    {
                        "key_id": nullable(TEXT),
                        "what": {"enum": list(_USED)},
                        "used": NUMBER,
                        "limit": NUMBER,
                        "resets_at": TIME,
                    }
                )
            ),
        }
    ),
    "RealtimeToken": record({"token": TEXT, "model": TEXT, "expires_at": COUNT, "expires_at_iso": TIME}),
    "ClientSecret": record({"value": TEXT, "expires_at": COUNT, "session": ANYTHING}),
    "ApiError": record({"success": {"const": False}, "error": TEXT, "code": TEXT}),
    "OpenAiError": record({"error": record({"message": TEXT, "type": TEXT, "code": TEXT})}),
}
