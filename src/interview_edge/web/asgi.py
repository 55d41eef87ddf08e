"""The ASGI application of a node: it dispatches on the raw path, before Quart.

Two things need that: ids with an encoded `/` (contract ingest.md, Decisions), and the audio socket, which
takes its frames straight from the server. One door for everything, so that a check in front of all of it has
its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from interview_edge.core.keys import check_session_id, check_stream
from interview_edge.core.models import DEFAULT_STREAM, StreamKey
from interview_edge.errors import (
    DRAINING,
    INVALID_QUERY,
    INVALID_SESSION_ID,
    INVALID_STREAM,
    METHOD_NOT_ALLOWED,
    ROUTE_NOT_FOUND,
    UPGRADE_REQUIRED,
    EdgeError,
)
from interview_edge.web.audio_resource import AudioResource
from interview_edge.web.audio_socket import AudioSocket
from interview_edge.web.context import WebContext
from interview_edge.web.documents import Documents
from interview_edge.web.http_app import AsgiApp, build_http_app
from interview_edge.web.messages import json_reply
from interview_edge.web.metrics import open_metrics
from interview_edge.web.node_resource import NodeResource
from interview_edge.web.openapi import make_openapi
from interview_edge.web.paths import join_path, split_path
from interview_edge.web.peers import accept
from interview_edge.web.refusals import refuse_http, refuse_websocket
from interview_edge.web.routes import Content, Route
from interview_edge.web.session_resource import SessionResource
from interview_edge.web.state_lane_resource import StateLaneResource
from interview_edge.web.traffic import UNMATCHED, Traffic

AUDIO_SOCKET = ["v1", "audio", "ws"]
AUDIO_ROUTE = "/v1/audio/ws"


class EdgeAsgi:
    """One node as an ASGI application: under our own server, or any other that speaks ASGI on trio."""

    def __init__(self, context: WebContext, http: AsgiApp, traffic: Traffic) -> None:
        self._context = context
        self._http = http
        self._traffic = traffic

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One ASGI scope. Raises ValueError for a type that it doesn't serve, as ASGI asks."""
        if scope["type"] == "http":
            await self._serve_http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._serve_websocket(scope, receive, send)
        elif scope["type"] == "lifespan":
            await _serve_lifespan(receive, send)
        else:
            raise ValueError(f"an ASGI scope of type {scope['type']!r} is not served")

    # -- HTTP

    async def _serve_http(self, scope: Any, receive: Any, send: Any) -> None:
        route = UNMATCHED
        try:
            if not scope.get("query_string", b"").isascii():
                raise EdgeError(INVALID_QUERY)
            segments = split_path(scope)
            # `OPTIONS *` has no segment; werkzeug would read `//health` as `/health`.
            if not segments or (segments[0] == "" and len(segments) > 1):
                raise EdgeError(ROUTE_NOT_FOUND)
            if _names_audio_socket(segments):
                route = AUDIO_ROUTE
                _refuse_plain_request(scope, segments)
        except EdgeError as error:
            self._traffic.count(route, scope["method"], error.kind.status)
            await refuse_http(error, send, _HINTS.get(error.kind.code))
            return
        path = join_path(segments)
        rewritten = {**scope, "path": path, "raw_path": path.encode("ascii"), "root_path": ""}
        await self._http(rewritten, receive, send)

    # -- WebSocket

    async def _serve_websocket(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            segments = split_path(scope)
            if not _names_audio_socket(segments):
                raise EdgeError(ROUTE_NOT_FOUND)
            key = _stream_key(segments)
            if self._context.registry.draining:
                raise EdgeError(DRAINING)
        except EdgeError as error:
            self._traffic.count(AUDIO_ROUTE, "GET", error.kind.status)
            await receive()  # websocket.connect
            await refuse_websocket(error, scope, send)
            return
        self._traffic.count(AUDIO_ROUTE, "GET", 101)
        peer = await accept(scope, receive, send)
        socket = AudioSocket(peer, key, self._context.registry, self._context.parts)
        with self._context.sockets.hold(socket):
            drain_began: bool = self._context.registry.draining  # while the handshake was answered
            if drain_began:
                socket.leave(0)
            await socket.run()


_HINTS = {
    METHOD_NOT_ALLOWED.code: {"allow": "GET"},
    UPGRADE_REQUIRED.code: {"upgrade": "websocket", "connection": "Upgrade"},
}


def _names_audio_socket(segments: Sequence[str]) -> bool:
    return list(segments[:3]) == AUDIO_SOCKET and len(segments) in (4, 5)


def _stream_key(segments: Sequence[str]) -> StreamKey:
    """The session and stream that the path names. Raises EdgeError(invalid_session_id, invalid_stream)."""
    stream = segments[4] if len(segments) == 5 else DEFAULT_STREAM
    return StreamKey(check_session_id(segments[3]), check_stream(stream))


def _refuse_plain_request(scope: Any, segments: Sequence[str]) -> None:
    """A request without an upgrade on the socket's path: always refused, the method first."""
    if scope["method"] != "GET":
        raise EdgeError(METHOD_NOT_ALLOWED)
    _stream_key(segments)
    raise EdgeError(UPGRADE_REQUIRED)


async def _serve_lifespan(receive: Any, send: Any) -> None:
    """The node's life is its owner's (app.py): a server that asks is told yes."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _documented_only() -> Any:
    """Stands for the socket's route in the document; the dispatcher answers it."""
    return json_reply({})


def _socket_routes() -> list[Route]:
    """The audio socket's path as the OpenAPI document shows it."""
    errors = (INVALID_SESSION_ID, INVALID_STREAM, METHOD_NOT_ALLOWED, UPGRADE_REQUIRED, DRAINING)
    switched = {101: Content("application/json", None, "The chunk dialect begins, see /asyncapi.json.")}
    return [
        Route(
            method="GET",
            path=AUDIO_ROUTE + path,
            view=_documented_only,
            summary="Upgrade to the audio socket",
            answers=switched,
            errors=errors,
        )
        for path in ("/<segment:session_id>", "/<segment:session_id>/<segment:stream>")
    ]


def build_asgi_app(context: WebContext) -> EdgeAsgi:
    """The node's application. It opens nothing: the parts' owner runs them."""
    traffic = Traffic()
    documents = Documents(context.version)
    routes = [
        *NodeResource(context, open_metrics(context, traffic)).routes(),
        *SessionResource(context).routes(),
        *StateLaneResource(context).routes(),
        *AudioResource(context).routes(),
        *documents.routes(),
    ]
    documents.openapi = make_openapi([*routes, *_socket_routes()], context.version)
    return EdgeAsgi(context, build_http_app(routes, traffic), traffic)
