"""One WebSocket: Hypercorn's stream with whole frames, a byte-bounded inbox, and closes that say why.

What differs from Hypercorn 0.18, beside speed: an oversize message closes 1009 and ends the reading; a
broken frame is answered with its close code (1002, 1007) and not just dropped; a client that sends before it
was accepted is told so and closed; `websocket.disconnect` carries the peer's own code and never waits; an
empty message is `b""` and not None.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, cast

import trio
from hypercorn.protocol.events import Body, Data, Event, Request, StreamClosed
from hypercorn.protocol.ws_stream import ASGIWebsocketState, WebsocketBuffer, WSStream
from hypercorn.typing import AppWrapper, ASGIReceiveEvent, ASGISendEvent, WebsocketAcceptEvent
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, Message, Ping, TextMessage
from wsproto.frame_protocol import CloseReason

from .extension import EXTENSION, PeerGoneError
from .frames import Frame, FrameSplitter, data_frame, text_frames
from .inbox import Inbox
from .limits import ServerLimits

_OPEN = ConnectionState.OPEN


class WebSocketStream(WSStream):
    """One WebSocket from its upgrade request to its end. Also the `Frames` of its own scope."""

    def __init__(
        self, app: AppWrapper, *args: Any, limits: ServerLimits, write: Callable[[bytes], Awaitable[None]]
    ) -> None:
        super().__init__(self._adapt(app), *args)
        self.buffer = WebsocketBuffer(limits.max_frame_bytes)
        self.frames_seen = 0  # whole frames, for silence.py
        self._write = write
        self._inbox: Inbox[Frame] = Inbox(limits.inbox_bytes)
        self._splitter = FrameSplitter(limits.max_frame_bytes)
        self._connect_told = False
        self._peer_code: int = CloseReason.ABNORMAL_CLOSURE

    def _adapt(self, app: AppWrapper) -> AppWrapper:
        """`app` reading from our inbox, with the extension in its scope."""

        async def adapted(scope: Any, _receive: Any, send: Any, sync_spawn: Any, call_soon: Any) -> None:
            scope["extensions"][EXTENSION] = self
            try:
                await app(scope, self._receive, send, sync_spawn, call_soon)
            finally:
                self._inbox.close()

        return cast(AppWrapper, adapted)

    # -- from the connection

    async def handle(self, event: Event) -> None:
        """Hypercorn's events: the request, data that came with it, the end."""
        if isinstance(event, StreamClosed):
            self._end()
        elif isinstance(event, Request):
            await super().handle(event)
        elif isinstance(event, Body | Data):
            await self.feed(self.begun + event.data)

    @property
    def begun(self) -> bytes:
        """The bytes of a frame that isn't whole yet: they belong before what `feed` is given next."""
        return self._splitter.begun

    async def feed(self, data: bytes | memoryview) -> None:
        """Take bytes from the socket, `begun` before them; waits while the inbox is full. Never raises for
        what the peer sent. `data` is done with at the first checkpoint.
        """
        if self.closed:
            return
        if not self.handshake.accepted:
            await self._refuse_early_data()
            return
        messages: list[tuple[Frame, int]] = []
        for frame in self._splitter.split(data):
            if not isinstance(frame, Frame):
                await self._deliver(messages)
                messages = []
                self.connection.receive_data(frame)
                await self._handle_events()
            elif not frame.text or _is_utf8(frame.data):
                messages.append((frame, len(frame.data)))
            else:
                await self._deliver(messages)
                await self.fail(CloseReason.INVALID_FRAME_PAYLOAD_DATA)
            if self._ended:
                return
        await self._deliver(messages)
        if self._splitter.too_big and not self._ended:
            await self.fail(CloseReason.MESSAGE_TOO_BIG)

    @property
    def _ended(self) -> bool:
        """`closed`, which a call may have set since it was last looked at."""
        return self.closed

    async def _deliver(self, messages: list[tuple[Frame, int]]) -> None:
        if messages:
            self.frames_seen += len(messages)
            await self._inbox.put_all(messages)

    async def fail(self, code: int) -> None:
        """Close for the peer's fault, or its silence: nothing more is read; the application sees the end."""
        self._peer_code = code
        if self.state is ASGIWebsocketState.CONNECTED:
            await self._send_wsproto_event(CloseConnection(code=code))
        await self.send(StreamClosed(stream_id=self.stream_id))

    async def ping(self) -> None:
        """Ask for a pong, where the socket is accepted and open."""
        if self.handshake.accepted and not self.closed:
            await self._send_wsproto_event(Ping())

    async def _handle_events(self) -> None:
        """What wsproto made of a frame that the fast path left to it."""
        for event in self.connection.events():
            self.frames_seen += 1
            if isinstance(event, Message):
                self.buffer.extend(event)
                if event.message_finished:
                    message = self.buffer.to_message()
                    self.buffer.clear()
                    text = isinstance(event, TextMessage)
                    data = message["text"].encode() if text else message["bytes"]
                    await self._inbox.put(Frame(text, data), len(data))
            elif isinstance(event, Ping):
                await self._send_wsproto_event(event.response())
            elif isinstance(event, CloseConnection):
                await self._take_close(event)
                return

    async def _take_close(self, event: CloseConnection) -> None:
        if self.connection.state is _OPEN:  # not a close frame: what came broke the protocol
            await self.fail(event.code)
            return
        self._peer_code = event.code
        if self.connection.state is ConnectionState.REMOTE_CLOSING:
            await self._send_wsproto_event(event.response())
        await self.send(StreamClosed(stream_id=self.stream_id))

    async def _refuse_early_data(self) -> None:
        if self.state is ASGIWebsocketState.HANDSHAKE:
            self.state = ASGIWebsocketState.HTTPCLOSED
            await self._send_error_response(400)
            await self.send(StreamClosed(stream_id=self.stream_id))

    def _end(self) -> None:
        self.closed = True
        if self.state in {ASGIWebsocketState.HTTPCLOSED, ASGIWebsocketState.CLOSED}:
            self._peer_code = CloseReason.NORMAL_CLOSURE
        self._inbox.end()

    # -- from the application

    async def _receive(self) -> ASGIReceiveEvent:
        if not self._connect_told:
            self._connect_told = True
            return {"type": "websocket.connect"}
        frame = await self._inbox.take()
        if frame is None:
            return {"type": "websocket.disconnect", "code": int(self._peer_code)}
        if frame.text:
            return {"type": "websocket.receive", "bytes": None, "text": frame.data.decode()}
        return {"type": "websocket.receive", "bytes": frame.data, "text": None}

    async def receive_frames(self) -> list[Frame]:
        """See `Frames.receive_frames`."""
        frames = await self._inbox.take_all()
        if not frames:
            raise PeerGoneError(int(self._peer_code))
        return frames

    async def send_text(self, payloads: Iterable[bytes]) -> None:
        """See `Frames.send_text`."""
        if self._may_send():
            await self._write(text_frames(payloads))
        else:
            await trio.lowlevel.checkpoint()

    async def _accept(self, message: WebsocketAcceptEvent) -> None:
        # Hypercorn takes permessage-deflate from whoever offers it, without a bound on what it inflates to
        # (261 kB became 350 MB). Base64 audio gains too little from it to pay for a bounded inflater.
        self.handshake.extensions = None
        await super()._accept(message)

    def _may_send(self) -> bool:
        return (
            not self.closed and self.state is ASGIWebsocketState.CONNECTED and self.connection.state is _OPEN
        )

    async def app_send(self, message: ASGISendEvent | None) -> None:
        """ASGI's `send`; None when the application has ended."""
        if self.closed:
            await trio.lowlevel.checkpoint()  # else an application that sends in a loop would stop the world
        elif message is None and self.state is ASGIWebsocketState.CONNECTED:
            draining = self.context.terminated.is_set()
            await self.fail(CloseReason.SERVICE_RESTART if draining else CloseReason.INTERNAL_ERROR)
        elif message is not None and message["type"] == "websocket.send" and self._may_send():
            data, text = message.get("bytes"), message.get("text")
            if data is not None:
                await self._write(data_frame(data, text=False))
            elif isinstance(text, str):
                await self._write(data_frame(text.encode(), text=True))
            else:
                raise TypeError(f"websocket.send needs bytes or a str, got text={text!r}")
        else:
            await super().app_send(message)


def _is_utf8(data: bytes) -> bool:
    if data.isascii():  # spares the string
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
