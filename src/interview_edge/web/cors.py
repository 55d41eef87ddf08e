"""Cross-origin requests: an exact list of origins, and nothing for anybody else (Fetch standard, 3.2).

A request without `Origin` is no business of this module: programs, and pages of the same site, send none.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

ALLOWED_HEADERS = (
    "authorization, content-type, range, if-range, x-api-key, x-csrf-token, x-idempotency-key, x-request-id"
)
EXPOSED_HEADERS = (
    "content-range, etag, location, ratelimit-limit, ratelimit-remaining, ratelimit-reset, retry-after, "
    "x-idempotent-replay, x-missing-seconds, x-request-id"
)
MAX_AGE = 600  # seconds that a browser may remember a preflight


def origin_of(scope: Mapping[str, Any]) -> str | None:
    """The `Origin` of an ASGI scope."""
    for name, value in scope["headers"]:
        if name.lower() == b"origin":
            return str(value.decode("latin-1"))
    return None


def is_preflight(scope: Mapping[str, Any]) -> bool:
    """Whether this is a browser's question, asked without credentials, before the request itself."""
    names = {name.lower() for name, _ in scope["headers"]}
    return scope["method"] == "OPTIONS" and {b"origin", b"access-control-request-method"} <= names


def cors_headers(origin: str | None, allowed: Collection[str]) -> dict[str, str]:
    """What an answer says to a browser about who may read it."""
    if not allowed:
        return {}
    varies = {"vary": "Origin"}  # for caches, also where the answer is the same for all but the listed
    if origin not in allowed:
        return varies
    return varies | {
        "access-control-allow-origin": str(origin),
        "access-control-allow-credentials": "true",
        "access-control-expose-headers": EXPOSED_HEADERS,
    }


def preflight_headers(methods: Sequence[str]) -> dict[str, str]:
    """What a preflight of a listed origin is answered, beside `cors_headers`."""
    return {
        "access-control-allow-methods": ", ".join(methods),
        "access-control-allow-headers": ALLOWED_HEADERS,
        "access-control-max-age": str(MAX_AGE),
    }
