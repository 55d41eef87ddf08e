"""Errors as answers: the one place where what was raised below becomes HTTP (contract ingest.md, Error
bodies).
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
    RANGE_NOT_SATISFIABLE,
    SESSION_DELETED,
    STORAGE_UNAVAILABLE,
    EdgeError,
    ErrorKind,
    Fault,
)
from interview_edge.journal import JournalError

log = structlog.get_logger(__name__)

Send = Callable[[Any], Awaitable[None]]

DEFAULT_RETRY_AFTER = 1.0  # seconds, for a 503 that names none
COMMON_HEADERS = {"x-content-type-options": "nosniff", "cache-control": "no-store"}


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


class Family(enum.Enum):
    """How the errors of a group of routes look (contract ingest.md, Error bodies)."""

    INGEST = enum.auto()  # {detail, code}
    API = enum.auto()  # {success: false, error, code}
    OPENAI = enum.auto()  # {error: {message, type, code}}


_OPENAI_PATHS = ("/auth/", "/v1/usage", "/realtime/", "/v1/realtime/")


def family_of(path: str) -> Family:
    """The family of a path."""
    if path.startswith("/api/"):
        return Family.API
    return Family.OPENAI if path == "/" or path.startswith(_OPENAI_PATHS) else Family.INGEST


def error_body(error: EdgeError, family: Family = Family.INGEST) -> bytes:
    """The error as JSON, its own fields in it."""
    return msgspec.json.encode(_shape(error, family) | dict(error.fields))


def _shape(error: EdgeError, family: Family) -> dict[str, Any]:
    kind = error.kind
    as_openai = {"error": {"message": error.detail, "type": _type(kind), "code": kind.code}}
    match family:
        case Family.OPENAI:
            return as_openai
        case Family.API:
            return {"success": False, "error": error.detail, "code": kind.code}
        case Family.INGEST:
            # Contract gateway.md asks for its shape wherever a credential is missing or wrong.
            both = as_openai if kind.status in (401, 403, 429) else {}
            return {"detail": error.detail, "code": kind.code} | both


def _type(kind: ErrorKind) -> str:
    by_status = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    if kind.status in by_status:
        return by_status[kind.status]
    if kind.fault is Fault.UPSTREAM:
        return "upstream_error"
    return "invalid_request_error" if kind.status < 500 else "service_error"


def error_headers(error: EdgeError) -> dict[str, str]:
    """The headers of an error's answer: `Retry-After` (whole seconds) where waiting helps, and the size
    beside a range outside of it.
    """
    headers = {"content-type": "application/json; charset=utf-8"} | COMMON_HEADERS
    if error.kind.status == 401:
        headers["www-authenticate"] = "Bearer"
    if error.kind.status == 503 or error.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after or DEFAULT_RETRY_AFTER)))
    if error.kind is RANGE_NOT_SATISFIABLE:
        headers["content-range"] = f"bytes */{error.fields['size']}"
    return headers | dict(error.headers)


async def refuse_http(error: EdgeError, scope: Mapping[str, Any], send: Send) -> None:
    """Answer an HTTP request with the error, over plain ASGI."""
    await _respond("http.response", error, family_of(scope["path"]), send)


async def refuse_websocket(error: EdgeError, scope: Mapping[str, Any], send: Send) -> None:
    """Answer a WebSocket's handshake with the error. A server without `websocket.http.response` makes it a
    403.
    """
    if "websocket.http.response" in (scope.get("extensions") or {}):
        await _respond("websocket.http.response", error, family_of(scope["path"]), send)
    else:
        await send({"type": "websocket.close", "code": error.kind.close or 1008, "reason": error.kind.code})


async def _respond(kind: str, error: EdgeError, family: Family, send: Send) -> None:
    body = error_body(error, family)
    shown = error_headers(error) | {"content-length": str(len(body))}
    encoded = [(name.encode("ascii"), value.encode("latin-1")) for name, value in shown.items()]
    await send({"type": f"{kind}.start", "status": error.kind.status, "headers": encoded})
    await send({"type": f"{kind}.body", "body": body, "more_body": False})
