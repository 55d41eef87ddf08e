"""The connection under an ingest, made again whenever it is lost, and what goes over it both ways."""

from __future__ import annotations

import math
import random
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import SplitResult, urlsplit

import attrs
import msgspec
import trio
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    HandshakeError,
    WebSocketConnection,
    wrap_client_stream,
)

from interview_edge.client.errors import (
    ChunkRefused,
    ClientError,
    EdgeRequestError,
    EdgeUnreachable,
    FrameRefused,
    GaveUp,
    IngestClosed,
)
from interview_edge.client.outbox import Outbox, Request
from interview_edge.core.models import SeqRanges
from interview_edge.core.pcm import FORMAT, SAMPLE_RATE
from interview_edge.errors import ERRORS, QUOTA_EXCEEDED
from interview_edge.wire import chunk_dialect
from interview_edge.wire.frames import (
    CHANNELS,
    Ack,
    ErrorFrame,
    EventFrame,
    GoingAway,
    Hello,
    PartialFrame,
    Ready,
    ServerFrame,
)

# Of RFC 6455's codes, those that say our frames are at fault; so do all private ones (4xxx) of the contract.
_FATAL_CLOSES = frozenset({1002, 1003, 1007, 1008, 1009, 1010})
_MAX_SERVER_MESSAGE = 1024 * 1024  # a status with 1,000 missing ranges is 30 KB
_RETRY_STATUSES = frozenset({408, 425, 429})
_MAX_KEPT = 1024  # events and refusals that nobody has read yet


@attrs.frozen(kw_only=True)
class Persistence:
    """How long and how often the client tries. Seconds.

    `give_up_after`: without one chunk acked or request answered, while something waits or the connection is
    down. `retry_initial` doubles to `retry_max`, each wait cut by up to a half at random, and starts anew
    after a connection that acked something or outlived `retry_max`. `keepalive`: a ping that often, and no
    pong within as long cuts the connection. `answer_timeout`: of connect, of `ready`, and of a close.
    """

    give_up_after: float = 300.0
    retry_initial: float = 0.25
    retry_max: float = 10.0
    keepalive: float = 20.0
    answer_timeout: float = 10.0


@attrs.frozen(kw_only=True)
class Target:
    """Where to connect, and how to speak there."""

    url: str
    session_id: str
    binary: bool
    events: bool
    headers: Mapping[str, str]
    ssl_context: ssl.SSLContext | None


