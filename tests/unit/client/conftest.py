"""A small server of the chunk dialect on a real socket, with faults to order. It keeps a real ledger."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, serve_websocket

from interview_edge.client import Persistence
from interview_edge.core.ledger import Ledger, Standing
from interview_edge.core.models import Event
from interview_edge.errors import CHUNK_CONFLICT, DRAINING, STORAGE_UNAVAILABLE, EdgeError
from interview_edge.wire import chunk_dialect
from interview_edge.wire.frames import (
    Ack,
    ChunkFrame,
    ClientFrame,
    Close,
    Closing,
    ErrorFrame,
    EventFrame,
    Finalize,
    Finalized,
    GoingAway,
    Hello,
    PartialFrame,
    Ping,
    Pong,
    Ready,
    ServerFrame,
    StatusReply,
    StreamStatus,
)

SESSION = "a/b 面试"


@attrs.define
class DialectServer:
    """Holds one stream of one session. `before` sees each frame and may raise a fault instead of the answer;
    while `gate` is not set, chunks aren't answered."""

    session_id: str = SESSION

    base_url: str = ""
    max_in_flight: int = 4
    ledger: Ledger = attrs.field(factory=Ledger)
    pcm: dict[int, bytes] = attrs.field(factory=dict)
    received: list[int] = attrs.field(factory=list)
    paths: list[str] = attrs.field(factory=list)
    messages: list[type] = attrs.field(factory=list)
    late: list[str | bytes] = attrs.field(factory=list)
    hellos: list[Hello] = attrs.field(factory=list)
    reject: list[int] = attrs.field(factory=list)
    reject_code: str = "draining"
    retry_after: str = "0"
    silent: int = 0  # how many connections get no answer at all
    before: Callable[[ClientFrame], None] = lambda frame: None
    events: list[Event] = attrs.field(factory=list)
    partials: list[PartialFrame] = attrs.field(factory=list)
    gate: trio.Event = attrs.field(factory=trio.Event)
    second_connection: trio.Event = attrs.field(factory=trio.Event)

    async def serve(self, request: WebSocketRequest) -> None:
        self.paths.append(request.path)
        if len(self.paths) == 2:
            self.second_connection.set()
        if self.reject:
            headers = [(b"retry-after", self.retry_after.encode())] if self.retry_after else []
            said = {"detail": "go away", "code": self.reject_code}
            await request.reject(self.reject.pop(0), extra_headers=headers, body=json.dumps(said).encode())
            return
        ws = await request.accept()
        silent, self.silent = self.silent > 0, max(0, self.silent - 1)
        try:
            while silent:
                await ws.get_message()
            while True:
                await self._answer(ws, await ws.get_message())
        except Fault as fault:
            await fault.act(self, ws)
        except ConnectionClosed:
            pass

    async def _answer(self, ws: WebSocketConnection, message: str | bytes) -> None:
        self.messages.append(type(message))
        frame = chunk_dialect.decode(message, session_id=SESSION)
        if isinstance(frame, ChunkFrame):
            self.received.append(frame.seq)
            await self.gate.wait()
        try:
            self.before(frame)
            reply = self._reply(frame)
        except EdgeError as error:
            reply = ErrorFrame.of(error)
        await ws.send_message(chunk_dialect.encode(reply))
        if isinstance(frame, Close):
            await ws.aclose()
        if isinstance(frame, Hello) and frame.events:
            for event in self.events:
                await ws.send_message(chunk_dialect.encode(EventFrame(event.to_wire())))
            for partial in self.partials:
                await ws.send_message(chunk_dialect.encode(partial))

    def _reply(self, frame: ClientFrame) -> ServerFrame:
        match frame:
            case ChunkFrame():
                return self.hold(frame)
            case Hello():
                self.hellos.append(frame)
                return self._ready()
            case Finalize():
                missing, _ = self.ledger.missing(frame.last_seq)
                return Finalized("sessions/x/result.json", not missing, missing)
            case Ping():
                return Pong(1_700_000_000_000)
            case Close():
                return Closing.of(frame)
            case _:
                return StatusReply.of(self.ledger.status(SESSION, 0))

    def hold(self, chunk: ChunkFrame) -> Ack:
        new = self.ledger.standing(chunk.seq, final=chunk.final) is Standing.NEW
        if new:
            self.pcm[chunk.seq] = chunk.pcm
            self.ledger.admit(chunk.seq, len(chunk.pcm), final=chunk.final, at=0)
        elif self.pcm[chunk.seq] != chunk.pcm:
            raise EdgeError(CHUNK_CONFLICT, fields={"seq": chunk.seq})
        else:
            self.ledger.count_duplicate(0)
        ledger = self.ledger
        status = "stored" if new else "duplicate"
        counts = (ledger.last_seq, ledger.missing_count, ledger.duplicates, ledger.next_seq)
        return Ack(chunk.seq, status, *counts)

    # -- faults, to be raised by `before`

    def cut(self, holding: ChunkFrame | None = None) -> Exception:
        """The network goes without a word, before or after the chunk was held."""
        return Fault(holding=holding)

    def closing_with(self, code: int) -> Exception:
        return Fault(close=code)

    def going_away(self, next_seq: int) -> Exception:
        return Fault(saying=(GoingAway(next_seq, 100),), close=DRAINING.close)

    def going_away_with_a_pong(self) -> Exception:
        """The pong tells that going_away was read; then whatever still comes goes into `late`."""
        return Fault(saying=(GoingAway(1, 100), Pong(1)), lingering=0.02, close=DRAINING.close)

    def store_down(self) -> Exception:
        told = ErrorFrame.of(EdgeError(STORAGE_UNAVAILABLE))
        return Fault(saying=(told,), close=STORAGE_UNAVAILABLE.close)

    def _ready(self) -> Ready:
        missing, _ = self.ledger.missing()
        return Ready(
            session_id=SESSION,
            ingest=StreamStatus.of(self.ledger.status(SESSION, 0)),
            next_seq=self.ledger.next_seq,
            missing=missing,
            max_in_flight=self.max_in_flight,
            ack="journal",
            epoch=len(self.paths),
        )


@attrs.define
class Fault(Exception):  # it is ordered, not an error
    """Instead of an answer: hold the chunk or not, say something or not, close with a code or cut."""

    holding: ChunkFrame | None = None
    saying: tuple[ServerFrame, ...] = ()
    lingering: float = 0
    close: int | None = None

    async def act(self, server: DialectServer, ws: WebSocketConnection) -> None:
        if self.holding is not None:
            server.hold(self.holding)
        for frame in self.saying:
            await ws.send_message(chunk_dialect.encode(frame))
        with trio.move_on_after(self.lingering):
            while self.lingering:
                server.late.append(await ws.get_message())
        if self.close is not None:
            await ws.aclose(self.close, "fault")
        else:
            await ws._stream.aclose()  # the network goes, without a close frame


@pytest.fixture
async def server(nursery: trio.Nursery) -> DialectServer:
    dialect_server = DialectServer()
    dialect_server.gate.set()
    started: Any = await nursery.start(
        lambda task_status: serve_websocket(
            dialect_server.serve, "127.0.0.1", 0, None, task_status=task_status
        )
    )
    dialect_server.base_url = f"http://127.0.0.1:{started.port}"
    return dialect_server


@pytest.fixture
def hasty() -> Persistence:
    """Reconnects in milliseconds, gives up in seconds."""
    return Persistence(give_up_after=5, retry_initial=0.001, retry_max=0.005, keepalive=5, answer_timeout=2)
