"""The speech in one recording of the browser dialect: who says where it is, and who is told of it.

A client's own marks say it, from the first of them on; without any, the server's voice detection does
(contract stream.md, VAD semantics).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from interview_edge.core.declared_utterances import (
    Began,
    Decision,
    DeclaredUtterances,
    Ended,
    Mark,
    Prefetch,
    PrefetchDropped,
)
from interview_edge.core.models import Event
from interview_edge.core.models import Utterance as HeardUtterance
from interview_edge.core.pcm import SAMPLE_BYTES
from interview_edge.errors import CATALOG_UNAVAILABLE
from interview_edge.sessions.declared_events import utterance_event
from interview_edge.sessions.partial_transcripts import Partial
from interview_edge.sessions.recording import Recording
from interview_edge.sessions.session import Session
from interview_edge.speech.frame_meter import FrameMeter
from interview_edge.web.transcripts import Scribe, Utterance
from interview_edge.wire.browser_frames import Error, ServerFrame, VadCacheEnd, VadCacheStart

NOT_RECORDED = "the utterance is missing in the session's events; its audio is stored"


class RecordedSpeech:
    """Turns marks and the session's events into frames, events and work for the scribe. Never waits."""

    def __init__(
        self,
        recording: Recording,
        session: Session,
        scribe: Scribe,
        say: Callable[[ServerFrame], None],
        now_ms: Callable[[], int],
    ) -> None:
        self._recording = recording
        self._session = session
        self._scribe = scribe
        self._say = say
        self._now_ms = now_ms
        self._stream = recording.stream.key.stream
        self._declared: DeclaredUtterances | None = None
        self._meter = FrameMeter()
        self._prompt: str | None = None
        # Of a client's utterances: unique over all recordings of the session, these being numbered from 1.
        self._prefix = f"{self._stream}-{secrets.token_hex(4)}-"
        self._server_says_speech = False

    # -- by the client's marks

    def hear(self, at: int, pcm: bytes, mark: Mark | None, prompt: str | None) -> None:
        """The recording's next audio, from sample `at` on, and what the client says of it."""
        if prompt is not None:
            self._prompt = prompt
        if mark is not None and self._declared is None:
            self._declared = DeclaredUtterances(at)
            self._session.declared.take_over(self._stream)
            if self._server_says_speech:
                self._say(VadCacheEnd(self._now_ms()))
        if self._declared is not None:
            self._carry_out(self._declared.hear(len(pcm) // SAMPLE_BYTES, self._meter.measure(pcm), mark))

    def rest(self) -> None:
        """The recording rests: so does whoever speaks in it."""
        if self._declared is not None:
            self._carry_out(self._declared.flush())

    def _carry_out(self, decisions: Iterable[Decision]) -> None:
        for decision in decisions:
            utterance_id = f"{self._prefix}{decision.number}"
            match decision:
                case Began():
                    self._record(decision, utterance_id)
                    self._say(VadCacheStart())
                case Prefetch(start=start, upto=upto):
                    self._scribe.prefetch(self._utterance(utterance_id, decision.number, start, upto))
                case PrefetchDropped():
                    self._scribe.drop(utterance_id)
                case Ended(start=start, end=end, reuse=reuse):
                    self._record(decision, utterance_id)
                    self._say(VadCacheEnd(self._now_ms()))
                    if end > start:
                        utterance = self._utterance(utterance_id, decision.number, start, end)
                        self._scribe.finish(utterance, reuse=reuse)

    def _record(self, found: Began | Ended, utterance_id: str) -> None:
        event = utterance_event(self._stream, found, utterance_id, self._recording.origin, self._now_ms())
        if not self._session.declared.add(event):
            self._say(Error(CATALOG_UNAVAILABLE.code, NOT_RECORDED))

    def _utterance(
        self, utterance_id: str, number: int, start: int, end: int, *, by_server: bool = False
    ) -> Utterance:
        origin = self._recording.origin
        return Utterance(
            utterance_id=utterance_id,
            start=start,
            end=end,
            heard=HeardUtterance(self._stream, number, origin + start, origin + end),
            number=number if by_server else None,
            prompt=self._prompt,
            read=partial(self._recording.read, start, end),
        )

    # -- by the server's own detection

    def tell(self, events: Sequence[Event]) -> None:
        """The session's committed events."""
        for event in events:
            if self._declared is None and event.stream == self._stream and "source" not in event.body:
                self._tell(event)

    def _tell(self, event: Event) -> None:
        match event.type:
            case "speech_started":
                self._server_says_speech = True
                self._say(VadCacheStart())
            case "speech_ended":
                self._server_says_speech = False
                self._say(VadCacheEnd(self._now_ms()))
                utterance_id = f"{self._stream}-{event.body['utterance']}"
                start = self._clock_of(event.body["start_sample"])
                end = self._clock_of(event.body["end_sample"])
                if end > start:
                    number: int = event.body["utterance"]
                    utterance = self._utterance(utterance_id, number, start, end, by_server=True)
                    self._scribe.finish(utterance, reuse=False)

    def tell_partial(self, told: Partial) -> None:
        """What was said so far of an utterance of the session's."""
        heard = told.utterance
        start, end = self._clock_of(heard.start_sample), self._clock_of(heard.end_sample)
        if self._declared is None and heard.stream == self._stream and end > start:
            utterance_id = f"{self._stream}-{heard.number}"
            utterance = self._utterance(utterance_id, heard.number, start, end, by_server=True)
            self._scribe.partial(utterance, told.found)

    def _clock_of(self, position: int) -> int:
        """A sample of the stream as one of the recording, which pre-roll may reach back before."""
        return max(0, position - self._recording.origin)
