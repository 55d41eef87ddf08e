"""The dialects that sockets may speak, each with its routes: what the dispatcher needs to know of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from interview_edge.access.principal import Principal, Scope
from interview_edge.core.keys import check_session_id, check_stream
from interview_edge.core.models import DEFAULT_STREAM, StreamKey
from interview_edge.errors import (
    CATALOG_UNAVAILABLE,
    DRAINING,
    INVALID_SESSION_ID,
    INVALID_STREAM,
    INVALID_TICKET,
    METHOD_NOT_ALLOWED,
    ORIGIN_REFUSED,
    QUOTA_EXCEEDED,
    TOO_MANY_SOCKETS,
    UPGRADE_REQUIRED,
    ErrorKind,
)
from interview_edge.web.audio_socket import AudioSocket
from interview_edge.web.browser_socket import BrowserSocket
from interview_edge.web.context import WebContext
from interview_edge.web.dialect_socket import DialectSocket
from interview_edge.web.messages import json_reply
from interview_edge.web.origins import check_listed
from interview_edge.web.peers import Peer
from interview_edge.web.route_table import Match
from interview_edge.web.routes import Content, Route
from interview_edge.web.socket_admission import Admission, BrowserAdmission, ChunkAdmission

AUDIO_ROUTE = "/v1/audio/ws"
BROWSER_ROUTE = "/api/ws"


class SocketDialect(Protocol):
    """One dialect on this node. `counted_as` is the route that its requests count as in the metrics."""

    @property
    def counted_as(self) -> str: ...

    @property
    def admission(self) -> Admission: ...

    def check(self, scope: Mapping[str, Any], match: Match) -> None:
        """What can be said of a handshake without knowing who asks. Raises EdgeError."""
        ...

    def open(
        self,
        peer: Peer,
        match: Match,
        principal: Principal,
        admit_session: Callable[[str], Awaitable[None]],
    ) -> DialectSocket:
        """The socket of whoever was admitted; `admit_session` is to be asked about a session that the path
        doesn't name.
        """
        ...


class ChunkDialect:
    """Numbered seconds with acks (contract ingest.md): the path names session and stream."""

    counted_as = AUDIO_ROUTE

    def __init__(self, context: WebContext) -> None:
        self._context = context
        self.admission: Admission = ChunkAdmission()

    def check(self, scope: Mapping[str, Any], match: Match) -> None:
        _stream_key(match)

    def open(
        self,
        peer: Peer,
        match: Match,
        principal: Principal,
        admit_session: Callable[[str], Awaitable[None]],
    ) -> DialectSocket:
        return AudioSocket(peer, _stream_key(match), self._context.registry, self._context.parts, principal)

    def routes(self) -> list[Route]:
        """As the OpenAPI document shows them."""
        return [
            _route(AUDIO_ROUTE + path, "Upgrade to the audio socket", "chunk", INVALID_STREAM)
            for path in ("/<segment:session_id>", "/<segment:session_id>/<segment:stream>")
        ]


class BrowserDialect:
    """Audio of any length without acks (contract stream.md): frames name the session."""

    counted_as = BROWSER_ROUTE

    def __init__(self, context: WebContext) -> None:
        self._context = context
        self.admission: Admission = BrowserAdmission(context.parts.wall_ms)

    def check(self, scope: Mapping[str, Any], match: Match) -> None:
        check_listed(scope, self._context.parts.settings.cors_origins)

    def open(
        self,
        peer: Peer,
        match: Match,
        principal: Principal,
        admit_session: Callable[[str], Awaitable[None]],
    ) -> DialectSocket:
        return BrowserSocket(peer, self._context.registry, self._context.parts, principal, admit_session)

    def routes(self) -> list[Route]:
        """As the OpenAPI document shows them."""
        return [_route(BROWSER_ROUTE, "Upgrade to the browser socket", "browser")]


def open_socket_routes(context: WebContext) -> list[tuple[Route, SocketDialect]]:
    """Every socket's route, and who serves it."""
    chunk, browser = ChunkDialect(context), BrowserDialect(context)
    return [
        *((route, chunk) for route in chunk.routes()),
        *((route, browser) for route in browser.routes()),
    ]


def _stream_key(match: Match) -> StreamKey:
    """The session and stream that a path names. Raises EdgeError(invalid_session_id, invalid_stream)."""
    return StreamKey(
        check_session_id(match.values["session_id"]),
        check_stream(match.values.get("stream", DEFAULT_STREAM)),
    )


async def _documented_only() -> Any:
    """Stands for a socket's route in table and document; the dispatcher answers it."""
    return json_reply({})


def _route(path: str, summary: str, dialect: str, *more: ErrorKind) -> Route:
    named = (INVALID_SESSION_ID,) if "<segment:session_id>" in path else ()
    errors = (
        *(*named, *more, METHOD_NOT_ALLOWED, UPGRADE_REQUIRED),
        *(INVALID_TICKET, ORIGIN_REFUSED, QUOTA_EXCEEDED, TOO_MANY_SOCKETS),
        *(DRAINING, CATALOG_UNAVAILABLE),
    )
    switched = Content("application/json", None, f"The {dialect} dialect begins, see /asyncapi.json.")
    return Route(
        method="GET",
        path=path,
        view=_documented_only,
        access=(Scope.INGEST,),
        summary=summary,
        answers={101: switched},
        errors=errors,
    )
