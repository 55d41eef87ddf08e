"""The scribe of a browser socket on a node with a transcriber (contract stream.md, `transcription_result`).

The server's own utterances are the desk's to write (sessions/transcription_desk.py): here it is only said
what it wrote. A client's own are transcribed as they come, each once, in their order, and kept as events.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

import attrs
import trio

from interview_edge.core.models import Event
from interview_edge.core.transcripts import TRANSCRIPT
from interview_edge.sessions.session import Session
from interview_edge.sessions.transcript_events import (
    DEFERRED,
    LATE,
    TRANSCRIPT_FAILED,
    failed_event,
    transcript_event,
)
from interview_edge.sessions.transcription_desk import TranscriptionDesk, Written
from interview_edge.speech.transcriber import Failure, Transcript, TranscriptionFailed
from interview_edge.web.transcripts import Utterance
from interview_edge.wire.browser_frames import (
    Performance,
    ServerFrame,
    TranscriptionError,
    TranscriptionResult,
)

MAX_WAITING = 64  # finals of one socket: half an hour of lively talk at a provider that stands still


@attrs.define(eq=False)
class _Prefetch:
    """One copy that is transcribed ahead; `found` once it is, None where it came to nothing."""

    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    over: trio.Event = attrs.field(factory=trio.Event)
    found: Transcript | None = None


class LiveScribe:
    """See `Scribe`. Its tasks are the session's: what was asked for is kept though the socket ends."""

    def __init__(
        self,
        session: Session,
        desk: TranscriptionDesk,
        say: Callable[[ServerFrame], None],
        now_ms: Callable[[], int],
        patience: float,
    ) -> None:
        self._session = session
        self._desk = desk
        self._say = say
        self._now_ms = now_ms
        self._patience = patience
        self._by_server: dict[tuple[str, int], tuple[Utterance, float]] = {}  # by stream and number
        self._finals: deque[tuple[Utterance, bool, float]] = deque()
        self._is_working = False
        self._prefetches: dict[str, _Prefetch] = {}
        self._changed = trio.Event()

    # -- what is asked for

    def prefetch(self, utterance: Utterance) -> None:
        self.drop(utterance.utterance_id)
        prefetch = _Prefetch()
        if self._session.start_soon(partial(self._prefetch, utterance, prefetch)):
            self._prefetches[utterance.utterance_id] = prefetch

    def drop(self, utterance_id: str) -> None:
        prefetch = self._prefetches.pop(utterance_id, None)
        if prefetch is not None:
            prefetch.scope.cancel()

    def finish(self, utterance: Utterance, *, reuse: bool) -> None:
        now = trio.current_time()
        if utterance.number is not None:
            self._by_server[utterance.heard.stream, utterance.number] = utterance, now
            return
        if len(self._finals) >= MAX_WAITING:
            late = TranscriptionFailed(Failure.BUSY, f"{MAX_WAITING} utterances wait already")
            self._fail(utterance, late, is_prefetch=False)
            return
        self._finals.append((utterance, reuse, now))
        self._session.lines.add()
        if not self._is_working:
            self._is_working = self._session.start_soon(self._work)

    def partial(self, utterance: Utterance, found: Transcript) -> None:
        self._result(utterance, found, trio.current_time() - found.fetch_ms / 1000, is_prefetch=True)

    def tell(self, events: Sequence[Event]) -> None:
        """What the desk has written of the server's utterances, and how late it is."""
        for event in events:
            if event.type in (LATE, DEFERRED):
                self._say_late(event)
            if event.type in (TRANSCRIPT, TRANSCRIPT_FAILED) and "utterance_id" not in event.body:
                waiting = self._by_server.pop((event.stream or "", event.body["utterance"]), None)
                if waiting is not None:
                    self._pass_on(event, *waiting)
        self._change()

    async def settled(self) -> None:
        """Wait until all is said. What isn't after `patience` is said to be late: its event follows."""
        with trio.move_on_after(self._patience):
            while self._by_server or self._finals or self._is_working:
                await self._changed.wait()
            return
        for utterance, _ in self._by_server.values():
            late = TranscriptionFailed(Failure.TIMEOUT, "the transcript is late; it will be in the record")
            self._fail(utterance, late, is_prefetch=False)
        self._by_server.clear()

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    # -- the work

    async def _prefetch(self, utterance: Utterance, prefetch: _Prefetch) -> None:
        began = trio.current_time()
        try:
            with prefetch.scope:
                prefetch.found = await self._transcribe(utterance)
                self._result(utterance, prefetch.found, began, is_prefetch=True)
        except TranscriptionFailed as error:
            self._fail(utterance, error, is_prefetch=True)
        finally:
            prefetch.over.set()

    async def _work(self) -> None:
        try:
            while self._finals:
                await self._finish(*self._finals[0])
                self._finals.popleft()
                self._session.lines.done()
        finally:
            self._is_working = False
            self._change()

    async def _finish(self, utterance: Utterance, reuse: bool, began: float) -> None:
        prefetch = self._prefetches.pop(utterance.utterance_id, None)
        written = None
        try:
            found = None
            if reuse and prefetch is not None:
                await prefetch.over.wait()
                found = prefetch.found
            if found is None:
                found = await self._transcribe(utterance)
        except TranscriptionFailed as error:
            event = failed_event(utterance.heard, self._now_ms(), error.failure, error.detail)
            self._fail(utterance, error, is_prefetch=False)
        else:
            event = transcript_event(utterance.heard, self._now_ms(), found, self._desk.transcriber.provider)
            written = Written(utterance.heard, found.text, utterance.utterance_id)
            self._result(utterance, found, began, is_prefetch=False)
        mine = {"source": "client", "utterance_id": utterance.utterance_id}
        event = attrs.evolve(event, body={**event.body, **mine})
        await self._desk.record(self._session.session_id, event, written)

    async def _transcribe(self, utterance: Utterance) -> Transcript:
        return await self._desk.transcriber.transcribe(utterance.read, prompt=utterance.prompt)

    # -- what is said

    def _pass_on(self, event: Event, utterance: Utterance, began: float) -> None:
        body = event.body
        if event.type == TRANSCRIPT_FAILED:
            self._fail(utterance, TranscriptionFailed(Failure.BROKEN, body["detail"]), is_prefetch=False)
        else:
            found = Transcript(body["text"], body["language"], body["fetch_ms"])
            self._result(utterance, found, began, is_prefetch=False)

    def _result(self, utterance: Utterance, found: Transcript, began: float, *, is_prefetch: bool) -> None:
        total = (trio.current_time() - began) * 1000
        now = self._now_ms()
        self._say(
            TranscriptionResult(
                text=found.text,
                speech_start_ms=utterance.start_ms,
                speech_end_ms=utterance.end_ms,
                timestamp=now,
                is_prefetch=is_prefetch,
                performance=Performance(
                    total_processing_ms=round(total, 1),
                    wav_creation_ms=round(max(0.0, total - found.fetch_ms), 1),
                    api_fetch_ms=found.fetch_ms,
                    worker_timestamp=now,
                    provider=self._desk.transcriber.provider,
                ),
                utterance_id=utterance.utterance_id,
            )
        )

    def _say_late(self, event: Event) -> None:
        told = f"{event.body['waiting']} utterances wait for their transcripts; their audio is stored"
        why = event.body["failure"] or event.type.removeprefix("transcription_")
        self._say(TranscriptionError(error=told, details=why, timestamp=self._now_ms()))

    def _fail(self, utterance: Utterance, error: TranscriptionFailed, *, is_prefetch: bool) -> None:
        self._say(
            TranscriptionError(
                error=error.detail,
                details=str(error.failure),
                timestamp=self._now_ms(),
                utterance_id=utterance.utterance_id,
                is_prefetch=is_prefetch,
            )
        )
