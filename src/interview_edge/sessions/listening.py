"""A session's VAD pipeline: hears each stream's seconds in seq order and writes speech events, sample-exact.

It is woken through the session's memory channel and takes the audio from the window (or, far behind, from
journal and backend), so a slow VAD or catalog delays nothing but itself. A VAD that blocks has threads of the
node; what such a call leaves undone, by cancellation or a fault, is heard again by a fresh VAD. Events and
the position after them are committed in one transaction: after a restart it goes on from there, and no event
is lost or doubled (contract ingest.md, VAD).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Protocol, TypeVar

import attrs
import structlog
import trio

from interview_edge.catalog.protocol import CatalogUnavailable, SessionIsDeleted
from interview_edge.core.models import Event, NewEvent, Utterance, VadPosition
from interview_edge.core.pcm import CHUNK_BYTES, CHUNK_SAMPLES
from interview_edge.core.utterances import SpeechEvent
from interview_edge.sessions.declared_events import DeclaredEvents
from interview_edge.sessions.live_stream import LiveStream
from interview_edge.sessions.loading import reread
from interview_edge.sessions.node_parts import NodeParts
from interview_edge.sessions.speech_events import speech_event, utterances_in
from interview_edge.speech.pipeline import StreamVad

log = structlog.get_logger(__name__)
Answer = TypeVar("Answer")

READ_AHEAD_SECONDS = 30  # for a stream that is behind its window: 1 MB
WARM_UP_SECONDS = 2  # a VAD adapts to the room; its state can't be saved, so it hears this much again
COMMIT_EVERY_SECONDS = 60  # of audio without an event: bounds what a restart has to hear again
MAX_UNCOMMITTED = 256  # events kept while the catalog is down; then hearing waits, and catches up later


class VadFailed(Exception):
    """A VAD raised, or didn't answer in time. What it was about to hear is heard again, by a fresh one."""


class Ear:
    """One stream's VAD, and where it stands."""

    def __init__(self, vad: StreamVad, next_seq: int) -> None:
        self.vad = vad
        self.next_seq = next_seq
        self.given_up = False  # in the middle of a second: a thread may still be at it
        self.gap_since: float | None = None
        self.uncommitted_seconds = 0
        self.read_ahead: dict[int, bytes] = {}  # of a stream that is behind its window


