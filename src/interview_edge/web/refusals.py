"""Errors as answers: the one place where what was raised below becomes HTTP (contract ingest.md, Error
bodies).

A body's shape goes by the route's family. An access error of the ingest routes has both its family's fields
and OpenAI's `error`, so that a client of either kind can read it.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
import structlog
import trio

from interview_edge.backends.protocol import BackendError
from interview_edge.catalog.protocol import CatalogUnavailable, SessionIsDeleted
from interview_edge.errors import (
    CATALOG_UNAVAILABLE,
    INTERNAL,
    INVALID_KEY,
    MISSING_AUTH,
    RANGE_NOT_SATISFIABLE,
    SESSION_DELETED,
    STORAGE_UNAVAILABLE,
    EdgeError,
    Fault,
)
from interview_edge.journal import JournalError
from interview_edge.web.paths import join_path, split_path

log = structlog.get_logger(__name__)

Send = Callable[[Any], Awaitable[None]]

DEFAULT_RETRY_AFTER = 1.0  # seconds, for a 503 that names none
COMMON_HEADERS = {"cache-control": "no-store"}  # besides what answer_headers.py puts on every answer

_ACCESS = frozenset({401, 403, 429})
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class Family(enum.Enum):
    """Whose shape an error's body has."""

    INGEST = "ingest"  # {detail, code}: sessions, audio, the node itself, and paths that no route has
    API = "api"  # {success: false, error, code}
    OPENAI = "openai"  # {error: {message, type, code}}


_OPENAI = frozenset({"auth", "chat", "mcp", "models", "rag", "realtime", "sse", "usage"})


def family_of(path: str) -> Family:
    """The family of a path, or of a route's."""
    match path.split("/")[1:]:
        case ["api", *_]:
            return Family.API
        case [""]:  # `/`, an alias of the realtime tokens
            return Family.OPENAI
        case ["v1", name, *_] | [name, *_] if name in _OPENAI:
            return Family.OPENAI
    return Family.INGEST


def _family_of_scope(scope: Mapping[str, Any]) -> Family:
    """The family of the path that an ASGI scope asks for, below its root."""
    try:
        return family_of(join_path(split_path(scope)))
    except EdgeError:  # invalid_path: it is nobody's
        return Family.INGEST


def known_error(error: Exception) -> EdgeError:
    """The error of the table that `error` is to the client. What nobody foresaw is `internal`, and is
    logged.
    """
    match error:
        case EdgeError():
            return error
        case SessionIsDeleted():
            return EdgeError(SESSION_DELETED)
        case CatalogUnavailable():
            found = EdgeError(CATALOG_UNAVAILABLE)
        case JournalError() | BackendError() | trio.TooSlowError():
            found = EdgeError(STORAGE_UNAVAILABLE, "storage is unavailable; retry")
        case _:
            log.error("a request failed", exc_info=error)
            return EdgeError(INTERNAL)
    log.warning("a request was refused", code=found.kind.code, cause=repr(error))
    return found


def error_body(error: EdgeError, family: Family) -> bytes:
    """The error in its family's shape, with the error's own fields, as JSON."""
    return msgspec.json.encode(_shape(error, family) | dict(error.fields))


def _shape(error: EdgeError, family: Family) -> dict[str, Any]:
    code = error.kind.code
    match family:
        case Family.OPENAI:
            return {"error": _openai_error(error)}
        case Family.API:
            return {"success": False, "error": error.detail, "code": code}
        case Family.INGEST:
            both = {"error": _openai_error(error)} if error.kind.status in _ACCESS else {}
            return {"detail": error.detail, "code": code} | both


def _openai_error(error: EdgeError) -> dict[str, Any]:
    """`{message, type, code}`. A 401 has the one message and one of the two codes that the contract names."""
    kind = error.kind
    if kind.status == MISSING_AUTH.status:
        told = MISSING_AUTH if kind is MISSING_AUTH else INVALID_KEY
        return {"message": told.detail, "type": _TYPES[kind.status], "code": told.code}
    if kind.status in _TYPES:
        type_ = _TYPES[kind.status]
    elif kind.fault is Fault.UPSTREAM:
        type_ = "upstream_error"
    else:
        type_ = "service_error" if kind.status >= 500 else "invalid_request_error"
    return {"message": error.detail, "type": type_, "code": kind.code}


def error_headers(error: EdgeError) -> dict[str, str]:
    """The headers of an error's answer: `Retry-After` (whole seconds) where waiting helps, the size
    beside a range outside of it, and how to show a key where none was right.
    """
    headers = {"content-type": "application/json; charset=utf-8"} | COMMON_HEADERS
    if error.kind.status == 503 or error.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after or DEFAULT_RETRY_AFTER)))
    if error.kind.status == MISSING_AUTH.status:
        headers["www-authenticate"] = "Bearer"
    if error.kind is RANGE_NOT_SATISFIABLE:
        headers["content-range"] = f"bytes */{error.fields['size']}"
    return headers | dict(error.headers)


async def answer_empty(headers: dict[str, str], send: Send) -> None:
    """Answer an HTTP request 204, over plain ASGI."""
    shown = encode_headers(headers | COMMON_HEADERS)
    await send({"type": "http.response.start", "status": 204, "headers": shown})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def refuse_http(
    error: EdgeError, scope: Mapping[str, Any], send: Send, more: Mapping[str, str] | None = None
) -> None:
    """Answer an HTTP request with the error, over plain ASGI; `more` are headers beside the error's own."""
    await _respond("http.response", error, scope, send, more)


async def refuse_websocket(error: EdgeError, scope: Mapping[str, Any], send: Send) -> None:
    """Answer a WebSocket's handshake with the error. A server without `websocket.http.response` makes it a
    403.
    """
    if "websocket.http.response" in (scope.get("extensions") or {}):
        await _respond("websocket.http.response", error, scope, send)
    else:
        await send({"type": "websocket.close", "code": error.kind.close or 1008, "reason": error.kind.code})


async def _respond(
    kind: str,
    error: EdgeError,
    scope: Mapping[str, Any],
    send: Send,
    more: Mapping[str, str] | None = None,
) -> None:
    body = error_body(error, _family_of_scope(scope))
    shown = error_headers(error) | {"content-length": str(len(body))} | dict(more or {})
    await send({"type": f"{kind}.start", "status": error.kind.status, "headers": encode_headers(shown)})
    await send({"type": f"{kind}.body", "body": body, "more_body": False})


def encode_headers(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """As ASGI has them."""
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers.items()]
