"""A session in the hands of an embedding program: feed audio, read events, finalize; no socket, no server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import trio

from interview_edge.core.keys import check_stream
from interview_edge.core.models import DEFAULT_STREAM, Event, IngestStatus
from interview_edge.core.pcm import CHUNK_BYTES, SAMPLE_BYTES
from interview_edge.errors import (
    CHUNK_LENGTH,
    IN_FLIGHT_FULL,
    INVALID_SEQ,
    INVALID_TIMESTAMP,
    SLOW_READER,
    EdgeError,
)
from interview_edge.sessions.finalizer import FinalizeRequest, finalize
from interview_edge.sessions.node_parts import NodeParts
from interview_edge.sessions.partial_transcripts import Partial
from interview_edge.sessions.receipt import Receipt
from interview_edge.sessions.session import Session
from interview_edge.wire.chunk_dialect import MAX_SEQ, MAX_TIMESTAMP_MS

EVENTS_KEPT = 256  # for a reader of events that is behind
PARTIALS_KEPT = 4


class SessionHandle:
    """One open session. Valid inside the block of `Edge.session`, on its trio thread."""

    def __init__(self, session: Session, parts: NodeParts) -> None:
        self._session = session
        self._parts = parts

    @property
    def session_id(self) -> str:
        return self._session.session_id

    def status(self, stream: str = DEFAULT_STREAM) -> IngestStatus:
        """The stream's counters as of now."""
        return self._session.status(stream)

    def next_seq(self, stream: str = DEFAULT_STREAM) -> int:
        """The first missing seq: where to go on after a restart."""
        return self._session.stream(stream).ledger.next_seq

    async def feed(
        self,
        pcm: bytes,
        *,
        seq: int,
        stream: str = DEFAULT_STREAM,
        timestamp_ms: int | None = None,
        final: bool = False,
    ) -> Receipt:
        """Hand in one second (32,000 bytes of s16le mono at 16 kHz; the stream's `final` one may be
        shorter) and wait until it is safe at the node's ack level.

        Many may be under way at once, `max_in_flight` a stream. Raises EdgeError: invalid_seq,
        invalid_timestamp, invalid_stream, stream_limit, chunk_length, seq_too_far, stream_ended,
        final_below_held, chunk_conflict, in_flight_full, storage_unavailable, session_deleted, draining.
        Cancelled while waiting, the chunk may or may not be held: feed it again.
        """
        stamp = self._parts.wall_ms() if timestamp_ms is None else timestamp_ms
        _check_chunk(pcm, seq, stamp, final=final)
        live = self._session.stream(check_stream(stream))
        if not self._session.audio.may_accept:
            await self._session.audio.wait_to_accept(self._parts.settings.in_flight_timeout)
        if len(live.pending) >= self._parts.settings.max_in_flight:
            raise EdgeError(IN_FLIGHT_FULL, fields={"seq": seq})
        answered = trio.Event()
        receipt = self._session.audio.accept(
            live, seq, stamp, pcm, final=final, on_done=lambda _: answered.set()
        )
        await answered.wait()
        if receipt.error is not None:
            raise receipt.error
        return receipt

    @asynccontextmanager
    async def events(self) -> AsyncIterator[AsyncIterator[Event]]:
        """The session's events from now on, as they are committed. A reader that falls 256 behind gets
        EdgeError(slow_reader); `past_events` has them all."""
        sending, receiving = trio.open_memory_channel[Event](EVENTS_KEPT)
        overrun = False

        def tell(events: Sequence[Event]) -> None:
            nonlocal overrun
            try:
                for event in events:
                    sending.send_nowait(event)
            except trio.WouldBlock:
                overrun = True
                sending.close()
            except trio.ClosedResourceError:
                return  # closed by an earlier overrun

        async def read() -> AsyncIterator[Event]:
            async for event in receiving:
                yield event
            if overrun:
                raise EdgeError(SLOW_READER)

        unsubscribe = self._session.subscribe(tell)
        try:
            yield read()
        finally:
            unsubscribe()
            sending.close()
            receiving.close()

    @asynccontextmanager
    async def partials(self) -> AsyncIterator[AsyncIterator[Partial]]:
        """What is said so far of utterances that go on. A reader that is behind misses some."""
        sending, receiving = trio.open_memory_channel[Partial](PARTIALS_KEPT)

        def tell(told: Partial) -> None:
            # Full, or closed by the program.
            with suppress(trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
                sending.send_nowait(told)

        unsubscribe = self._session.partials.subscribe(tell)
        try:
            with sending, receiving:
                yield receiving
        finally:
            unsubscribe()

    async def past_events(self, *, after: int = 0, limit: int = 100) -> Sequence[Event]:
        """Committed events with seq_no > `after`."""
        return await self._parts.catalog.events(self.session_id, after=after, limit=limit)

    async def chunk(self, seq: int, stream: str = DEFAULT_STREAM) -> bytes | None:
        """The PCM of a held second, wherever it lies; None where it isn't held."""
        return await self._parts.reader.chunk(self._session.stream(stream).key, seq)

    async def finalize(
        self, metadata: Mapping[str, Any] | None = None, *, last_seq: Mapping[str, int] | None = None
    ) -> Mapping[str, Any]:
        """Write result.json; answers what `POST .../finalize` does. Raises EdgeError(finalize_timeout)."""
        result = await finalize(self._session, FinalizeRequest(metadata, last_seq or {}), self._parts)
        answer: Mapping[str, Any] = result.answer["answer"]
        return answer


def _check_chunk(pcm: bytes, seq: int, timestamp_ms: int, *, final: bool) -> None:
    """The rules that the dialect holds a frame to, for chunks that come without one."""
    fields = {"seq": seq}
    if type(seq) is not int or not 1 <= seq <= MAX_SEQ:
        raise EdgeError(INVALID_SEQ, fields=fields)
    if type(timestamp_ms) is not int or not 1 <= timestamp_ms <= MAX_TIMESTAMP_MS:
        raise EdgeError(INVALID_TIMESTAMP, fields=fields)
    whole = len(pcm) == CHUNK_BYTES
    short = final and SAMPLE_BYTES <= len(pcm) < CHUNK_BYTES and len(pcm) % SAMPLE_BYTES == 0
    if not whole and not short:
        raise EdgeError(CHUNK_LENGTH, CHUNK_LENGTH.detail.format(n=len(pcm)), fields=fields)
