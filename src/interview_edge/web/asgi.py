"""The ASGI application of a node: it dispatches on the raw path, before Quart.

Two things need that: ids with an encoded `/` (contract ingest.md, Decisions), and the audio socket, which
takes its frames straight from the server. One door for everything, so that a check in front of all of it has
its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from ipaddress import ip_network
from typing import Any

import structlog
import trio

from interview_edge.access.credentials import Credential
from interview_edge.access.principal import Principal
from interview_edge.errors import (
    DRAINING,
    INVALID_QUERY,
    ROUTE_NOT_FOUND,
    UPGRADE_REQUIRED,
    EdgeError,
)
from interview_edge.web.answer_headers import ANSWER, AnswerHeaders, answer_of
from interview_edge.web.audio_resource import AudioResource
from interview_edge.web.audit_resource import AuditResource
from interview_edge.web.audit_trail import DEED, AuditTrail, Outcome
from interview_edge.web.auth_resource import AuthResource
from interview_edge.web.client_address import CLIENT, client_of, find_client
from interview_edge.web.context import WebContext
from interview_edge.web.cors import Cors, preflight_headers
from interview_edge.web.dialect_socket import DialectSocket
from interview_edge.web.documents import Documents
from interview_edge.web.door import PRINCIPAL, Door
from interview_edge.web.http_app import ROUTE, AsgiApp, build_http_app
from interview_edge.web.lifespan import serve_lifespan
from interview_edge.web.metrics import open_metrics
from interview_edge.web.node_resource import NodeResource
from interview_edge.web.openapi import make_openapi
from interview_edge.web.page_resource import PageResource
from interview_edge.web.paths import join_path, split_path
from interview_edge.web.peers import accept
from interview_edge.web.realtime_resource import RealtimeResource
from interview_edge.web.refusals import answer_empty, known_error, refuse_http, refuse_websocket
from interview_edge.web.refused_body import dispose_of_body
from interview_edge.web.request_ids import REQUEST_ID, request_id_of
from interview_edge.web.request_names import SPAN, naming, note_status
from interview_edge.web.route_table import Match, RouteTable
from interview_edge.web.routes import Route
from interview_edge.web.services import ServiceHealth, check_service
from interview_edge.web.session_resource import SessionResource
from interview_edge.web.socket_admission import admit_by_first_frame
from interview_edge.web.socket_dialects import SocketDialect, open_socket_routes
from interview_edge.web.state_lane_resource import StateLaneResource
from interview_edge.web.storage_downloads import StorageDownloads
from interview_edge.web.storage_removals import StorageRemovals
from interview_edge.web.storage_resource import StorageResource
from interview_edge.web.traffic import CLIENT_GONE, UNMATCHED, Traffic
from interview_edge.web.transcript_resource import TranscriptResource
from interview_edge.web.usage_resource import UsageResource


class EdgeAsgi:
    """One node as an ASGI application: under our own server, or any other that speaks ASGI on trio."""

    def __init__(
        self,
        context: WebContext,
        http: AsgiApp,
        table: RouteTable,
        dialects: Sequence[tuple[Route, SocketDialect]],
        traffic: Traffic,
    ) -> None:
        self._context = context
        self._http = http
        self.table = table
        self._door = Door(context)
        self._trail = AuditTrail(context)
        self._trusted = [ip_network(text) for text in context.parts.settings.trusted_proxies]
        self._cors = Cors(context.parts.settings.cors_origins)
        self.socket_routes = [route for route, _ in dialects]
        self._dialects = {route.path: dialect for route, dialect in dialects}
        self._traffic = traffic

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One ASGI scope. Raises ValueError for a type that it doesn't serve, as ASGI asks."""
        if scope["type"] == "lifespan":
            await serve_lifespan(receive, send)
        elif scope["type"] in ("http", "websocket"):
            prepared, answer = self._prepare(scope, send)
            serve = self._serve_http if scope["type"] == "http" else self._serve_websocket
            with (
                structlog.contextvars.bound_contextvars(request_id=prepared[REQUEST_ID]),
                self._context.tracing.span(scope["type"], scope["headers"]) as span,
            ):
                span.note({"interview_edge.request_id": prepared[REQUEST_ID]})
                try:
                    await serve(prepared | {SPAN: span}, receive, answer)
                finally:
                    note_status(span, answer.status)
        else:
            raise ValueError(f"an ASGI scope of type {scope['type']!r} is not served")

    def _prepare(self, scope: Any, send: Any) -> tuple[Any, AnswerHeaders]:
        """The scope with what was found out about it, and the way its answer takes."""
        found = {**scope, CLIENT: find_client(scope, self._trusted), REQUEST_ID: request_id_of(scope)}
        answer = AnswerHeaders(found, self._cors, send)
        return found | {ANSWER: answer}, answer

    def _count_request(self, scope: Any) -> None:
        """Before anything is read. Raises EdgeError(rate_limited)."""
        access = self._context.access
        if access.authenticator.guarded:
            answer_of(scope).allow(access.limits.take_of_address(client_of(scope).network))

    # -- HTTP

    async def _serve_http(self, scope: Any, receive: Any, answer: AnswerHeaders) -> None:
        began = trio.current_time()
        route = UNMATCHED
        at_door: Match | None = None  # what is asked for, until it is let in
        body_unread = True
        try:
            self._count_request(scope)
            if self._cors.is_preflight(scope) and await self._answer_preflight(scope, answer):
                return
            if not scope.get("query_string", b"").isascii():
                raise EdgeError(INVALID_QUERY)
            path, match = self._match(scope, scope["method"])
            at_door = match
            route = match.route.path
            principal = await self._door.admit(scope, match)
            check_service(match.route, self._context.parts.settings)
            if (dialect := self._dialects.get(match.route.path)) is not None:
                dialect.check(scope, match)
                raise EdgeError(UPGRADE_REQUIRED, headers=_UPGRADE)
            deed = await self._trail.deed(scope, match, principal)
            at_door, body_unread = None, False
            rewritten = {**scope, "path": path, "raw_path": path.encode("ascii"), "root_path": ""}
            with naming(scope[SPAN], match, scope["method"]):
                async with self._trail.answering(scope, deed, answer.send) as send_audited:
                    known = {PRINCIPAL: principal, ROUTE: match.route, DEED: deed}
                    await self._http(rewritten | known, receive, send_audited)
        except Exception as error:  # the boundary: what it is to the client, refusals.py says
            if answer.status is not None:
                raise  # an answer has begun: the server cuts it short
            refusal = await self._trail.refused(scope, at_door, self._refusal(error))
            more = await dispose_of_body(scope, receive) if body_unread else None
            await refuse_http(refusal, scope, answer.send, more)
        finally:
            seconds = trio.current_time() - began
            self._traffic.count(route, scope["method"], answer.status or CLIENT_GONE, seconds)

    async def _answer_preflight(self, scope: Any, answer: AnswerHeaders) -> bool:
        """Whether the path has methods to tell of. Raises EdgeError for a path that can't be one."""
        methods = self.table.methods(_path(scope))
        if methods:
            await answer_empty(preflight_headers(methods), answer.send)
        return bool(methods)

    def _match(self, scope: Any, method: str) -> tuple[str, Match]:
        """The path with its segments encoded one by one, and its route. Raises EdgeError."""
        path = _path(scope)
        return path, self.table.match(path, method)

    def _refusal(self, error: Exception) -> EdgeError:
        refusal = known_error(error)
        if refusal.kind.status in (401, 403, 429):
            self._traffic.count_refusal(refusal.kind.code)
        return refusal

    # -- WebSocket

    async def _serve_websocket(self, scope: Any, receive: Any, answer: AnswerHeaders) -> None:
        counted_as = UNMATCHED
        with ExitStack() as held:
            try:
                self._count_request(scope)
                _, match = self._match(scope, "GET")
                dialect = self._dialects.get(match.route.path)
                if dialect is None:
                    raise EdgeError(ROUTE_NOT_FOUND)
                counted_as = dialect.counted_as
                self._check_handshake(scope, match, dialect, held)
                waits = dialect.admission.is_awaited(scope)
                principal = None if waits else await self._admit_socket(scope, match, held)
            except Exception as error:  # the boundary, as above; nothing is accepted yet
                await self._refuse_socket(error, counted_as, scope, receive, answer)
                return
            self._traffic.count(counted_as, "GET", 101)
            peer = await accept(scope, receive, answer.send)
            if principal is None:
                admit = partial(self._admit_socket, scope, match, held)
                principal = await admit_by_first_frame(
                    peer, dialect.admission, self._context, admit, self._refusal
                )
            if principal is not None:
                admit_session = partial(self._admit_session, scope, match, principal)
                await self._serve_socket(dialect.open(peer, match, principal, admit_session))

    def _check_handshake(self, scope: Any, match: Match, dialect: SocketDialect, held: ExitStack) -> None:
        """All that can be said before it is known who asks; the socket counts until `held` ends. Raises
        EdgeError.
        """
        dialect.check(scope, match)
        if self._context.registry.draining:
            raise EdgeError(DRAINING)
        if "session_id" in match.values:
            self._context.registry.check_room(match.values["session_id"])
        self._door.check_place(scope, match.route)
        check_service(match.route, self._context.parts.settings)
        access = self._context.access
        if access.authenticator.guarded:
            held.enter_context(access.limits.socket_of_address(client_of(scope).network))
        held.enter_context(naming(scope[SPAN], match, "GET"))

    async def _admit_socket(
        self, scope: Any, match: Match, held: ExitStack, shown: Credential | None = None
    ) -> Principal:
        """Whose socket it is. The last of the checks: it may use a ticket up. Raises EdgeError."""
        principal = await self._door.admit(scope, match, shown)
        held.enter_context(self._context.access.limits.socket_of_key(principal))
        if "session_id" in match.values:
            await self._admit_session(scope, match, principal, match.values["session_id"])
        return principal

    async def _admit_session(self, scope: Any, match: Match, principal: Principal, session_id: str) -> None:
        """Whether the day's quota lets the session be recorded into; an admin's use of another's is noted.
        Raises EdgeError.
        """
        try:
            await self._context.access.quotas.check_recording(principal, session_id)
            into = Match(match.route, {**match.values, "session_id": session_id})
            deed = await self._trail.deed(scope, into, principal)
            if deed is not None:
                await self._trail.note(scope, deed, Outcome.DONE)
        except Exception as error:  # the boundary: the socket is told in the table's words
            raise self._refusal(error) from error

    async def _refuse_socket(
        self, error: Exception, counted_as: str, scope: Any, receive: Any, answer: AnswerHeaders
    ) -> None:
        refusal = self._refusal(error)
        self._traffic.count(counted_as, "GET", refusal.kind.status)
        await receive()  # websocket.connect
        await refuse_websocket(refusal, scope, answer.send)

    async def _serve_socket(self, socket: DialectSocket) -> None:
        with self._context.sockets.hold(socket):
            drain_began: bool = self._context.registry.draining  # while the handshake was answered
            if drain_began:
                socket.leave(0)
            await socket.run()