class Link:
    """Holds one stream's connection; `run` is its task. `Ingest` puts into the outbox and reads the rest.

    `changed` is unparked whenever anything here changes. `failure` is set once, when the link is over.
    """

    def __init__(
        self, target: Target, persistence: Persistence, on_ack: Callable[[Ack], None] | None
    ) -> None:
        self._target = target
        self.persistence = persistence
        self._on_ack = on_ack
        self.outbox = Outbox()
        self.refusals: deque[FrameRefused] = deque(maxlen=_MAX_KEPT)
        self.events: deque[Mapping[str, Any]] = deque(maxlen=_MAX_KEPT)
        self.partial: Mapping[str, Any] | None = None  # the latest, after those events
        self.changed = trio.lowlevel.ParkingLot()
        self.failure: ClientError | None = None
        self.ready: Ready | None = None
        self.missing: SeqRanges = ()
        self.connected = False
        self.acked = 0
        self.connections = 0
        self._last_event = 0
        self._lost: ClientError | None = None
        self._going_away = False
        self._patience = trio.CancelScope()

    def notice(self, *, progress: bool = False) -> None:
        """Something changed: wake who waits, and start, move or stop the clock that gives up."""
        if self.connected and not self.outbox and not self.outbox.requests:
            self._patience.deadline = math.inf
        elif progress or self._patience.deadline == math.inf:
            self._patience.deadline = trio.current_time() + self.persistence.give_up_after
        self.changed.unpark_all()

    def fail(self, failure: ClientError, cause: BaseException | None = None) -> None:
        """It is over: the first reason stands, and everybody who waits is told."""
        if self.failure is None:
            self.failure = failure
            failure.__cause__ = cause
        self.changed.unpark_all()

    def stop(self) -> None:
        """Let `run` end, whatever it waits for."""
        self._patience.cancel()

    async def run(self) -> None:
        """Hold the connection until closed, refused for good, or out of patience; `failure` says which."""
        self.notice()
        with self._patience:
            delay = self.persistence.retry_initial
            while self.failure is None:
                acked, began = self.acked, trio.current_time()
                wait_at_least = await self._connect_once()
                self.connected = self._going_away = False
                self.notice()
                if self.acked > acked or trio.current_time() - began > self.persistence.retry_max:
                    delay = self.persistence.retry_initial
                jittered = delay * random.uniform(0.5, 1)  # noqa: S311  # spreads reconnects, hides nothing
                if self.failure is None:
                    await trio.sleep(max(jittered, wait_at_least))
                delay = min(delay * 2, self.persistence.retry_max)
        if self._patience.cancelled_caught:
            gave_up = GaveUp(self.persistence.give_up_after, self.outbox.unacked, self._lost)
            self.fail(gave_up, self._lost)

    async def _connect_once(self) -> float:
        """One connection from handshake to cut. Answers how long the server asked to stay away."""
        url = urlsplit(self._target.url)
        timeout = self.persistence.answer_timeout
        rejections: list[ConnectionRejected] = []
        try:
            with trio.fail_after(timeout):
                stream = await _dial(url, self._target.ssl_context)
            # Ours to close: trio-websocket leaves the socket open where the server closed first.
            async with stream, trio.open_nursery() as nursery:
                with trio.fail_after(timeout):
                    ws = await wrap_client_stream(
                        nursery,
                        stream,
                        url.netloc.rpartition("@")[2],
                        url.path,
                        extra_headers=[(k.encode(), v.encode()) for k, v in self._target.headers.items()],
                        max_message_size=_MAX_SERVER_MESSAGE,
                    )
                await self._converse(ws)
                with trio.move_on_after(timeout):
                    await ws.aclose()
                nursery.cancel_scope.cancel()
        except* ConnectionRejected as group:
            rejections = [error for error in group.exceptions if isinstance(error, ConnectionRejected)]
        except* (OSError, trio.TooSlowError, trio.BrokenResourceError, HandshakeError) as group:
            self._lost = EdgeUnreachable(f"no WebSocket connection: {group.exceptions[0]!r}")
        return self._receive_rejection(rejections[0]) if rejections else 0.0

    def _receive_rejection(self, rejected: ConnectionRejected) -> float:
        """The handshake was refused, for good or for now. Answers how long the server asked to stay away."""
        refusal = _refusal(rejected)
        self._lost = refusal
        if _is_lasting(refusal, self._patience.deadline - trio.current_time()):
            self.fail(refusal)
        return min(refusal.retry_after or 0.0, self.persistence.retry_max)

    async def _converse(self, ws: WebSocketConnection) -> None:
        """hello, ready, then both directions until the connection ends."""
        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.deadline = trio.current_time() + self.persistence.answer_timeout
            nursery.start_soon(self._write, ws)
            nursery.start_soon(self._keep_alive, ws, nursery.cancel_scope)
            while True:
                try:
                    text = await ws.get_message()
                except ConnectionClosed:
                    break
                self._receive(text, nursery.cancel_scope)
            nursery.cancel_scope.cancel()
        closed = ws.closed
        if closed is None:
            self._lost = EdgeUnreachable("the server stopped answering")
        elif closed.code in _FATAL_CLOSES or closed.code >= 4000:
            self.fail(IngestClosed(closed.code, closed.reason))
        else:
            self._lost = IngestClosed(closed.code, closed.reason)

    async def _write(self, ws: WebSocketConnection) -> None:
        hello = Hello(self._target.session_id, SAMPLE_RATE, CHANNELS, FORMAT, self._target.events)
        try:
            await ws.send_message(chunk_dialect.encode_client(hello))
            while True:
                item = self.outbox.take() if self.connected and not self._going_away else None
                if item is None:
                    await self.changed.park()
                elif isinstance(item, Request):
                    await ws.send_message(item.message)
                elif self._target.binary:
                    await ws.send_message(chunk_dialect.encode_chunk_binary(item))
                else:
                    await ws.send_message(
                        chunk_dialect.encode_chunk_text(item, session_id=self._target.session_id)
                    )
        except ConnectionClosed:
            return  # the reader sees it too, after what was received before it

    async def _keep_alive(self, ws: WebSocketConnection, connection: trio.CancelScope) -> None:
        try:
            while True:
                await trio.sleep(self.persistence.keepalive)
                with trio.move_on_after(self.persistence.keepalive) as waiting:
                    await ws.ping()
                if waiting.cancelled_caught:
                    connection.cancel()
        except ConnectionClosed:
            return

    def _receive(self, text: str | bytes, connection: trio.CancelScope) -> None:
        try:
            frame = chunk_dialect.decode_server(text)
        except ValueError as error:
            self.fail(ClientError("the server doesn't speak the chunk dialect"), error)
            connection.cancel()
            return
        match frame:
            case Ack():
                self._receive_ack(frame)
            case ErrorFrame():
                self._receive_error(frame)
            case Ready():
                connection.deadline = math.inf
                self._receive_ready(frame)
            case GoingAway():
                self._going_away = True
                allowed = frame.time_left_ms / 1000 + self.persistence.answer_timeout
                connection.deadline = trio.current_time() + allowed
            case EventFrame():
                self._receive_event(frame.event)
            case PartialFrame():
                self._receive_partial(frame)
            case None:
                pass  # of a newer server, and not asked for
            case _:
                self._receive_answer(frame)

    def _receive_ready(self, ready: Ready) -> None:
        held = self.outbox.resume(ready)
        self.acked += len(held)
        self.ready = ready
        self.missing = ready.missing
        self.connections += 1
        self.connected = True
        self.notice(progress=bool(held))

    def _receive_ack(self, ack: Ack) -> None:
        if self.outbox.settle(ack.seq):
            self.acked += 1
        self._lost = None  # whatever it was, it is over
        self.notice(progress=True)
        if self._on_ack is not None:
            self._on_ack(ack)

    def _receive_error(self, error: ErrorFrame) -> None:
        kind = ERRORS.get(error.code)
        if kind is not None and kind.close is not None:
            # Of the connection, which ends with it or gets over it: the chunk wasn't judged, so it stays.
            self._lost = FrameRefused(error.code, error.detail)
            return
        if isinstance(error.seq, int) and self.outbox.settle(error.seq):
            self.refusals.append(ChunkRefused(error.code, error.detail, error.seq))
        elif self.outbox.requests:
            self.outbox.answer(self.outbox.requests[0], FrameRefused(error.code, error.detail))
        else:
            self.refusals.append(FrameRefused(error.code, error.detail))
        self.notice(progress=True)

    def _receive_answer(self, frame: ServerFrame) -> None:
        request = next((r for r in self.outbox.requests if isinstance(frame, r.answer)), None)
        if request is not None:
            self.outbox.answer(request, frame)
            self.notice(progress=True)

    def _receive_event(self, event: Mapping[str, Any]) -> None:
        number = event.get("seq_no", 0)
        if number > self._last_event:
            self._last_event = number
            self.events.append(event)
            self.partial = None  # what it said is older
            self.notice()

    def _receive_partial(self, partial: PartialFrame) -> None:
        """In the place of one before it that nobody has read."""
        self.partial = msgspec.to_builtins(partial)
        self.notice()


