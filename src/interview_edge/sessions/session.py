"""A live session: its nursery, its streams, and the two lanes in which everything about it happens in
order.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import trio

from interview_edge.catalog.protocol import CatalogUnavailable, FinalizedResult, SessionRecord
from interview_edge.core.ledger import Ledger
from interview_edge.core.models import (
    DEFAULT_STREAM,
    Event,
    IngestStatus,
    SessionState,
    StreamKey,
    Utterance,
    VadPosition,
)
from interview_edge.core.ranges import Ranges
from interview_edge.core.window import Window
from interview_edge.errors import (
    DRAINING,
    INTERNAL,
    RESOLVE_BUSY,
    STREAM_LIMIT,
    EdgeError,
    ErrorKind,
)
from interview_edge.sessions.audience import Audience
from interview_edge.sessions.audio_lane import AudioLane
from interview_edge.sessions.countdown import Countdown
from interview_edge.sessions.declared_events import DeclaredEvents
from interview_edge.sessions.listening import Listening
from interview_edge.sessions.live_stream import LiveStream
from interview_edge.sessions.node_parts import EventListener, NodeParts
from interview_edge.sessions.partial_transcripts import Partial
from interview_edge.settings import MAX_STREAMS


class Session:
    """One live interview on this node.

    `run` is its task: the nursery inside owns the VAD pipeline and everything else that belongs to the
    session, and ends with it. The registry starts `run` and hands the session out; `users` and `sockets`
    count who holds it.

    `audio` is the audio lane (audio_lane.py), `state_lane` the state lane.
    """

    def __init__(self, record: SessionRecord, streams: dict[str, LiveStream], parts: NodeParts) -> None:
        self.session_id = record.session_id
        self.owner = record.owner
        self.epoch = record.epoch
        self.created_at = record.created_at
        self.updated_at = record.updated_at
        self.state: SessionState = record.state
        self.state_in_doubt = False  # a commit of it was cut off: the catalog knows
        # By number, of its events: nearly always one range, since commits are told as they come.
        self._told = Ranges([(1, record.event_count)] if record.event_count else ())
        self.finalized: FinalizedResult | None = record.finalized
        self.streams = streams
        self.users = 0
        self.sockets = 0
        self.was_used = False  # by somebody, and not by the node alone for work of its own
        self.resolves = parts.settings.auto_resolve  # each utterance by itself (auto_resolving.py)
        self.last_used = trio.current_time()
        self._parts = parts
        self.audio = AudioLane(streams, parts, self.start_soon, self._held)
        self.names = Countdown()  # automatic resolves under way
        self.lines = Countdown()  # of a client's own utterances: those that are transcribed
        self._events: Audience[Sequence[Event]] = Audience()
        self.partials: Audience[Partial] = Audience()
        self._lane = trio.Lock()
        self._lane_waiting = 0
        self._closing = trio.Event()
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
                with trio.move_on_after(self._parts.settings.close_timeout), suppress(CatalogUnavailable):
                    await self.declared.finish()
                    if self.was_used:  # else the node would end the utterance of who may come back
                        # What can't be written is heard again by the next start.
                        await self._listening.finish()
                nursery.cancel_scope.cancel()
        finally:
            self._nursery = None
            # A chunk taken from here on would be missing in the ledger of the session that opens next.
            self.audio.refusal = self.audio.refusal or INTERNAL
            self.audio.end()
            self._listening.close()
            for stream in self.streams.values():
                stream.close()

    def close(self, why: ErrorKind = DRAINING) -> None:
        """Ask `run` to finish; who still holds the session is refused with `why` from here on. Idempotent."""
        self.audio.refusal = why
        self._closing.set()

    @property
    def closing(self) -> bool:
        return self._closing.is_set()

    @property
    def idle(self) -> bool:
        """Nobody holds the session and nothing of it is on its way."""
        return self.users == 0 and not (self.audio.on_its_way or self.names.count or self.lines.count)

    def start_soon(self, task: Callable[[], Awaitable[None]]) -> bool:
        """Run a task of the session's; False where it has ended."""
        if self._nursery is None:
            return False
        try:
            self._nursery.start_soon(task)
        except RuntimeError:  # it has just ended, and `run` hasn't come to say so
            return False
        return True

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

    def _held(self, stream: str, at: int) -> None:
        """The audio lane's word that a second is held."""
        self.updated_at = at
        self._listening.wake(stream)

    def status(self, name: str = DEFAULT_STREAM) -> IngestStatus:
        """A stream's counters as of now; those of an empty stream where there is none yet."""
        stream = self.streams.get(name)
        ledger = Ledger() if stream is None else stream.ledger
        return ledger.status(self.session_id, self.created_at)

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

        The caller sets the deadline, by cancellation. Raises CatalogUnavailable where events can't be
        written.
        """
        await self.audio.settle()
        await self.declared.finish()
        await self._listening.finish()

    async def hear_held(self) -> None:
        """Hear what is held, up to a gap, and end nothing. The caller sets the deadline."""
        await self._listening.hear_held()

    async def rest(self, stream: str) -> None:
        """Hear all of one stream, and end its open utterance there. The caller sets the deadline. Raises
        CatalogUnavailable where its events can't be written.
        """
        await self._listening.finish(stream)

    # -- events

    def subscribe(self, listener: EventListener) -> Callable[[], None]:
        """Call `listener` with each batch of events after its commit; the answer ends that."""
        return self._events.subscribe(listener)

    def published(self, events: Sequence[Event]) -> None:
        """Events were committed: count them, and tell who listens of those that weren't told before."""
        untold = [event for event in events if self._told.add(event.seq_no)]
        if untold:
            self._events.tell(untold)

    @property
    def event_count(self) -> int:
        """The number of the session's last event, as far as it is known here."""
        return self._told.last

    @property
    def told_up_to(self) -> int:
        """The last event before which none is untold."""
        return self._told.first_missing - 1

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
        return not self.audio.on_its_way and self._listening.is_at_rest

    def open_utterances(self) -> Sequence[Utterance]:
        """The utterances that go on and are the server's to transcribe, as far as they were heard."""
        return self._listening.open_utterances()

    def vad_positions(self) -> dict[str, VadPosition]:
        """How far each stream's VAD has come."""
        return self._listening.positions()
