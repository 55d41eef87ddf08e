"""Sending one stream, with resume: the client keeps what is not acked, and nothing else.

After a cut it connects again by itself, asks what the server holds, and sends only what it doesn't.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast

import attrs
import trio

from interview_edge.client.errors import IngestClosed
from interview_edge.client.link import Link, Persistence, Target
from interview_edge.client.outbox import Request
from interview_edge.client.urls import ingest_url, with_key
from interview_edge.core.models import DEFAULT_STREAM, SeqRanges
from interview_edge.wire import chunk_dialect
from interview_edge.wire.frames import (
    Ack,
    ChunkFrame,
    Close,
    Closing,
    Finalize,
    Finalized,
    Ping,
    Pong,
    Ready,
    ServerFrame,
    Status,
    StatusReply,
)

F = TypeVar("F", bound=ServerFrame)


class Ingest:
    """One stream being sent. Made by `open_ingest`; safe to use from several tasks at once.

    Every method raises `IngestClosed` or `GaveUp` (or `EdgeRequestError`, where a reconnect was refused) once
    the stream can't go on.
    """

    def __init__(self, link: Link, max_unacked: int | None) -> None:
        self._link = link
        self._max_unacked = max_unacked

    # -- looking

    @property
    def ready(self) -> Ready:
        """The server's last `ready`."""
        if self._link.ready is None:
            raise RuntimeError("open_ingest has not connected yet")
        return self._link.ready

    @property
    def acked(self) -> int:
        """How many of our chunks the server holds, by its acks or by what it told after a reconnect."""
        return self._link.acked

    @property
    def unacked(self) -> tuple[int, ...]:
        """The seqs that wait for an ack, in the order of sending."""
        return self._link.outbox.unacked

    @property
    def next_seq(self) -> int:
        """The seq that `send` gives next: the lowest one neither held at the start nor sent since."""
        return self._link.outbox.next_seq

    @property
    def missing(self) -> SeqRanges:
        """The missing ranges as of the last `ready` or `status`."""
        return self._link.missing

    @property
    def connected(self) -> bool:
        """Whether there is a connection now, after its `ready`."""
        return self._link.connected

    @property
    def reconnects(self) -> int:
        """How often the connection was made again."""
        return max(0, self._link.connections - 1)

    @property
    def closed(self) -> bool:
        """Whether it is over, by `close` or by a failure."""
        return self._link.failure is not None

    # -- doing

    async def wait_connected(self) -> None:
        """Wait for the first `ready`."""
        await trio.lowlevel.checkpoint()
        while self._link.ready is None:
            self._raise_what_came()
            await self._link.changed.park()

    async def send(
        self, pcm: bytes, *, seq: int | None = None, timestamp_ms: int | None = None, final: bool = False
    ) -> int:
        """Send one second (32,000 bytes of s16le mono at 16 kHz; 2..32,000 where `final`); answers its seq.

        `seq` places it; without, it goes to `next_seq`. `timestamp_ms` defaults to now. Waits while as many
        chunks as allowed are unacked, and returns before the ack: see `drain`. Cancelled, it has sent
        nothing. Raises ValueError for a seq that waits for its ack already, and `ChunkRefused` for an earlier
        chunk that the server refused (this one is not sent then).
        """
        await trio.lowlevel.checkpoint()
        self._raise_what_came()
        while len(self._link.outbox) >= (self._max_unacked or self.ready.max_in_flight):
            await self._link.changed.park()
            self._raise_what_came()
        number = self.next_seq if seq is None else seq
        at = int(time.time() * 1000) if timestamp_ms is None else timestamp_ms
        self._link.outbox.add(ChunkFrame(number, at, final, bytes(pcm)))
        self._link.notice()
        return number

    async def drain(self) -> None:
        """Wait until every chunk sent so far or meanwhile is acked. Raises `ChunkRefused`, one at a call."""
        await trio.lowlevel.checkpoint()
        self._raise_what_came()
        while self._link.outbox:
            await self._link.changed.park()
            self._raise_what_came()

    async def status(self) -> StatusReply:
        """The stream's status, after everything sent before."""
        reply = await self._ask(Status(), StatusReply)
        self._link.missing = reply.missing
        return reply

    async def ping(self) -> int:
        """The server's clock, epoch ms."""
        return (await self._ask(Ping(), Pong)).ts

    async def finalize(
        self, last_seq: int | None = None, metadata: Mapping[str, Any] | None = None
    ) -> Finalized:
        """End the stream at `last_seq` (None: where it stands) and finalize the session.

        Comes after everything sent before. Raises `FrameRefused` with `finalize_timeout` where the object
        store didn't answer in time: ask again.
        """
        return await self._ask(Finalize(last_seq, metadata), Finalized)

    async def close(self, reason: str | None = None) -> None:
        """Tell the server and close; what is unacked is given up (`drain` first). Idempotent."""
        if self._link.failure is None:
            with trio.move_on_after(self._link.persistence.answer_timeout):
                await self._ask(Close(reason), Closing)
            self._link.fail(IngestClosed(1000, reason))
        self._link.stop()
        await trio.lowlevel.checkpoint()

    def events(self) -> Events:
        """The session's events from now on, where `open_ingest` asked for them, and between them its partials
        (type `partial`, without `seq_no`: what was said so far); ends when the ingest does.

        At most 1,024 wait to be read, then the oldest go; nothing is repeated. Events that fell into a cut
        are at `EdgeHttp.events`, by `seq_no`.
        """
        return Events(self._link)

    # -- inside

    async def _ask(self, frame: Status | Ping | Finalize | Close, answer: type[F]) -> F:
        await trio.lowlevel.checkpoint()
        if self._link.failure is not None:
            raise self._link.failure
        request = Request(chunk_dialect.encode_client(frame), answer)
        self._link.outbox.ask(request)
        self._link.notice()
        try:
            while request.reply is None:
                await self._link.changed.park()
                if request.reply is None and self._link.failure is not None:
                    raise self._link.failure
        finally:
            self._link.outbox.withdraw(request)
            self._link.notice()
        if isinstance(request.reply, Exception):
            raise request.reply
        return cast(F, request.reply)  # the link gives a request only the frame that it names

    def _raise_what_came(self) -> None:
        if self._link.refusals:
            raise self._link.refusals.popleft()
        if self._link.failure is not None:
            raise self._link.failure