async def _dial(
    url: SplitResult, ssl_context: ssl.SSLContext | None
) -> trio.SocketStream | trio.SSLStream[trio.SocketStream]:
    """The TCP or TLS stream to a ws:// or wss:// URL. Raises OSError."""
    host = url.hostname or ""
    if url.scheme == "ws":
        return await trio.open_tcp_stream(host, url.port or 80)
    context = ssl_context or ssl.create_default_context()
    return await trio.open_ssl_over_tcp_stream(
        host, url.port or 443, ssl_context=context, https_compatible=True
    )


def _is_lasting(refusal: EdgeRequestError, time_left: float) -> bool:
    """Whether trying again within `time_left` seconds can't help: it says so, or a person must act."""
    if refusal.retry_after is not None and refusal.retry_after > time_left:
        return True
    if refusal.code == QUOTA_EXCEEDED.code:  # unlike what else is 429: only a new day ends it, or a person
        return refusal.retry_after is None
    return refusal.status < 500 and refusal.status not in _RETRY_STATUSES


def _refusal(rejected: ConnectionRejected) -> EdgeRequestError:
    """What the server said instead of 101."""
    body: Any = None
    with suppress(ValueError, RecursionError):  # a proxy's page: its status says enough
        body = msgspec.json.decode(rejected.body or b"null")
    said = body if isinstance(body, dict) else {}
    headers = {bytes(name).lower(): bytes(value) for name, value in rejected.headers or ()}
    retry_after = headers.get(b"retry-after", b"")
    return EdgeRequestError(
        rejected.status_code,
        str(said.get("code", "")),
        str(said.get("detail", "the WebSocket handshake was refused")),
        retry_after=float(retry_after) if retry_after.isdigit() else None,
    )