def _path(scope: Any) -> str:
    """The path with its segments encoded one by one. Raises EdgeError."""
    segments = split_path(scope)
    # `OPTIONS *` has no segment; werkzeug would read `//health` as `/health`.
    if not segments or (segments[0] == "" and len(segments) > 1):
        raise EdgeError(ROUTE_NOT_FOUND)
    return join_path(segments)


_UPGRADE = {"upgrade": "websocket", "connection": "Upgrade"}


def _turn_out_whom_the_door_would(context: WebContext) -> None:
    """A revoked or expired credential ends the sockets it has opened, with the next look at the keys."""
    access, wall_ms = context.access, context.parts.wall_ms

    def look() -> None:
        now = wall_ms()
        context.sockets.turn_out(lambda principal: access.authenticator.still_stands(principal, now))

    access.ring.on_change(look)


def build_asgi_app(context: WebContext) -> EdgeAsgi:
    """The node's application. It opens nothing: the parts' owner runs them."""
    _turn_out_whom_the_door_would(context)
    traffic = Traffic()
    documents = Documents(context.version)
    routes = [
        *NodeResource(context, open_metrics(context, traffic)).routes(),
        *SessionResource(context).routes(),
        *StateLaneResource(context).routes(),
        *AudioResource(context).routes(),
        *TranscriptResource(context).routes(),
        *StorageResource(context).routes(),
        *StorageDownloads(context).routes(),
        *StorageRemovals(context).routes(),
        *AuthResource(context).routes(),
        *RealtimeResource(
            context.realtime, context.access.quotas, context.parts.settings.realtime_root_alias
        ).routes(),
        *UsageResource(context).routes(),
        *AuditResource(context).routes(),
        *ServiceHealth(context).routes(),
        *documents.routes(),
        *PageResource().routes(),
    ]
    dialects = open_socket_routes(context)
    socket_routes = [route for route, _ in dialects]
    documents.openapi = make_openapi([*routes, *socket_routes], context.version)
    table = RouteTable([*routes, *socket_routes])
    return EdgeAsgi(context, build_http_app(routes), table, dialects, traffic)
