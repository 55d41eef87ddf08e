"""A recording whose seconds the server cuts and numbers (contract stream.md), from a start to its rest.

Its sender keeps nothing and is acked nothing, so everything that was received is either handed to the journal
or still held here; a cancellation loses none of it, and `rest` hands in what is left.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import structlog
import trio

from interview_edge.core.pcm import CHUNK_BYTES, CHUNK_SAMPLES, SAMPLE_BYTES
from interview_edge.core.seconds import SecondCutter
from interview_edge.errors import CHUNK_CONFLICT, STORAGE_UNAVAILABLE, EdgeError
from interview_edge.sessions.declared_events import padded_event
from interview_edge.sessions.live_stream import LiveStream
from interview_edge.sessions.node_parts import NodeParts
from interview_edge.sessions.receipt import Receipt
from interview_edge.sessions.session import Session

log = structlog.get_logger(__name__)


class Recording:
    """One recording into a stream, after everything that the stream holds already.

    A stream has one at a time: `begin` has the one before give way, since of two the server couldn't tell
    which second comes first. `on_trouble` is called (synchronously) when the store refuses what it had
    accepted.
    """

    def __init__(
        self,
        session: Session,
        stream: LiveStream,
        parts: NodeParts,
        *,
        on_taken_over: Callable[[], None],
        on_trouble: Callable[[EdgeError], None],
    ) -> None:
        self._session = session
        self._stream = stream
        self._parts = parts
        self._on_taken_over = on_taken_over
        self._on_trouble = on_trouble
        self._cutter = SecondCutter()
        self._next_seq = 1
        self._origin = 0
        self._padded = 0
        self._in_flight: deque[Receipt] = deque()
        self._changed = trio.lowlevel.ParkingLot()
        self._over = trio.Event()

    async def begin(self) -> None:
        """Have whoever records into the stream give way, and number on from there.

        Raises EdgeError(stream_ended) for a stream after whose final chunk nothing may follow.
        """
        with trio.move_on_after(self._parts.settings.close_timeout):
            while (other := self._stream.recording) is not None:
                await other.give_way()
        ledger = self._stream.ledger
        ledger.standing(ledger.last_known + 1)
        self._stream.recording = self
        self._next_seq = ledger.last_known + 1
        self._origin = (self._next_seq - 1) * CHUNK_SAMPLES

    async def give_way(self) -> None:
        """See `Recorder.give_way`."""
        self._on_taken_over()
        await self._over.wait()

    def end(self) -> None:
        """It takes no more. Idempotent."""
        if self._stream.recording is self:
            self._stream.recording = None
        self._over.set()

    @property
    def stream(self) -> LiveStream:
        """Where it goes."""
        return self._stream

    @property
    def clock(self) -> int:
        """Samples received."""
        return self._cutter.samples

    @property
    def origin(self) -> int:
        """Where the clock's 0 is in the stream, in samples."""
        return self._origin

    # -- taking

    def add(self, pcm: bytes) -> None:
        """Take audio of whole samples, at most a second; `store` hands its seconds in."""
        self._cutter.add(pcm)

    async def store(self) -> None:
        """Hand every whole second to the session. Waits where the journal is behind: then its caller doesn't
        read on.

        Raises EdgeError: storage_unavailable after `in_flight_timeout`; session_deleted, draining, internal
        where the session ends; stream_ended where somebody ended the stream. Cancelled or failed, the rest
        waits for the next call.
        """
        while self._cutter.has_second:
            if not self._may_accept or not self._accept():
                await self._wait_to_accept()
            else:
                self._cutter.drop()

    async def rest(self) -> None:
        """Hand in all that is left, the last second filled up with silence, which the record says. Raises as
        `store`.
        """
        self._padded += self._cutter.pad()  # once, however often it is tried
        await self.store()
        if self._padded:
            seq, samples, self._padded = self._next_seq - 1, self._padded, 0
            event = padded_event(self._stream.key.stream, seq, samples, self._parts.wall_ms())
            self._session.declared.add(event)

    @property
    def held_bytes(self) -> int:
        """What no journal has been given yet."""
        return len(self._cutter.held)

    @property
    def _may_accept(self) -> bool:
        return len(self._in_flight) < self._parts.settings.max_in_flight and self._session.audio.may_accept

    def _accept(self) -> bool:
        """Whether the session took the oldest second; if not, the journal is full at present."""
        seq = max(self._next_seq, self._stream.ledger.last_known + 1)
        try:
            receipt = self._session.audio.accept(
                self._stream, seq, self._parts.wall_ms(), self._cutter.first(), on_done=self._settled
            )
        except EdgeError as error:
            if error.kind is not STORAGE_UNAVAILABLE:
                raise
            return False
        # Somebody of the chunk dialect, who numbers for himself, was ahead of us: the clock goes on behind.
        self._origin += (seq - self._next_seq) * CHUNK_SAMPLES
        self._next_seq = seq + 1
        if not receipt.done:
            self._in_flight.append(receipt)
        return True

    async def _wait_to_accept(self) -> None:
        settings = self._parts.settings
        with trio.move_on_after(settings.in_flight_timeout):
            while True:
                if len(self._in_flight) >= settings.max_in_flight:
                    await self._changed.park()
                elif not self._session.audio.may_accept:
                    await self._parts.journal.wait_for_room()
                elif self._accept():
                    self._cutter.drop()
                    return
                else:  # the disk is full, and nobody tells when it isn't
                    await trio.sleep(settings.journal_retry_interval)
        raise EdgeError(STORAGE_UNAVAILABLE)

    # -- what became of it

    def _settled(self, receipt: Receipt) -> None:
        while self._in_flight and self._in_flight[0].done:
            self._in_flight.popleft()
        if receipt.error is not None:
            log.error(
                "a second of a recording was refused after it was accepted",
                session_id=self._session.session_id,
                seq=receipt.seq,
                code=receipt.error.kind.code,
            )
            if receipt.error.kind is not CHUNK_CONFLICT:  # those bytes are kept apart
                self._on_trouble(receipt.error)
        self._changed.unpark_all()

    @property
    def is_settled(self) -> bool:
        """Whether everything that was handed in is safe at the node's ack level, or refused."""
        return not self._in_flight

    async def settled(self) -> None:
        """Wait for that. The caller sets the deadline."""
        while self._in_flight:
            await self._changed.park()

    @property
    def owed_since(self) -> float | None:
        """Since when the oldest second waits for its commit (trio's clock); None where none does."""
        return self._in_flight[0].accepted_at if self._in_flight else None

    # -- reading

    async def read(self, start: int, end: int) -> bytes:
        """The PCM between two samples of the clock, at most what was received, wherever it lies.

        Raises as the reader of journal and store does. What comes back empty-handed there is silence.
        """
        first, last = self._origin + start, self._origin + min(end, self.clock)
        pcm = bytearray()
        for seq in range(first // CHUNK_SAMPLES + 1, -(-last // CHUNK_SAMPLES) + 1):
            pcm += await self._second(seq)
        skipped = first % CHUNK_SAMPLES * SAMPLE_BYTES
        return bytes(pcm[skipped : skipped + max(0, last - first) * SAMPLE_BYTES])

    async def _second(self, seq: int) -> bytes:
        """One second; of the begun one, what there is of it."""
        if seq >= self._next_seq:
            at = (seq - self._next_seq) * CHUNK_BYTES
            return self._cutter.held[at : at + CHUNK_BYTES]
        pending = self._stream.pending.get(seq)
        if pending is not None:
            await pending.settled()
        pcm = self._stream.shown(seq)
        if pcm is None:
            pcm = await self._parts.reader.chunk(self._stream.key, seq)
        return bytes(CHUNK_BYTES) if pcm is None else pcm
