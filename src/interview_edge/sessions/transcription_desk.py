"""Transcription of what was heard: one desk a node, which works through the utterances of all sessions.

An utterance waits in the catalog from the transaction of its `speech_ended` event on, and leaves it in that
of its `transcript` event: no crash loses or doubles one. The desk holds no audio: it is read when an
utterance's turn comes, from the session's window, or from the journal or the store once it is late. So
nothing that a provider does delays audio, and a backlog costs some hundred bytes an utterance.

Each session's utterances are written in order, one at a time; sessions take turns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial
from random import Random
from typing import Protocol

import attrs
import structlog
import trio

from interview_edge.archive.reader import AudioReader
from interview_edge.backends.protocol import BackendUnavailable
from interview_edge.catalog.protocol import Catalog, CatalogUnavailable, SessionIsDeleted
from interview_edge.core.fair_queue import FairQueue
from interview_edge.core.models import Event, NewEvent, StreamKey, Utterance
from interview_edge.core.pcm import CHUNK_BYTES, CHUNK_SAMPLES, SAMPLE_BYTES
from interview_edge.core.transcripts import TRANSCRIPT
from interview_edge.journal import JournalError
from interview_edge.sessions.live_stream import LiveStream
from interview_edge.speech.transcriber import Failure, Transcriber, Transcript, TranscriptionFailed

log = structlog.get_logger(__name__)

TRANSCRIPT_FAILED = "transcript_failed"  # the events' types
LATE = "transcription_late"
CAUGHT_UP = "transcription_caught_up"

MAX_WAITING = 20_000  # in memory; the catalog has the rest
MAX_BROKEN = 4  # tries of one utterance that a provider breaks on while it serves others
PAGE = 1_000


@attrs.frozen(kw_only=True)
class DeskPolicy:
    """How the desk works. Durations are seconds. `late_after`: from when an utterance that waits is late."""

    workers: int = 2
    language: str | None = None
    late_after: float = 10.0
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
    failure: Failure | None
    detail: str | None


def _nobody(_: str, __: Utterance, ___: bytes, ____: str) -> None:
    """For an owner that doesn't listen."""


class LiveSession(Protocol):
    """What the desk asks of a session that is open on this node."""

    @property
    def streams(self) -> dict[str, LiveStream]: ...

    def published(self, events: Sequence[Event]) -> None: ...


# What may have passed at the next try.
_PASSING = (BackendUnavailable, CatalogUnavailable, JournalError, trio.TooSlowError)


class _AudioGone(Exception):
    """The seconds of an utterance have expired, or were never held."""


