"""HTTP/1.1 with our WebSocket in it, and nothing else to upgrade to.

Hypercorn makes its streams by class name inside `_create_stream`; this is the one place that says otherwise.
HTTP/2 without TLS is not offered: a reverse proxy speaks HTTP/1.1 to us, and h2 streams would escape the
limits of this package.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

import h11
from hypercorn.events import Closed
from hypercorn.protocol.events import Request
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol, H11WSConnection

from .limits import ServerLimits
from .websocket import WebSocketStream

Write = Callable[[bytes], Awaitable[None]]


class Http1Protocol(H11Protocol):
    """One connection's protocol: requests one after the other, the last of which may become a WebSocket."""

    def __init__(self, *args: Any, limits: ServerLimits, write: Write) -> None:
        super().__init__(*args)
        self._limits = limits
        self._write = write

    @property
    def websocket(self) -> WebSocketStream | None:
        """The WebSocket that the connection became; it takes the socket's bytes directly."""
        return self.stream if isinstance(self.stream, WebSocketStream) else None

    async def _create_stream(self, request: h11.Request) -> None:
        if request.http_version not in {b"1.0", b"1.1"}:
            await self._send_error_response(505)
            await self.send(Closed())
            return
        if not _asks_for_websocket(request):
            await super()._create_stream(request)
            return
        self.stream = stream = WebSocketStream(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
            limits=self._limits,
            write=self._write,
        )
        self.connection = H11WSConnection(cast(h11.Connection, self.connection))
        await stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=list(request.headers),
                http_version=request.http_version.decode(),
                method="GET",
                raw_path=request.target,
                state=self.connection_state,
            )
        )
        self.keep_alive_requests += 1

    async def _check_protocol(self, event: h11.Request) -> None:
        """Hypercorn turns to HTTP/2 here; an offered h2c upgrade may be ignored (RFC 9110 section 7.8)."""


def _asks_for_websocket(request: h11.Request) -> bool:
    upgrade = connection = b""
    for name, value in request.headers:
        if name == b"upgrade":
            upgrade = value.strip().lower()
        elif name == b"connection":
            connection = value.lower()
    tokens = {token.strip() for token in connection.split(b",")}
    return upgrade == b"websocket" and b"upgrade" in tokens and request.method == b"GET"
