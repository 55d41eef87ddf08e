"""Transcription of what was heard: one desk a node, which works through the utterances of all sessions.

An utterance waits in the catalog from the transaction of its `speech_ended` event on, and leaves it in that
of its `transcript` event: no crash loses or doubles one. The desk holds no audio: it is read when an
utterance's turn comes, from the session's window, or from the journal or the store once it is late. So
nothing that a provider does delays audio, and a backlog costs some hundred bytes an utterance.

Each session's utterances are written in order, one at a time; sessions take turns, and one whose lines are
later than `defer_after` comes after the others (core/utterance_queue.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Protocol

import attrs
import structlog
import trio

from interview_edge.archive.reader import AudioReader
from interview_edge.catalog.protocol import Catalog, CatalogUnavailable, SessionIsDeleted
from interview_edge.core.models import Event, NewEvent, StreamKey, Utterance
from interview_edge.core.utterance_queue import LatenessChange, UtteranceQueue
from interview_edge.sessions.live_stream import LiveStream
from interview_edge.sessions.node_transcriber import NodeTranscriber
from interview_edge.sessions.transcript_events import failed_event, lateness_event, transcript_event
from interview_edge.sessions.utterance_audio import AudioGone, read_utterance
from interview_edge.speech.transcriber import Failure, Transcriber, TranscriptionFailed

log = structlog.get_logger(__name__)

MAX_WAITING = 20_000  # in memory; the catalog has the rest
PAGE = 1_000
MAX_BROKEN = 4  # tries of one utterance that a provider breaks on, before it is asked about another


@attrs.frozen(kw_only=True)
class DeskPolicy:
    """How the desk works. Durations are seconds. `late_after`: from when an utterance that waits is late;
    `defer_after`: from when its session is put behind the others.
    """

    workers: int = 2
    language: str | None = None
    late_after: float = 10.0
    defer_after: float = 60.0
    watch_interval: float = 1.0
    retry_initial: float = 0.5
    retry_max: float = 30.0
    storage_timeout: float = 10.0


@attrs.frozen
class DeskFigures:
    """The desk at one moment. `failure` is the provider's last word, None once it answers again."""

    provider: str
    waiting: int
    oldest_seconds: float
    late_sessions: int
    deferred_sessions: int  # of those
    failure: Failure | None
    detail: str | None


@attrs.frozen
class Written:
    """An utterance that was transcribed. `utterance_id` is a client's own name of it, where it has one."""

    utterance: Utterance
    text: str
    utterance_id: str | None = None


def _nobody(_: str, __: Written | None) -> None:
    """For an owner that doesn't listen."""


class LiveSession(Protocol):
    """What the desk asks of a session that is open on this node."""

    @property
    def streams(self) -> dict[str, LiveStream]: ...

    def published(self, events: Sequence[Event]) -> None: ...