@attrs.frozen
class Events(AsyncIterator[Mapping[str, Any]]):
    """What `Ingest.events` gives: each event to one reader."""

    _link: Link

    async def __anext__(self) -> Mapping[str, Any]:
        await trio.lowlevel.checkpoint()
        link = self._link
        while not link.events and link.partial is None:
            if link.failure is not None:
                raise StopAsyncIteration
            await link.changed.park()
        if link.events:
            return link.events.popleft()
        partial, link.partial = link.partial, None
        return partial or {}


@asynccontextmanager
async def open_ingest(
    base_url: str,
    session_id: str,
    stream: str = DEFAULT_STREAM,
    *,
    binary: bool = True,
    events: bool = False,
    max_unacked: int | None = None,
    api_key: str | None = None,
    headers: Mapping[str, str] | None = None,
    ssl_context: ssl.SSLContext | None = None,
    persistence: Persistence | None = None,
    on_ack: Callable[[Ack], None] | None = None,
) -> AsyncIterator[Ingest]:
    """Connect a stream of a session; inside, it reconnects and resumes by itself.

    Leaving the block normally drains and closes; leaving it by an exception closes at once, unacked chunks
    unsent. `max_unacked` bounds what is kept (default: the server's `max_in_flight`; a live source may want
    more, 32,000 bytes each, to bridge an outage). `api_key` is sent as `Authorization: Bearer`. `on_ack` is
    called for each ack, on the trio thread, and must not block or raise. Raises
    `EdgeRequestError` where the server refuses the stream, `GaveUp` where it can't be reached.
    """
    target = Target(
        url=ingest_url(base_url, session_id, stream),
        session_id=session_id,
        binary=binary,
        events=events,
        headers=with_key(headers, api_key),
        ssl_context=ssl_context,
    )
    link = Link(target, persistence or Persistence(), on_ack)
    ingest = Ingest(link, max_unacked)
    raised: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run)
        try:
            await ingest.wait_connected()
            yield ingest
            if not ingest.closed:
                await ingest.drain()
                await ingest.close()
        except Exception as error:  # raised again below, outside the nursery: callers see it, not a group
            raised = error
        nursery.cancel_scope.cancel()
    if raised is not None:
        raise raised
