"""A real server in the test's nursery, and raw clients.

With HYPERCORN_STOCK=1 the server is Hypercorn as it comes: every test of a mend must then go red.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import hypercorn.trio
import pytest
import trio
from hypercorn.config import Config
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Event, Ping

from interview_edge.web.hypercorn import ServerLimits, serve

STOCK = os.environ.get("HYPERCORN_STOCK") == "1"
UPGRADE = (
    b"GET %s HTTP/1.1\r\nhost: test\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n"
)

App = Callable[[Any, Any, Any], Awaitable[None]]


@attrs.define
class Client:
    """A TCP client that speaks as much HTTP and WebSocket as a test asks for, valid or not."""

    stream: trio.SocketStream
    connection: Connection = attrs.Factory(lambda: Connection(ConnectionType.CLIENT))
    _waiting: list[Event] = attrs.Factory(list)

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def send_event(self, event: Event) -> None:
        await self.send(self.connection.send(event))

    async def head(self) -> bytes:
        """An answer's head; what comes after it goes to the WebSocket."""
        data = b""
        while b"\r\n\r\n" not in data:
            more = await self.stream.receive_some(1000)
            assert more, f"closed after {data!r}"
            data += more
        head, _, rest = data.partition(b"\r\n\r\n")
        self.connection.receive_data(rest)
        self._waiting += self.connection.events()
        return head

    async def upgrade(self, path: bytes = b"/", headers: bytes = b"") -> bytes:
        await self.send(UPGRADE % (path, headers))
        return await self.head()

    async def event(self) -> Event:
        """The next event of the WebSocket; AssertionError at the end of the stream."""
        while not self._waiting:
            data = await self.stream.receive_some(65536)
            assert data, "the server closed without saying why"
            self.connection.receive_data(data)
            self._waiting += self.connection.events()
        return self._waiting.pop(0)

    async def close_code(self) -> int:
        """The code of the server's close frame; pings before it are not answered."""
        while not isinstance(event := await self.event(), CloseConnection):
            assert isinstance(event, Ping), event
        return int(event.code)

    async def rest(self) -> bytes:
        """Everything until the server's end of the stream."""
        return b"".join([data async for data in self.stream])


@attrs.define
class Server:
    """A running server. `shutdown` starts its drain; `done` is set when it has ended."""

    port: int
    shutdown: trio.Event
    done: trio.Event

    @asynccontextmanager
    async def client(
        self, *, send_buffer: int | None = None, address: str = "127.0.0.1"
    ) -> AsyncIterator[Client]:
        with trio.socket.socket() as sock:
            await sock.bind((address, 0))
            if send_buffer is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
            await sock.connect(("127.0.0.1", self.port))
            yield Client(trio.SocketStream(sock))


def _stock(app: App, limits: ServerLimits, sock: socket.socket, shutdown: trio.Event) -> partial[Any]:
    """Hypercorn with the settings that come nearest to `limits`."""
    config = Config()
    config.bind = [f"fd://{os.dup(sock.fileno())}"]
    config.graceful_timeout = limits.graceful_timeout
    config.keep_alive_timeout = limits.keep_alive
    config.websocket_max_message_size = limits.max_frame_bytes
    config.websocket_ping_interval = limits.ping_interval
    return partial(hypercorn.trio.serve, app, config, shutdown_trigger=shutdown.wait)


@asynccontextmanager
async def serving(app: App, *, receive_buffer: int | None = None, **limits: Any) -> AsyncIterator[Server]:
    """Serve `app` for the block; leaving it drains the server and waits for its end, 20 s at most."""
    known = ServerLimits(**{"graceful_timeout": 1.0, "linger": 0.2, **limits})
    sock = socket.create_server(("127.0.0.1", 0))
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)  # accepted sockets inherit it
    bound, shutdown, done = trio.Event(), trio.Event(), trio.Event()
    if STOCK:
        server = _stock(app, known, sock, shutdown)
    else:
        server = partial(serve, app, sockets=[sock], limits=known, shutdown_trigger=shutdown.wait)

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(server)
            bound.set()
        done.set()

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await bound.wait()
            try:
                yield Server(sock.getsockname()[1], shutdown, done)
                shutdown.set()
                with trio.fail_after(20):
                    await done.wait()
            finally:
                sock.close()
                nursery.cancel_scope.cancel()


@pytest.fixture
def start() -> Any:
    """`async with start(app, **limits) as server`."""
    return serving