class Listening:
    """The VAD pipeline of one session."""

    def __init__(
        self, session: ListenedSession, positions: Mapping[str, VadPosition], parts: NodeParts
    ) -> None:
        self._session = session
        self._parts = parts
        self._resumed = dict(positions)
        self._ears: dict[str, Ear] = {}
        self._events: list[NewEvent] = []
        self._commit_at: float | None = None  # when the events that wait are to be committed
        self._hearing = trio.Lock()
        self._in_doubt = False
        self.failures = 0
        # The names of what was woken; the channel carries one word for all of them, until they are taken.
        self._woken: set[str] = set()
        self._wakes, self._wakened = trio.open_memory_channel[None](1)

    def wake(self, stream: str) -> None:
        """There is something new to hear on `stream`. Never waits, never fails."""
        if stream in self._woken:
            return  # of a burst only the first has anything to do: the ledger says what there is to hear
        self._woken.add(stream)
        try:
            self._wakes.send_nowait(None)
        except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            return  # full: it is awake anyway; closed: the next start hears it from the last position

    async def run(self) -> None:
        """Hear what comes, until cancelled."""
        # After a restart there may be seconds that no wake announces.
        pending = set(self._session.streams)
        while True:
            failed: set[str] = set()
            try:
                failed = await self._hear_all(pending)
                # The catalog fails, and its return wakes nobody.
                held_up = len(self._events) >= MAX_UNCOMMITTED
            except Exception as error:  # invariant 5: acks go on without the VAD
                self._count_failure(error)
                failed = pending
            if failed or held_up:
                await trio.sleep(self._parts.settings.retry_initial)
                pending = failed | self._take_woken() | (set(self._session.streams) if held_up else set())
                continue
            pending = {name for name in pending if self._is_behind(name)}
            if not pending:
                pending = await self._next_wakes()

    async def _hear_all(self, names: set[str]) -> set[str]:
        """Hear these streams, and commit what is due; answers those whose VAD or audio failed: the others go
        on without them.
        """
        failed = set()
        try:  # `async with` would go round the loop for a lock that is nearly always free
            self._hearing.acquire_nowait()
        except trio.WouldBlock:
            await self._hearing.acquire()
        try:
            await self._settle_doubt()
            for name in names:
                try:
                    await self._hear(name)
                except Exception as error:  # invariant 5, and a stream's fault is its own
                    self._count_failure(error)
                    failed.add(name)
            await self._commit_if_due()
        finally:
            self._hearing.release()
        return failed

    async def _next_wakes(self) -> set[str]:
        """The streams that were woken; or, once events are to be committed or a gap was waited for long
        enough, those with a gap.
        """
        wait = self._parts.settings.vad_gap_wait
        deadlines = [ear.gap_since + wait for ear in self._ears.values() if ear.gap_since is not None]
        if self._commit_at is not None:
            deadlines.append(self._commit_at)
        if deadlines:
            with trio.move_on_at(min(deadlines)) as waited:
                await self._wakened.receive()
            if waited.cancelled_caught:
                return {name for name, ear in self._ears.items() if ear.gap_since is not None}
        else:  # no deadline, so no scope for it: one costs as much as the wait
            await self._wakened.receive()
        return self._take_woken()

    def _take_woken(self) -> set[str]:
        woken, self._woken = self._woken, set()
        return woken

    async def finish(self, stream: str | None = None) -> None:
        """Hear everything held now, gaps as silence, end open utterances, and commit: of one stream, or of
        all. The caller sets the deadline. Where the VAD fails it does without what that stream still had to
        say (a record without it is better than none), and leaves it to `run`.

        Raises CatalogUnavailable where that fails: `run` commits it later.
        """
        async with self._hearing:
            await self._settle_doubt()
            for name in tuple(self._session.streams) if stream is None else (stream,):
                try:
                    await self._hear_out(name)
                except VadFailed as error:
                    self._count_failure(error)
                    self.wake(name)
            if not await self._commit():
                for name in self._ears:
                    self.wake(name)
                raise CatalogUnavailable("speech events can't be written now")

    async def hear_held(self) -> None:
        """Hear what is held, of each stream up to a gap, as `run` does. The caller sets the deadline."""
        await self._hear_all(set(self._session.streams))

    async def _hear_out(self, name: str) -> None:
        last = self._session.streams[name].ledger.last_seq  # what comes meanwhile isn't waited for
        await self._hear(name, skip_gaps=True, last=last)
        while self._is_behind(name, last) and await self._commit():
            await self._hear(name, skip_gaps=True, last=last)
        self._note(name, self._ears[name].vad.flush())

    def _count_failure(self, error: Exception) -> None:
        self.failures += 1
        # It is tried twice a second: where it failed need be told once.
        told = {"exc_info": error} if self.failures == 1 else {"error": repr(error)}
        log.warning("the VAD pipeline failed", session_id=self._session.session_id, **told)

    def positions(self) -> dict[str, VadPosition]:
        return self._resumed | {name: ear.vad.position() for name, ear in self._ears.items()}

    @property
    def behind_seconds(self) -> int:
        """How much of what is held the stream that is furthest behind hasn't heard, other than for a gap."""
        streams = self._session.streams
        return max(
            (
                streams[name].ledger.last_seq + 1 - ear.next_seq
                for name, ear in self._ears.items()
                if ear.gap_since is None
            ),
            default=0,
        )

    @property
    def is_at_rest(self) -> bool:
        """Whether all that is held was heard, and nobody speaks in it: `finish` would change nothing."""
        return all(
            (ear := self._ears.get(name)) is not None
            and ear.next_seq > stream.ledger.last_seq
            and not ear.vad.is_open
            for name, stream in self._session.streams.items()
            if stream.ledger.last_seq
        )

    def open_utterances(self) -> list[Utterance]:
        """Those that go on, as far as they were heard, once their start is committed; not where a client says
        itself where speech is.
        """
        others = {event.stream for event in self._events} | self._session.declared.streams
        return [
            Utterance(name, *found)
            for name, ear in self._ears.items()
            if name not in others and (found := ear.vad.open_utterance) is not None
        ]

    def close(self) -> None:
        """No more wakes. Idempotent."""
        self._wakes.close()
        self._wakened.close()

    # -- hearing

    async def _hear(self, name: str, *, skip_gaps: bool = False, last: int | None = None) -> None:
        """What is held and wasn't heard, up to a second `last`, where given."""
        stream = self._session.streams[name]
        ear = self._ears.get(name)
        if ear is None:
            ear = self._ears[name] = await self._open_ear(stream, self._resumed.get(name))
        elif ear.given_up:
            ear = self._ears[name] = await self._open_ear(stream, ear.vad.position())
        held, turns = stream.ledger.held, self._parts.hearing
        while ear.next_seq <= (last or held.last) and len(self._events) < MAX_UNCOMMITTED:
            if ear.next_seq in held:
                await self._hear_second(stream, ear)
            elif not self._gap_is_over(ear) and not skip_gaps:
                return
            else:
                await self._hear_gap(stream, ear)
            if not self._parts.vad.inline:  # a backlog takes so long that its events mustn't wait for its end
                await self._commit_if_due()
            elif ear.next_seq <= held.last and not turns.take():
                await turns.rest()
        ear.gap_since = None
        if stream.ledger.final_seq == ear.next_seq - 1 and ear.vad.is_open:
            self._note(name, ear.vad.flush())  # nothing more will come: a late second isn't judged again

    async def _open_ear(self, stream: LiveStream, position: VadPosition | None) -> Ear:
        """A new stream's VAD, or one that goes on from a position, warmed up with what came before it."""
        try:
            vad = await self._parts.vad.open()
        except Exception as error:  # whatever a plugin raises
            raise VadFailed("no VAD could be opened") from error
        if position is None:
            return Ear(vad, 1)
        vad.resume(position)
        ear = Ear(vad, position.sample // CHUNK_SAMPLES + 1)
        before = [
            stream.shown(seq) or await self._past_second(stream, ear, seq)
            for seq in range(max(1, ear.next_seq - WARM_UP_SECONDS), ear.next_seq)
        ]
        if before:
            await self._run(partial(vad.warm_up, b"".join(before)))
        return ear

    async def _hear_second(self, stream: LiveStream, ear: Ear) -> None:
        ear.gap_since = None
        pcm = stream.shown(ear.next_seq)
        if pcm is None:
            pcm = await self._past_second(stream, ear, ear.next_seq)
        ear.given_up = True  # until it is done
        if self._parts.vad.inline:
            try:  # here, and not in `_run`: this is half of what a chunk costs
                found = ear.vad.hear(pcm)
            except Exception as error:  # whatever a plugin raises
                raise VadFailed(self._parts.vad.provider) from error
        else:
            found = ear.vad.take(await self._run(partial(ear.vad.judge, pcm)))
        ear.given_up = False
        self._note(stream.key.stream, found)
        ear.next_seq += 1
        ear.uncommitted_seconds += 1

    async def _run(self, work: Callable[[], Answer]) -> Answer:
        """Work of a VAD: inline, or in a thread where it blocks. Raises VadFailed."""
        try:
            return work() if self._parts.vad.inline else await self._parts.vad.run(work)
        except Exception as error:  # whatever a plugin raises, and that it took too long
            raise VadFailed(self._parts.vad.provider) from error

    def _is_behind(self, name: str, last: int | None = None) -> bool:
        """Whether there is more to hear at once, up to `last`: hearing stopped to commit, not at a gap."""
        ear, held = self._ears[name], self._session.streams[name].ledger
        return ear.gap_since is None and ear.next_seq <= (last or held.last_seq)

    def _gap_is_over(self, ear: Ear) -> bool:
        now = trio.current_time()
        if ear.gap_since is None:
            ear.gap_since = now
        return now >= ear.gap_since + self._parts.settings.vad_gap_wait

    async def _hear_gap(self, stream: LiveStream, ear: Ear) -> None:
        """Silence up to the next second that is held. A late chunk of the gap isn't judged again."""
        ear.gap_since = None
        resume_at = next(first for first, _ in stream.ledger.held if first > ear.next_seq)
        seconds = resume_at - ear.next_seq
        ear.given_up = True
        silence = await self._run(partial(ear.vad.judge_silence, seconds * CHUNK_SAMPLES))
        found = ear.vad.take_silence(silence)
        ear.given_up = False
        self._note(stream.key.stream, found)
        ear.next_seq = resume_at
        ear.uncommitted_seconds += seconds

    async def _past_second(self, stream: LiveStream, ear: Ear, seq: int) -> bytes:
        """The PCM of a held second that the window doesn't hold: the journal's or the backend's, silence
        where it expired. It is read with those that follow it.
        """
        pcm = ear.read_ahead.pop(seq, None)
        if pcm is None:
            last = min(seq + READ_AHEAD_SECONDS - 1, stream.ledger.last_seq)
            async with aclosing(self._parts.reader.seconds(stream.key, seq, last)) as seconds:
                ear.read_ahead = {n: found async for n, found in seconds if found is not None}
            pcm = ear.read_ahead.pop(seq, None)
        return bytes(CHUNK_BYTES) if pcm is None else pcm

    # -- committing

    def _note(self, name: str, found: list[SpeechEvent]) -> None:
        if found:  # few seconds have any
            at = self._parts.wall_ms()
            self._events += [speech_event(name, event, at) for event in found]

    async def _commit_if_due(self) -> None:
        """All sessions' commits of one interval meet in one group commit, instead of an fsync each; hearing
        goes on until then.
        """
        if self._events:
            now = trio.current_time()
            if self._commit_at is None:
                interval = self._parts.settings.event_flush_interval
                self._commit_at = math.ceil(now / interval) * interval if interval else now
            if now >= self._commit_at or len(self._events) >= MAX_UNCOMMITTED:
                await self._commit()
        elif any(ear.uncommitted_seconds >= COMMIT_EVERY_SECONDS for ear in self._ears.values()):
            await self._commit()

    async def _commit(self) -> bool:
        """Events and positions in one transaction; False, and kept for the next time, where the catalog
        fails.
        """
        if not self._events and not any(ear.uncommitted_seconds for ear in self._ears.values()):
            return True
        seconds_heard = {name: ear.uncommitted_seconds for name, ear in self._ears.items()}
        positions = {name: ear.vad.position() for name, ear in self._ears.items()}
        count = len(self._events)
        session_id = self._session.session_id
        try:
            heard = [] if self._parts.desk is None else await self._to_transcribe(self._events[:count])
            # Until the catalog has answered: a commit that is cut off may have happened.
            self._in_doubt = True
            committed = await self._parts.catalog.append_events(
                session_id, self._events[:count], at=self._parts.wall_ms(), vad=positions, heard=heard
            )
        except CatalogUnavailable as error:
            self._in_doubt = False
            self._commit_at = trio.current_time() + self._parts.settings.retry_initial
            log.warning("speech events wait for the catalog", session_id=session_id, error=str(error))
            return False
        except SessionIsDeleted:
            committed, heard = [], []
        self._in_doubt = False
        self._commit_at = None
        del self._events[:count]
        for name, seconds in seconds_heard.items():
            self._ears[name].uncommitted_seconds -= seconds
        self._session.published(committed)
        if self._parts.desk is not None:
            self._parts.desk.heard(session_id, heard)
        return True

    async def _to_transcribe(self, events: Sequence[NewEvent]) -> list[Utterance]:
        heard = await self._session.declared.left_to_server(utterances_in(events))
        return [attrs.evolve(each, resolve=self._session.resolves) for each in heard]

    async def _settle_doubt(self) -> None:
        """After a commit that was cut off (the finalize's client went away): go on as after a restart, from
        what the catalog holds.
        """
        if not self._in_doubt:
            return
        session = self._session
        try:
            record = await reread(session, self._parts)
        except SessionIsDeleted:
            return  # its end is near, and nothing more of it is kept
        self._events.clear()
        self._commit_at = None
        self._ears.clear()
        self._resumed = {name: stream.vad for name, stream in record.streams.items() if stream.vad}
        if self._parts.desk is not None:
            self._parts.desk.look_again()
        self._in_doubt = False


class ListenedSession(Protocol):
    """What the pipeline asks of its session."""

    session_id: str
    declared: DeclaredEvents
    resolves: bool

    @property
    def streams(self) -> Mapping[str, LiveStream]: ...

    @property
    def told_up_to(self) -> int: ...

    def published(self, events: Sequence[Event]) -> None: ...
