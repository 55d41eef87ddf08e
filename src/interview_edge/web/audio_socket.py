"""The audio socket: one WebSocket of the chunk dialect on one stream of a session (contract ingest.md,
WebSocket).

The reader hands chunks to the session without waiting for their commits; the writer answers in order of
arrival. Between them stands the outbox: texts, and receipts whose answer isn't known yet. It is bounded:
beyond `max_in_flight` unacked chunks the reader stops, TCP pushes back, and after a deadline the socket
closes 1013.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial

import trio
from msgspec import UNSET

from interview_edge.access.principal import EVERYBODY, Principal
from interview_edge.core.keys import chunk_key
from interview_edge.core.models import Event, Layout, StreamKey
from interview_edge.errors import (
    DRAINING,
    IN_FLIGHT_FULL,
    SLOW_READER,
    STORAGE_UNAVAILABLE,
    EdgeError,
)
from interview_edge.sessions.finalizer import FinalizeRequest, finalize
from interview_edge.sessions.live_stream import LiveStream
from interview_edge.sessions.node_parts import NodeParts
from interview_edge.sessions.partial_transcripts import Partial
from interview_edge.sessions.registry import Registry
from interview_edge.sessions.session import Session
from interview_edge.sessions.transcript_events import place_of
from interview_edge.web.dialect_socket import NORMAL_CLOSURE, DialectSocket, Ending
from interview_edge.web.outbox import MAX_WAITING, Outbox
from interview_edge.web.peers import Peer
from interview_edge.web.refusals import known_error
from interview_edge.wire import chunk_dialect
from interview_edge.wire.frames import (
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
    Status,
    StatusReply,
    StreamStatus,
)

PARTIALS_WAITING = 64  # with more unread before it, a partial is dropped
EVENTS_WAITING = 1024  # a client that asked for events and leaves so many unread is closed


class AudioSocket(DialectSocket):
    """One socket on one stream."""

    def __init__(
        self,
        peer: Peer,
        key: StreamKey,
        registry: Registry,
        parts: NodeParts,
        principal: Principal = EVERYBODY,
    ) -> None:
        # The key an ack names; with other layouts the object isn't known yet (contract, Keys).
        named = parts.settings.layout is Layout.CHUNKS
        outbox = Outbox(parts.settings.max_in_flight, partial(chunk_key, key) if named else None)
        super().__init__(peer, outbox, parts.settings, principal)
        self._outbox: Outbox = outbox
        self._key = key
        self._registry = registry
        self._parts = parts
        self._session: Session | None = None
        self._stream: LiveStream | None = None
        self._subscriptions: list[Callable[[], None]] = []

    # -- life

    def _let_go(self) -> None:
        self._outbox.forget()
        for unsubscribe in self._subscriptions:
            unsubscribe()
        if self._session is not None:
            self._session.sockets -= 1

    def _told_of_fault(self) -> dict[str, str]:
        return {"session_id": self._key.session_id, "stream": self._key.stream}

    def leave(self, time_left: float) -> None:
        """Drain: tell the client where to resume, answer what was accepted, close 1012. `time_left` in
        seconds.
        """
        self._outbox.urge(GoingAway(self._next_seq, int(time_left * 1000)))
        self._end(Ending.of(DRAINING))
        self._reading.cancel()

    def _is_overdue(self, now: float) -> bool:
        return self._outbox.is_overdue(now, self._settings.storage_timeout)

    # -- reading

    async def _take(self, text: bool, data: bytes, held: AsyncExitStack, nursery: trio.Nursery) -> None:
        """One message: decoded and carried out, or answered with its error."""
        try:
            if len(self._outbox) >= MAX_WAITING:
                await self._outbox.wait_for_room(self._settings.in_flight_timeout, SLOW_READER)
            if text:
                frame = chunk_dialect.decode_text(data, session_id=self._key.session_id)
            else:
                frame = chunk_dialect.decode_binary(data)
            if type(frame) is ChunkFrame:
                await self._take_chunk(frame, held)
            else:
                await self._answer(frame, held, nursery)
        except EdgeError as error:
            self._refuse(error)

    async def _take_chunk(self, frame: ChunkFrame, held: AsyncExitStack) -> None:
        stream = self._stream or await self._open(held)
        if not self._outbox.may_owe:
            await self._outbox.wait_for_room(self._settings.in_flight_timeout, IN_FLIGHT_FULL)
        if not self._live.audio.may_accept:
            await self._live.audio.wait_to_accept(self._settings.in_flight_timeout)
        receipt = self._live.audio.accept(
            stream, frame.seq, frame.timestamp_ms, frame.pcm, final=frame.final, on_done=self._outbox.settled
        )
        self._outbox.owe(receipt)

    async def _open(self, held: AsyncExitStack) -> LiveStream:
        """Open the session with the first frame that needs it; it stays held until the socket ends."""
        if self._session is None:
            self._session = await held.enter_async_context(
                self._registry.use(self._key.session_id, self.principal.caller)
            )
            self._session.sockets += 1
        if self._stream is None:
            self._stream = self._session.stream(self._key.stream)
        return self._stream

    async def _answer(self, frame: ClientFrame, held: AsyncExitStack, nursery: trio.Nursery) -> None:
        match frame:
            case Ping():
                # Ahead of the acks: a client that asks whether we live must not wait for the disk.
                self._outbox.urge(Pong(self._parts.wall_ms()))
            case Close():
                closing = Closing.of(frame)
                self._outbox.say(closing)
                self._end(Ending(NORMAL_CLOSURE, closing.reason, patient=True))
            case Hello():
                await self._open(held)
                self._greet(frame)
            case Status():
                await self._open(held)
                self._outbox.reply(self._status)
            case Finalize():
                await self._open(held)
                nursery.start_soon(self._finalize, frame)

    # -- answering

    def _refuse(self, error: EdgeError) -> None:
        """Answer with the error in its turn; one that ends the socket goes ahead of what may never be
        answered.
        """
        if error.kind.close is None or error.kind is STORAGE_UNAVAILABLE:
            self._outbox.say(ErrorFrame.of(error))
            if error.kind is STORAGE_UNAVAILABLE:
                self._outbox.note_trouble()
        else:
            self._outbox.urge(ErrorFrame.of(error))
            self._end(Ending.of(error.kind))

    def _greet(self, hello: Hello) -> None:
        if hello.events and not self._subscriptions:
            self._subscriptions.append(self._live.subscribe(self._tell))
            self._subscriptions.append(self._live.partials.subscribe(self._tell_partial))
        if hello.resolve:
            self._live.resolves = True
        self._outbox.reply(self._ready)

    @property
    def _live(self) -> Session:
        if self._session is None:
            raise RuntimeError("no frame has opened the session yet")
        return self._session

    def _ready(self) -> Ready:
        status = self._live.status(self._key.stream)
        return Ready(
            session_id=self._key.session_id,
            ingest=StreamStatus.of(status),
            next_seq=self._next_seq,
            missing=status.missing,
            missing_truncated=status.missing_truncated or UNSET,
            max_in_flight=self._settings.max_in_flight,
            ack=self._settings.ack.value,
            epoch=self._live.epoch,
        )

    def _status(self) -> StatusReply:
        return StatusReply.of(self._live.status(self._key.stream))

    @property
    def _next_seq(self) -> int:
        return 1 if self._stream is None else self._stream.ledger.next_seq

    def _tell(self, events: Sequence[Event]) -> None:
        """The session's committed events, for a client that asked; one that doesn't read them is closed."""
        if len(self._outbox) + len(events) > EVENTS_WAITING:
            self._end(Ending.of(SLOW_READER))
            return
        for event in events:
            self._outbox.say(EventFrame(event.to_wire()))

    def _tell_partial(self, told: Partial) -> None:
        """What is said so far, unless so much is unread that it would be past by the time it is read."""
        if len(self._outbox) < PARTIALS_WAITING:
            utterance, found = told.utterance, told.found
            place = place_of(utterance.start_sample, utterance.end_sample)
            self._outbox.say(
                PartialFrame(
                    stream=utterance.stream,
                    utterance=utterance.number,
                    **place,
                    text=found.text,
                    language=found.language,
                )
            )

    async def _finalize(self, frame: Finalize) -> None:
        """Finalize beside the reading: chunks and pings go on meanwhile."""
        stream = self._key.stream
        ends = {} if frame.last_seq is None else {stream: frame.last_seq}
        try:
            result = await finalize(self._live, FinalizeRequest(frame.metadata, ends), self._parts)
        except Exception as error:  # whatever it failed with, the audio goes on
            self._outbox.urge(ErrorFrame.of(known_error(error)))
        else:
            answer = result.answer["answer"]
            missing = answer["missing_by_stream"]
            cut = stream in result.answer["cut"] or UNSET
            self._outbox.urge(
                Finalized(result.result_key, answer["complete"], missing.get(stream, []), cut, missing)
            )