class TranscriptionDesk:
    """See the module's text. `live` answers the session of an id where it is open here; `on_done` is told
    of each utterance that waits no more, by its session, and what was written of it.
    """

    def __init__(
        self,
        transcriber: Transcriber,
        catalog: Catalog,
        reader: AudioReader,
        policy: DeskPolicy,
        *,
        live: Callable[[str], LiveSession | None],
        wall_ms: Callable[[], int],
        random: Random,
        on_done: Callable[[str, Written | None], None] = _nobody,
    ) -> None:
        self._on_done = on_done
        self.transcriber = NodeTranscriber(
            transcriber,
            language=policy.language,
            read_timeout=policy.storage_timeout,
            retry_initial=policy.retry_initial,
            retry_max=policy.retry_max,
            random=random,
        )
        self._catalog = catalog
        self._reader = reader
        self._policy = policy
        self._live = live
        self._wall_ms = wall_ms
        self._queue = UtteranceQueue(policy.late_after, policy.defer_after)
        self._changed = trio.Event()
        self._left_in_catalog = True  # the last run may have left some
        self._loading = False
        self._heard_meanwhile: list[tuple[str, Utterance]] = []  # while loading; they come behind

    # -- what comes in

    def heard(self, session_id: str, utterances: Sequence[Utterance]) -> None:
        """These wait in the catalog as of now. Never waits, never fails."""
        for utterance in utterances:
            self._take_up(session_id, utterance)
        self._change()

    def _take_up(self, session_id: str, utterance: Utterance) -> None:
        if self._loading and len(self._heard_meanwhile) < MAX_WAITING:
            self._heard_meanwhile.append((session_id, utterance))
        elif self._left_in_catalog or self._loading:
            self._left_in_catalog = True  # and so does this one: older ones come first
        else:
            self._put(session_id, utterance)

    def _put(self, session_id: str, utterance: Utterance) -> None:
        if len(self._queue) >= MAX_WAITING:
            self._left_in_catalog = True
        else:
            self._queue.put(session_id, utterance, trio.current_time())

    def look_again(self) -> None:
        """More may wait in the catalog than was said."""
        self._left_in_catalog = True
        self._change()

    def waiting(self, session_id: str) -> int:
        """How many utterances of the session wait."""
        return self._queue.of(session_id)

    async def written(self, session_id: str) -> None:
        """Wait until none of the session's waits; not where they are deferred. The caller sets the deadline,
        by cancellation.
        """
        while self._queue.of(session_id) and not self._queue.is_deferred(session_id):
            await self._changed.wait()

    @property
    def workers(self) -> int:
        """How many utterances are worked on at once."""
        return self._policy.workers

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits, and nothing is at work."""
        return not len(self._queue)

    async def wanted(self) -> None:
        """Wait until something does."""
        while self.is_idle:
            await self._changed.wait()

    async def record(self, session_id: str, event: NewEvent, written: Written | None) -> None:
        """Append an event of such an utterance, as soon as the catalog takes it; `written` where it is its
        transcript.
        """
        while await self._commit(session_id, [event]) is None:
            pass  # it has waited
        self._on_done(session_id, written)

    def figures(self) -> DeskFigures:
        """The desk at this moment."""
        failed = self.transcriber.last_failure
        return DeskFigures(
            provider=self.transcriber.provider,
            waiting=len(self._queue),
            oldest_seconds=round(self._queue.oldest_wait(trio.current_time()), 1),
            late_sessions=self._queue.late_sessions(),
            deferred_sessions=self._queue.deferred_sessions(),
            failure=None if failed is None else failed.failure,
            detail=None if failed is None else failed.detail,
        )

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    # -- the work

    async def run(self) -> None:
        """Take up what the catalog holds, then write what comes, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            nursery.start_soon(self._keep_loaded)
            for _ in range(self._policy.workers):
                nursery.start_soon(self._work)

    async def _keep_loaded(self) -> None:
        """Take up what was left in the catalog, whenever there is room for it."""
        while True:
            if self._left_in_catalog and len(self._queue) <= MAX_WAITING // 2:
                self._left_in_catalog, self._loading = False, True
                await self._load()
                self._loading = False
                meanwhile, self._heard_meanwhile = self._heard_meanwhile, []
                for session_id, utterance in meanwhile:
                    self._take_up(session_id, utterance)
                self._change()
            else:
                await self._changed.wait()

    async def _load(self) -> None:
        """What waits in the catalog, as far as there is room for it."""
        after: tuple[str, Utterance] | None = None
        while True:
            try:
                page = await self._catalog.untranscribed(limit=PAGE, after=after)
            except CatalogUnavailable as error:
                log.warning("what is to be transcribed can't be read", error=str(error))
                await trio.sleep(self._policy.retry_max)
                continue
            for session_id, utterance in page:
                self._put(session_id, utterance)
                if self._live(session_id) is None and self._queue.of(session_id):
                    self._queue.put_behind(session_id)  # nobody looks on: who speaks now comes first
            self._change()
            if len(page) < PAGE or self._left_in_catalog:
                return
            after = page[-1]

    async def _work(self) -> None:
        while True:
            taken = self._queue.take()
            if taken is None:
                await self._changed.wait()
            else:
                await self._handle(*taken)

    async def _handle(self, session_id: str, utterance: Utterance) -> None:
        """One utterance, until it is written or given up; its session's next one waits for it."""
        event, written = await self._event_of(session_id, utterance)
        while (committed := await self._commit(session_id, [event], [utterance])) is None:
            pass  # it has waited
        if committed:  # by us, and not by another before
            self._on_done(session_id, written)
        self._queue.done(session_id, utterance)
        self._change()

    async def _event_of(self, session_id: str, utterance: Utterance) -> tuple[NewEvent, Written | None]:
        """Its transcript, asked for until it is there; or that it was given up, and None."""
        broken, served = 0, False
        while True:
            try:
                found = await self.transcriber.transcribe(partial(self.read, session_id, utterance))
            except AudioGone:
                return failed_event(utterance, self._wall_ms(), None, "its audio has expired"), None
            except TranscriptionFailed as error:
                is_broken = error.failure is Failure.BROKEN and error.tried
                if is_broken and served:
                    return failed_event(utterance, self._wall_ms(), error.failure, error.detail), None
                broken += is_broken
                # Between two tries of it, so that it can't be the provider that has just come back.
                served = is_broken and broken >= MAX_BROKEN and await self.transcriber.serves()
                if not served:
                    await self.transcriber.back_off(session_id, error)
            else:
                event = transcript_event(utterance, self._wall_ms(), found, self.transcriber.provider)
                return event, Written(utterance, found.text)

    async def read(self, session_id: str, utterance: Utterance) -> bytes:
        """The utterance's PCM. Raises AudioGone, and what the reader does."""
        session = self._live(session_id)
        stream = None if session is None else session.streams.get(utterance.stream)
        return await read_utterance(StreamKey(session_id, utterance.stream), utterance, stream, self._reader)

    async def _commit(
        self, session_id: str, events: Sequence[NewEvent], written: Sequence[Utterance] = ()
    ) -> Sequence[Event] | None:
        """What the catalog has committed of it: nothing where it needn't, None while it can't be reached."""
        try:
            committed = await self._catalog.append_events(
                session_id, events, at=self._wall_ms(), written=written
            )
        except SessionIsDeleted:
            self._queue.drop(session_id)  # what waits of it waits for nothing
            return ()
        except CatalogUnavailable as error:
            log.warning("a transcript waits for the catalog", session_id=session_id, error=str(error))
            await trio.sleep(self._policy.retry_initial)
            return None
        session = self._live(session_id)
        if session is not None:
            session.published(committed)
        return committed

    # -- who is late

    async def _watch(self) -> None:
        """Tell each session once that its transcripts are late or put off, and that they aren't any more."""
        while True:
            await trio.sleep(self._policy.watch_interval)
            changes = self._queue.judge(trio.current_time())
            async with trio.open_nursery() as nursery:  # so that they meet in one commit
                for change in changes:
                    nursery.start_soon(self._say, change)
            if changes:
                self._change()  # who waits for lines that are put off waits no longer

    async def _say(self, change: LatenessChange) -> None:
        failed = self.transcriber.last_failure
        event = lateness_event(change, self._wall_ms(), None if failed is None else failed.failure)
        while await self._commit(change.session_id, [event]) is None:
            pass  # it has waited
