"""Pages of other origins (CORS): which may call the API, and what browsers are told of it.

An origin is on the list, letter by letter, or it isn't; no answer ever says `*`. A request of a foreign
origin is served without these headers, and its browser keeps the answer from the page. Clients that are no
browsers send no `Origin`, and see none of this.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_METHOD_ASKED = b"access-control-request-method"
_REQUEST_HEADERS = (
    "authorization, x-api-key, content-type, x-csrf-token, x-idempotency-key, range, x-request-id"
)
_EXPOSED = (
    "RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After, ETag, x-missing-seconds, "
    "x-expired-seconds, x-transcript-waiting, "
    "content-range, x-request-id, x-idempotent-replay"
)
_MAX_AGE = "600"  # seconds: how long an origin that was struck off may still send what it may not read


class Cors:
    """The allow-list of one node."""

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = frozenset(origins)

    def headers(self, scope: Mapping[str, Any]) -> Mapping[str, str]:
        """What an answer says to the page that asked; nothing where no page did."""
        origin = _header(scope, b"origin")
        if origin is None or not self._origins:
            return {}
        if origin not in self._origins:
            return {"vary": "Origin"}
        return {
            "vary": "Origin",
            "access-control-allow-origin": origin,
            "access-control-allow-credentials": "true",
            "access-control-expose-headers": _EXPOSED,
        }

    def is_preflight(self, scope: Mapping[str, Any]) -> bool:
        """Whether a browser asks if a page of a listed origin may send a request: it shows no credential."""
        return (
            scope["method"] == "OPTIONS"
            and _header(scope, b"origin") in self._origins
            and _header(scope, _METHOD_ASKED) is not None
        )


def preflight_headers(methods: Sequence[str]) -> dict[str, str]:
    """What a preflight is answered beside `Cors.headers`."""
    return {
        "access-control-allow-methods": ", ".join(methods),
        "access-control-allow-headers": _REQUEST_HEADERS,
        "access-control-max-age": _MAX_AGE,
    }


def _header(scope: Mapping[str, Any], wanted: bytes) -> str | None:
    """The header's value; None where it is missing or stands more than once."""
    found = [value for name, value in scope["headers"] if name.lower() == wanted]
    return found[0].decode("latin-1") if len(found) == 1 else None