class TranscriptionDesk:
    """See the module's text. `live` answers the session of an id where it is open here; `on_written` is told
    of each utterance with its PCM and text, once its transcript is committed.
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
        on_written: Callable[[str, Utterance, bytes, str], None] = _nobody,
    ) -> None:
        self._on_written = on_written
        self._transcriber = transcriber
        self._catalog = catalog
        self._reader = reader
        self._policy = policy
        self._live = live
        self._wall_ms = wall_ms
        self._random = random
        self._queue: FairQueue[str, Utterance] = FairQueue()
        self._known: set[tuple[str, Utterance]] = set()  # what is in the queue, or out of it
        self._heard_at: dict[str, deque[float]] = {}  # of what waits, by session, in its order
        self._changed = trio.Event()
        self._left_in_catalog = False
        self._last_failure: TranscriptionFailed | None = None
        self._failures = 0
        self._late: set[str] = set()
        self._loading = False

    # -- what comes in

    def heard(self, session_id: str, utterances: Sequence[Utterance]) -> None:
        """These wait in the catalog as of now. Never waits, never fails."""
        for utterance in utterances:
            if len(self._queue) >= MAX_WAITING:
                self._left_in_catalog = True
                break  # what came before it still has to wake a worker
            if (session_id, utterance) in self._known:
                continue
            self._known.add((session_id, utterance))
            self._queue.put(session_id, utterance)
            self._heard_at.setdefault(session_id, deque()).append(trio.current_time())
        self._change()

    def look_again(self) -> None:
        """More may wait in the catalog than was said."""
        self._left_in_catalog = True
        self._change()

    def waiting(self, session_id: str) -> int:
        """How many utterances of the session wait."""
        return self._queue.of(session_id)

    async def written(self, session_id: str) -> None:
        """Wait until none of the session's waits. The caller sets the deadline, by cancellation."""
        while self._queue.of(session_id):
            await self._changed.wait()

    @property
    def provider(self) -> str:
        """The transcriber's name."""
        return self._transcriber.provider

    async def transcribe(
        self, read: Callable[[], Awaitable[bytes]], *, prompt: str | None = None
    ) -> tuple[bytes, Transcript]:
        """The PCM that `read` gives, and what was said in it, past the queue.

        Raises TranscriptionFailed, whatever went wrong: neither a damaged object nor a plugin's defect
        may end a session or the node (invariant 5).
        """
        try:
            with trio.fail_after(self._policy.storage_timeout):
                pcm = await read()
        except _PASSING as error:
            raise TranscriptionFailed(Failure.UNREACHABLE, f"the audio: {type(error).__name__}") from error
        except _AudioGone:
            raise
        except Exception as error:  # a lost or damaged object: another try finds the same
            raise TranscriptionFailed(Failure.BROKEN, f"the audio: {type(error).__name__}") from error
        try:
            found = await self._transcriber.transcribe(pcm, language=self._policy.language, prompt=prompt)
        except TranscriptionFailed:
            raise
        except Exception as error:  # a plugin's may be anything, and its text may hold a secret
            raise TranscriptionFailed(Failure.BROKEN, type(error).__name__) from error
        self._note_success()
        return pcm, found

    async def record(self, session_id: str, event: NewEvent) -> None:
        """Append an event of such an utterance, as soon as the catalog takes it."""
        while not await self._commit(session_id, [event]):
            pass  # it has waited

    def figures(self) -> DeskFigures:
        """The desk at this moment."""
        now = trio.current_time()
        oldest = min((times[0] for times in self._heard_at.values() if times), default=now)
        failed = self._last_failure
        return DeskFigures(
            provider=self._transcriber.provider,
            waiting=len(self._queue),
            oldest_seconds=round(now - oldest, 1),
            late_sessions=len(self._late),
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
            await self._load()
            for _ in range(self._policy.workers):
                nursery.start_soon(self._work)

    async def _load(self) -> None:
        """What waits in the catalog, as far as there is room for it."""
        self._left_in_catalog, self._loading = False, True
        try:
            await self._load_pages()
        finally:
            self._loading = False

    async def _load_pages(self) -> None:
        after: tuple[str, Utterance] | None = None
        while True:
            try:
                page = await self._catalog.untranscribed(limit=PAGE, after=after)
            except CatalogUnavailable as error:
                log.warning("what is to be transcribed can't be read", error=str(error))
                await trio.sleep(self._policy.retry_max)
                continue
            for session_id, utterance in page:
                self.heard(session_id, [utterance])
            if len(page) < PAGE or self._left_in_catalog:
                return
            after = page[-1]

    async def _work(self) -> None:
        while True:
            taken = self._queue.take()
            if taken is not None:
                await self._handle(*taken)
            elif self._left_in_catalog and not self._loading and len(self._queue) <= MAX_WAITING // 2:
                await self._load()
            else:
                await self._changed.wait()

    async def _handle(self, session_id: str, utterance: Utterance) -> None:
        """One utterance, until it is written or given up; its session's next one waits for it."""
        event, pcm = await self._event_of(session_id, utterance)
        while not await self._commit(session_id, [event], [utterance]):
            pass  # it has waited
        if pcm:
            self._on_written(session_id, utterance, pcm, event.body["text"])
        self._queue.done(session_id)
        self._known.discard((session_id, utterance))
        times = self._heard_at[session_id]
        times.popleft()
        if not times:
            del self._heard_at[session_id]
        self._change()

    async def _event_of(self, session_id: str, utterance: Utterance) -> tuple[NewEvent, bytes]:
        """Its transcript, asked for until it is there, and its PCM; or that it was given up, and none."""
        broken = 0
        while True:
            try:
                return await self._transcribe(session_id, utterance)
            except _AudioGone:
                return failed_event(utterance, self._wall_ms(), None, "its audio has expired"), b""
            except TranscriptionFailed as error:
                broken += error.failure is Failure.BROKEN
                if broken >= MAX_BROKEN:
                    return failed_event(utterance, self._wall_ms(), error.failure, error.detail), b""
                await self._back_off(session_id, error)

    async def _transcribe(self, session_id: str, utterance: Utterance) -> tuple[NewEvent, bytes]:
        pcm, found = await self.transcribe(partial(self._audio, session_id, utterance))
        return transcript_event(utterance, self._wall_ms(), found, self.provider), pcm

    def _note_success(self) -> None:
        if self._last_failure is not None:
            log.info("transcription works again", provider=self.provider)
        self._last_failure, self._failures = None, 0

    async def _audio(self, session_id: str, utterance: Utterance) -> bytes:
        """The utterance's PCM. A gap in it is silence; raises _AudioGone where there is nothing else."""
        first = utterance.start_sample // CHUNK_SAMPLES + 1
        last = (utterance.end_sample - 1) // CHUNK_SAMPLES + 1
        session = self._live(session_id)
        stream = None if session is None else session.streams.get(utterance.stream)
        found: dict[int, bytes] = {}
        for seq in range(first, last + 1):
            pcm = None if stream is None else stream.shown(seq)
            if pcm is not None:
                found[seq] = pcm
        if len(found) <= last - first:
            key = StreamKey(session_id, utterance.stream)
            async with aclosing(self._reader.seconds(key, first, last)) as seconds:
                found |= {seq: pcm async for seq, pcm in seconds if pcm is not None}
        if not found:
            raise _AudioGone
        whole = b"".join(found.get(seq, b"").ljust(CHUNK_BYTES, b"\0") for seq in range(first, last + 1))
        start = utterance.start_sample - (first - 1) * CHUNK_SAMPLES
        length = utterance.end_sample - utterance.start_sample
        return whole[start * SAMPLE_BYTES : (start + length) * SAMPLE_BYTES]

    async def _commit(
        self, session_id: str, events: Sequence[NewEvent], written: Sequence[Utterance] = ()
    ) -> bool:
        """Whether the catalog has it; it hasn't while it can't be reached."""
        try:
            committed = await self._catalog.append_events(
                session_id, events, at=self._wall_ms(), written=written
            )
        except SessionIsDeleted:
            self._forget(session_id)
            return True
        except CatalogUnavailable as error:
            log.warning("a transcript waits for the catalog", session_id=session_id, error=str(error))
            await trio.sleep(self._policy.retry_initial)
            return False
        session = self._live(session_id)
        if session is not None:
            session.published(committed)
        return True

    def _forget(self, session_id: str) -> None:
        """The session was deleted: what waits of it waits for nothing."""
        for _ in range(self._queue.drop(session_id)):
            self._heard_at[session_id].pop()
        self._known = {each for each in self._known if each[0] != session_id}

    async def _back_off(self, session_id: str, error: TranscriptionFailed) -> None:
        """Note the failure, and wait: longer each time, at once the longest where somebody has to act."""
        if self._last_failure is None or self._last_failure.failure is not error.failure:
            log.warning(
                "transcription fails; the audio is kept and tried again",
                session_id=session_id,
                provider=self._transcriber.provider,
                failure=str(error.failure),
                detail=error.detail,
            )
        self._last_failure = error
        self._failures += 1
        longest = self._policy.retry_max
        if error.passing:
            longest = min(longest, self._policy.retry_initial * 2.0 ** min(self._failures - 1, 16))
        await trio.sleep(max(error.retry_after or 0.0, longest * (0.5 + self._random.random() / 2)))

    # -- who is late

    async def _watch(self) -> None:
        """Tell each session once that its transcripts are late, and once that they aren't any more."""
        while True:
            await trio.sleep(self._policy.watch_interval)
            now = trio.current_time()
            for session_id, times in list(self._heard_at.items()):
                if session_id not in self._late and now - times[0] > self._policy.late_after:
                    self._late.add(session_id)
                    await self._say(session_id, LATE, {"waiting": self._queue.of(session_id)})
            for session_id in [each for each in self._late if not self._queue.of(each)]:
                self._late.discard(session_id)
                await self._say(session_id, CAUGHT_UP, {})

    async def _say(self, session_id: str, type_: str, body: dict[str, object]) -> None:
        await self._commit(session_id, [NewEvent(self._wall_ms(), type_, body)])


def _place(utterance: Utterance) -> dict[str, object]:
    return {
        "utterance": utterance.number,
        "start_ms": utterance.start_sample * 1000 // CHUNK_SAMPLES,
        "end_ms": utterance.end_sample * 1000 // CHUNK_SAMPLES,
    }


def transcript_event(utterance: Utterance, at: int, found: Transcript, provider: str) -> NewEvent:
    """What was said in an utterance."""
    body = _place(utterance) | {"text": found.text, "language": found.language, "provider": provider}
    return NewEvent(at, TRANSCRIPT, body | {"fetch_ms": found.fetch_ms}, utterance.stream)


def failed_event(utterance: Utterance, at: int, failure: Failure | None, detail: str) -> NewEvent:
    """It was given up; `failure` None where its audio is gone."""
    body = _place(utterance) | {"failure": "audio_gone" if failure is None else str(failure)}
    return NewEvent(at, TRANSCRIPT_FAILED, body | {"detail": detail}, utterance.stream)
