"""One TCP connection: Hypercorn's server class with bounded reading, writing and closing.

The connection's own task reads the socket and works off what it reads; the application's task writes. There
is no task for pings: the reader wakes when the peer has been silent for the interval.
"""

from __future__ import annotations

from typing import Any, cast

import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.trio.tcp_server import MAX_RECV, TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState, LifespanState
from hypercorn.utils import parse_socket_addr
from wsproto.frame_protocol import CloseReason

from .capacity import Roster
from .faults import AppTasks
from .http1 import Http1Protocol
from .limits import ServerLimits
from .receiving import ReceiveBuffer
from .sends import Sender
from .silence import Due, Silence
from .websocket import WebSocketStream

_MAX_LINGER_BYTES = 4 * 1024 * 1024  # thrown away after our close; a peer that sends more is reset


class Connection(TCPServer):
    """Serves one accepted socket; await it, as trio's `serve_listeners` does."""

    protocol: Http1Protocol  # type: ignore[assignment]  # Hypercorn's wrapper only chooses between h11 and h2
    stream: trio.SocketStream  # type: ignore[assignment]  # plain TCP: TLS is the reverse proxy's

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        state: LifespanState,
        limits: ServerLimits,
        roster: Roster,
        buffer: ReceiveBuffer,
        stream: trio.SocketStream,
    ) -> None:
        super().__init__(app, config, context, state, cast(Any, stream))
        self._limits = limits
        self._roster = roster
        self._buffer = buffer
        self._sender = Sender(stream, limits.send_timeout)
        self._reader = trio.CancelScope()
        self._closing = False

    async def run(self) -> None:
        """Serve until either side closes. Whatever goes wrong here ends this connection only."""
        if not self._roster.admit(self, self._client()):
            await self._roster.refuse(self.stream)
            return
        try:
            await self._serve()
        except OSError:
            pass  # the peer went before we could ask for its address
        except Exception:  # a fault of ours or Hypercorn's: it must not take the other connections with it
            await self.config.log.exception("a connection failed")
        finally:
            self.stream.socket.close()
            self._roster.leave(self)

    def _client(self) -> str | None:
        """What the peer is counted as."""
        socket = self.stream.socket
        try:
            peer = parse_socket_addr(socket.family, socket.getpeername())
        except OSError:  # it went; _serve ends by the same
            return None
        return None if peer is None else self._limits.client_of(peer[0])

    async def _serve(self) -> None:
        socket = self.stream.socket
        client = parse_socket_addr(socket.family, socket.getpeername())
        server = parse_socket_addr(socket.family, socket.getsockname())
        async with AppTasks(self._limits) as tasks:
            self._task_group = tasks
            self.protocol = Http1Protocol(
                self.app,
                self.config,
                self.context,
                tasks,
                ConnectionState(self.state),
                False,
                client,
                server,
                self.protocol_send,
                limits=self._limits,
                write=self._write,
            )
            await self.idle_task.restart(tasks, self._idle_timeout)
            with self._reader:
                await self._read_data()
            self._closing = True
            await self.idle_task.stop()
            await self.protocol.handle(Closed())

    # -- reading

    async def _read_data(self) -> None:
        """Read until the end. While an inbox is full nothing is read: TCP then holds the peer back."""
        try:
            while not self._closing and self.protocol.websocket is None:
                data = await self.stream.receive_some(MAX_RECV)
                if not data:
                    return
                if not self._closing:  # the application may have ended the connection meanwhile
                    await self.protocol.handle(RawData(bytes(data)))
            if self.protocol.websocket is not None:
                await self._read_websocket(self.protocol.websocket)
            await self._discard()
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            return

    async def _read_websocket(self, websocket: WebSocketStream) -> None:
        """Feed the WebSocket until either side closes, with a ping for a silent peer, and an end for a dead
        one."""
        silence = Silence(self._limits.ping_interval, self._limits.silent_peer_timeout, trio.current_time())
        socket = self.stream.socket
        while not self._closing:
            with trio.CancelScope(deadline=silence.deadline()) as scope:
                await trio.lowlevel.wait_readable(socket)
            if scope.cancelled_caught:
                await self._mind_silence(websocket, silence)
                continue
            try:
                received = self._buffer.receive(socket.fileno(), websocket.begun)
            except BlockingIOError:  # it looked readable, and isn't: select(2), BUGS
                continue
            except OSError:
                return
            if received is None:
                return
            seen = websocket.frames_seen
            await websocket.feed(received)
            if websocket.frames_seen != seen:
                silence.heard(trio.current_time())

    async def _mind_silence(self, websocket: WebSocketStream, silence: Silence) -> None:
        due = silence.due(trio.current_time())
        if not websocket.handshake.accepted:
            silence.heard(
                trio.current_time()
            )  # how long an answer to the handshake may take is the application's
        elif due is Due.DROP:
            await websocket.fail(CloseReason.GOING_AWAY)
        elif due is Due.PING:
            await websocket.ping()

    async def _discard(self) -> None:
        """After our close: throw input away until the peer closes, too, within the reader's deadline."""
        thrown_away = 0
        while data := await self.stream.receive_some(MAX_RECV):
            thrown_away += len(data)
            if thrown_away > _MAX_LINGER_BYTES:
                self._sender.reset()
                return

    # -- writing and closing

    async def protocol_send(self, event: Event) -> None:
        """What the protocol wants done with the socket."""
        if isinstance(event, RawData):
            await self._write(event.data)
        elif isinstance(event, Closed):
            await self._finish()
        elif isinstance(event, Updated):
            if event.idle and not self._closing:
                await self.idle_task.restart(self._task_group, self._idle_timeout)
            else:
                await self.idle_task.stop()

    async def _write(self, data: bytes) -> None:
        if not await self._sender.send(data):
            self.reset()
            await self.protocol.handle(Closed())

    async def _finish(self) -> None:
        """Close our side, and give the peer `linger` to take what we sent and close its own."""
        if not self._closing:
            self._closing = True
            self._reader.deadline = min(self._reader.deadline, trio.current_time() + self._limits.linger)
            await self._sender.finish()

    def reset(self) -> None:
        """Drop the connection now, whoever waits on it."""
        self._closing = True
        self._sender.reset()
        self._reader.cancel()

    async def _idle_timeout(self) -> None:
        first = self.protocol.keep_alive_requests == 0
        with trio.move_on_after(self._limits.header_timeout if first else self._limits.keep_alive):
            await self.context.terminated.wait()
        self.stream.socket.close()  # the reader is in receive_some: no request is under way
