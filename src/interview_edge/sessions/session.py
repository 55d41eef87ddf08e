"""A live session: its nursery, its streams, and the two lanes in which everything about it happens in
order.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

import trio

from interview_edge.catalog.protocol import FinalizedResult, SessionRecord
from interview_edge.core.ledger import Ledger, Standing
from interview_edge.core.models import (
    DEFAULT_STREAM,
    AckLevel,
    Chunk,
    Event,
    IngestStatus,
    SessionState,
    StreamKey,
    Utterance,
    VadPosition,
)
from interview_edge.core.pcm import Pcm, identify
from interview_edge.core.window import Window
from interview_edge.errors import (
    CHUNK_CONFLICT,
    DRAINING,
    INTERNAL,
    RESOLVE_BUSY,
    STORAGE_UNAVAILABLE,
    STREAM_LIMIT,
    EdgeError,
    ErrorKind,
)
from interview_edge.journal import Append, JournalError
from interview_edge.sessions.audience import Audience
from interview_edge.sessions.countdown import Countdown
from interview_edge.sessions.declared_events import DeclaredEvents
from interview_edge.sessions.listening import Listening
from interview_edge.sessions.live_stream import LiveStream, Pending
from interview_edge.sessions.node_parts import EventListener, NodeParts
from interview_edge.sessions.partial_transcripts import Partial
from interview_edge.sessions.receipt import Outcome, Receipt
from interview_edge.settings import MAX_STREAMS


class Session:
    """One live interview on this node.

    `run` is its task: the nursery inside owns the VAD pipeline and everything else that belongs to the
    session, and
    ends with it. The registry starts `run` and hands the session out; `users` and `sockets` count who holds
    it.

    The audio lane is `accept`: synchronous, so chunks of all sockets take their places in order of arrival
    and no cancellation can fall between the ledger's answer and the journal's queue. The state lane is
    `state_lane`.
    """

    def __init__(self, record: SessionRecord, streams: dict[str, LiveStream], parts: NodeParts) -> None:
        self.session_id = record.session_id
        self.owner = record.owner
        self.epoch = record.epoch
        self.created_at = record.created_at
        self.updated_at = record.updated_at
        self.state: SessionState = record.state
        self.state_in_doubt = False  # a commit of it was cut off: the catalog knows
        self.event_count = record.event_count
        self.finalized: FinalizedResult | None = record.finalized
        self.streams = streams
        self.users = 0
        self.sockets = 0
        self.resolves = parts.settings.auto_resolve  # each utterance by itself (auto_resolving.py)
        self.unjournalled = 0
        self._writing: set[Pending] = set()  # of level `memory`: admitted, not journalled yet
        self.last_used = trio.current_time()
        self._parts = parts
        self._level = parts.settings.ack
        self.names = Countdown()  # automatic resolves under way
        self.lines = Countdown()  # of a client's own utterances: those that are transcribed
        self._events: Audience[Sequence[Event]] = Audience()
        self.partials: Audience[Partial] = Audience()
        self._lane = trio.Lock()
        self._lane_waiting = 0
        self._closing = trio.Event()
        self._refusal: ErrorKind | None = None
        self._nursery: trio.Nursery | None = None
        positions = {name: stream.vad for name, stream in record.streams.items() if stream.vad is not None}
        self._listening = Listening(self, positions, parts)
        self.declared = DeclaredEvents(self, parts)

    # -- life

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own the session until `close`, then finish within `close_timeout` and give everything back.

        Cancelled from outside it gives the memory back at once: what was acked is in the journal.
        """
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._listening.run)
                task_status.started()
                await self._closing.wait()
                self._parts.archive.hurry(self.session_id)
                with trio.move_on_after(self._parts.settings.close_timeout):
                    await self.declared.finish()
                    await self._listening.finish()
                nursery.cancel_scope.cancel()
        finally:
            self._nursery = None
            # A chunk taken from here on would be missing in the ledger of the session that opens next.
            self._refusal = self._refusal or INTERNAL
            self._listening.close()
            for stream in self.streams.values():
                stream.close()

    def close(self, why: ErrorKind = DRAINING) -> None:
        """Ask `run` to finish; who still holds the session is refused with `why` from here on. Idempotent."""
        self._refusal = why
        self._closing.set()

    @property
    def closing(self) -> bool:
        return self._closing.is_set()

    @property
    def idle(self) -> bool:
        """Nobody holds the session and nothing of it is on its way."""
        on_its_way = self._writing or any(stream.pending for stream in self.streams.values())
        return self.users == 0 and not (on_its_way or self.names.count or self.lines.count)

    @property
    def holds_only_copy(self) -> bool:
        """Whether a window may hold audio that no journal has: at ack level `memory`, before its commit or
        where that failed.
        """
        return bool(self._writing or self.unjournalled)

    # -- streams and status

    def stream(self, name: str) -> LiveStream:
        """The stream of this name, made where it is new. Raises EdgeError(stream_limit) for a fifth one."""
        stream = self.streams.get(name)
        if stream is None:
            if len(self.streams) >= MAX_STREAMS:
                raise EdgeError(STREAM_LIMIT)
            window = Window(self._parts.settings.window_ms)
            stream = self.streams[name] = LiveStream(StreamKey(self.session_id, name), Ledger(), window)
        return stream

    def status(self, name: str = DEFAULT_STREAM) -> IngestStatus:
        """A stream's counters as of now; those of an empty stream where there is none yet."""
        stream = self.streams.get(name)
        ledger = Ledger() if stream is None else stream.ledger
        return ledger.status(self.session_id, self.created_at)

    # -- the audio lane

    @property
    def may_accept(self) -> bool:
        """Whether the node's journal has room for another chunk."""
        return self._level is AckLevel.MEMORY or self._parts.journal.has_room

    async def wait_to_accept(self, timeout: float) -> None:
        """Wait, `timeout` seconds at most, until the chunks of all sessions that wait for their commit leave
        room for another one. Who sends faster than the disk takes is so held back and not refused.

        Raises EdgeError(storage_unavailable) after the timeout.
        """
        with trio.move_on_after(timeout) as waiting:
            await self._parts.journal.wait_for_room()
        if waiting.cancelled_caught:
            raise EdgeError(STORAGE_UNAVAILABLE)

    def accept(
        self,
        stream: LiveStream,
        seq: int,
        timestamp_ms: int,
        pcm: Pcm,
        *,
        final: bool = False,
        on_done: Callable[[Receipt], None] | None = None,
    ) -> Receipt:
        """Take one chunk; the receipt is done when it is safe at the node's ack level, or refused.

        Raises EdgeError, with nothing taken, for a seq that the ledger refuses (`seq_too_far`,
        `stream_ended`,
        `final_below_held`), `storage_unavailable` where the journal is full or its queue is, and the reason
        of its closing once the session is closed.
        """
        if self._refusal is not None:
            raise EdgeError(self._refusal, fields={"seq": seq})
        ledger = stream.ledger
        standing = ledger.standing(seq, final=final)
        sha256, identity = identify(pcm, final=final)
        chunk = Chunk(seq, timestamp_ms, final, pcm, sha256, identity)
        receipt = Receipt(seq, trio.current_time(), on_done)
        if standing is Standing.NEW:
            self._journal_new(stream, chunk, receipt)
        elif standing is Standing.PENDING:
            stream.pending[seq].wait_with(_without_audio(chunk), receipt)
        else:
            if not self.start_soon(partial(self._compare_with_held, stream, chunk, receipt)):
                raise EdgeError(STORAGE_UNAVAILABLE)
        return receipt

    def _journal_new(self, stream: LiveStream, chunk: Chunk, receipt: Receipt) -> None:
        pending = Pending(chunk.identity, len(chunk.pcm), chunk.final, receipt)
        at = self._parts.wall_ms()
        append = Append(stream.key, chunk, at, partial(self._journalled, stream, chunk, pending, at))
        try:
            self._append(append)
            if self._level is AckLevel.MEMORY:
                self._writing.add(pending)
        except EdgeError:
            # Level `memory` promises nothing, so the journal failing stops nothing; /health shows the count.
            if self._level is not AckLevel.MEMORY:
                raise
            self.unjournalled += 1
        stream.ledger.reserve(chunk.seq, final=chunk.final)
        stream.pending[chunk.seq] = pending
        if self._level is AckLevel.MEMORY:
            self._show(stream, chunk)
            self._admit(stream, chunk.seq, pending, at)

    def _append(self, append: Append) -> None:
        try:
            self._parts.journal.append(append)
        except JournalError as error:  # full, busy or closed
            raise EdgeError(STORAGE_UNAVAILABLE, str(error), fields={"seq": append.chunk.seq}) from error

    def _journalled(
        self, stream: LiveStream, chunk: Chunk, pending: Pending, at: int, error: Exception | None
    ) -> None:
        """The committer's answer: the only place where a chunk goes on, so a cancelled waiter changes
        nothing.
        """
        if self._level is AckLevel.MEMORY:
            self._writing.discard(pending)
            pending.settle()
        if error is not None:
            if self._level is AckLevel.MEMORY:
                self.unjournalled += 1
            else:
                # The journal closed before the commit: the client is told to keep the chunk.
                self._give_up(
                    stream, chunk.seq, pending, EdgeError(STORAGE_UNAVAILABLE, fields={"seq": chunk.seq})
                )
            return
        self._parts.archive.journalled(stream.key, chunk.seq, at)
        if self._level is AckLevel.MEMORY:
            return
        self._show(stream, chunk)
        if self._level is AckLevel.JOURNAL:
            self._admit(stream, chunk.seq, pending, at)

    def _show(self, stream: LiveStream, chunk: Chunk) -> None:
        """Let the stream's window have a second, within what the session's windows may hold together.

        Over it the largest other window is given back: its audio is journalled, and reads find it there.
        """
        stream.show(chunk.seq, chunk.pcm)
        cap = self._parts.settings.max_memory_mb * 10**6
        if len(self.streams) * self._parts.settings.window_bytes <= cap or stream.closed:
            return
        held = sum(each.window.held_bytes for each in self.streams.values())
        others = [each for each in self.streams.values() if each is not stream]
        for other in sorted(others, key=lambda each: each.window.held_bytes, reverse=True):
            if held <= cap:
                return
            held -= other.window.held_bytes
            other.window.evict()

    def _give_up(self, stream: LiveStream, seq: int, pending: Pending, error: EdgeError) -> None:
        """The chunk won't be held: its seq is free again, and who waits is told why."""
        stream.ledger.release(seq)
        del stream.pending[seq]
        for receipt in [pending.receipt, *(receipt for _, receipt in pending.repeats or ())]:
            receipt.refuse(error)
        pending.settle()

    def stored(self, name: str, ranges: Sequence[tuple[int, int]]) -> None:
        """The archive's word that these seqs are in backend and catalog: what ack level `backend` waits
        for.
        """
        stream = self.streams.get(name)
        if stream is None or self._level is not AckLevel.BACKEND:
            return
        at = self._parts.wall_ms()
        for first, last in ranges:
            for seq in range(first, last + 1):
                pending = stream.pending.get(seq)
                if pending is not None:
                    self._admit(stream, seq, pending, at)

    def conflicted(self, name: str, seqs: Sequence[int]) -> None:
        """The archive's word that another node had stored other bytes at these seqs first: those stand."""
        stream = self.streams.get(name)
        for seq in seqs:
            pending = None if stream is None else stream.pending.get(seq)
            if stream is not None and pending is not None:
                self._give_up(stream, seq, pending, EdgeError(CHUNK_CONFLICT, fields={"seq": seq}))

    def _admit(self, stream: LiveStream, seq: int, pending: Pending, at: int) -> None:
        stream.ledger.admit(seq, pending.length, final=pending.final, at=at)
        self.updated_at = at
        del stream.pending[seq]
        if not pending.receipt.done:
            pending.receipt.acknowledge(Outcome.STORED, stream.ledger)
        for chunk, receipt in pending.repeats or ():
            self._answer_repeat(stream, chunk, receipt, pending.identity)
        if pending not in self._writing:
            pending.settle()
        self._listening.wake(stream.key.stream)

    def _answer_repeat(self, stream: LiveStream, chunk: Chunk, receipt: Receipt, held: bytes) -> None:
        """Same bytes: a duplicate, counted durably before it is acked. Others: a conflict; what is held
        stands.
        """
        if chunk.identity != held:
            receipt.refuse(EdgeError(CHUNK_CONFLICT, fields={"seq": chunk.seq}))
            return
        at = self._parts.wall_ms()
        try:
            counted = partial(self._counted, stream, receipt, at)
            self._append(Append(stream.key, _without_audio(chunk), at, counted, repeat=True))
        except EdgeError as error:
            receipt.refuse(error)

    def _counted(self, stream: LiveStream, receipt: Receipt, at: int, error: Exception | None) -> None:
        if error is not None:
            receipt.refuse(EdgeError(STORAGE_UNAVAILABLE, fields={"seq": receipt.seq}))
            return
        stream.ledger.count_duplicate(at)
        receipt.acknowledge(Outcome.DUPLICATE, stream.ledger)

    async def _compare_with_held(self, stream: LiveStream, chunk: Chunk, receipt: Receipt) -> None:
        """A repeat of a held chunk: its identity is in the journal or, after the trim, in the catalog."""
        try:
            with trio.fail_after(self._parts.settings.storage_timeout):
                identity = await self._parts.identity(stream.key, chunk.seq)
        except trio.Cancelled:
            receipt.refuse(EdgeError(STORAGE_UNAVAILABLE, fields={"seq": chunk.seq}))  # the session ends
            raise
        except Exception as error:  # whatever failed below, the answer is: keep it and retry
            refusal = EdgeError(STORAGE_UNAVAILABLE, fields={"seq": chunk.seq})
            # Without its traceback, whose frames hold this chunk and the refusal: a cycle for the collector.
            refusal.__cause__ = error.with_traceback(None)
            receipt.refuse(refusal)
            return
        # Level `memory` holds chunks that nothing below knows yet; the window's bytes tell as well.
        if identity is None:
            pcm = None if stream.closed else stream.window.read(chunk.seq)
            identity = chunk.identity if pcm is None or pcm == chunk.pcm else b""
        self._answer_repeat(stream, chunk, receipt, identity)

    def start_soon(self, task: Callable[[], Awaitable[None]]) -> bool:
        """Run a task of the session's; False where it has ended."""
        if self._nursery is None:
            return False
        try:
            self._nursery.start_soon(task)
        except RuntimeError:  # it has just ended, and `run` hasn't come to say so
            return False
        return True

    # -- the state lane

    @asynccontextmanager
    async def state_lane(self) -> AsyncIterator[None]:
        """One at a time, in order of arrival; EdgeError(resolve_busy) where `max_resolves_waiting` wait
        already.
        """
        if self._lane_waiting >= self._parts.settings.max_resolves_waiting:
            raise EdgeError(RESOLVE_BUSY, retry_after=1)
        self._lane_waiting += 1
        try:
            await self._lane.acquire()
        finally:
            self._lane_waiting -= 1
        try:
            yield
        finally:
            self._lane.release()

    async def settle(self) -> None:
        """Wait until everything accepted before this call is in the journal and safe at the ack level (or
        refused), and heard by the VAD.

        The caller sets the deadline, by cancellation.
        """
        under_way = [p for stream in self.streams.values() for p in stream.pending.values()]
        for pending in [*under_way, *self._writing]:
            await pending.settled()
        await self.declared.finish()
        await self._listening.finish()

    async def rest(self, stream: str) -> None:
        """Hear all of one stream, and end its open utterance there. The caller sets the deadline."""
        await self._listening.finish(stream)

    # -- events

    def subscribe(self, listener: EventListener) -> Callable[[], None]:
        """Call `listener` with each batch of events after its commit; the answer ends that."""
        return self._events.subscribe(listener)

    def published(self, events: Sequence[Event]) -> None:
        """Events were committed: count them, tell who listens."""
        if events:
            self.event_count = max(self.event_count, events[-1].seq_no)
            self._events.tell(events)

    @property
    def vad_failures(self) -> int:
        """How often this session's VAD pipeline failed and tried again: shown in /health."""
        return self._listening.failures

    @property
    def vad_behind_seconds(self) -> int:
        """How much held audio its VAD hasn't heard yet: shown in /health."""
        return self._listening.behind_seconds

    @property
    def is_at_rest(self) -> bool:
        """Whether nobody is in the middle of anything: what `settle` waits for is there already."""
        on_its_way = self._writing or any(stream.pending for stream in self.streams.values())
        return not on_its_way and self._listening.is_at_rest

    def open_utterances(self) -> Sequence[Utterance]:
        """The utterances that go on and are the server's to transcribe, as far as they were heard."""
        return self._listening.open_utterances()

    def vad_positions(self) -> dict[str, VadPosition]:
        """How far each stream's VAD has come."""
        return self._listening.positions()


def _without_audio(repeat: Chunk) -> Chunk:
    """What is needed of a repeat: its audio is held already, and many may wait for a slow disk."""
    return Chunk(repeat.seq, repeat.timestamp_ms, repeat.final, b"", repeat.sha256, repeat.identity)
