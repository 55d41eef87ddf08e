"""Partials: what has been said so far of an utterance that goes on, for whoever watches.

They are extra. One is made only while nothing final waits on the node and few talk, one at a time, and it is
dropped as soon as something final comes; none is kept, and none is an event. So on a busy machine there are
none. Where nothing more is said after one, it is the final's text too: the provider isn't asked twice
(contract stream.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol

import attrs
import trio

from interview_edge.core.models import Utterance
from interview_edge.core.partials import OpenSpeech, PartialSchedule
from interview_edge.sessions.audience import Audience
from interview_edge.sessions.transcription_desk import TranscriptionDesk
from interview_edge.sessions.utterance_audio import AudioGone
from interview_edge.speech.transcriber import Transcript, TranscriptionFailed

PATIENCE = 4  # intervals: an older partial tells nobody anything


@attrs.frozen
class Partial:
    """What was said up to `utterance.end_sample` of an utterance that goes on. The next one takes its place,
    and in the end the transcript.
    """

    utterance: Utterance
    found: Transcript


class SpeakingSession(Protocol):
    """What is asked of a live session. `partials` are who wants its partials."""

    session_id: str
    partials: Audience[Partial]

    def open_utterances(self) -> Sequence[Utterance]: ...


class PartialTranscripts:
    """Makes a node's partials. `interval` is in seconds: at most one an utterance in so long."""

    def __init__(
        self,
        desk: TranscriptionDesk,
        sessions: Callable[[], Iterable[SpeakingSession]],
        interval: float,
    ) -> None:
        self._desk = desk
        self._sessions = sessions
        # A single session that talks is always let in: its own final waits for its partial at worst.
        self._room = max(1, desk.workers - 1)
        self._schedule = PartialSchedule(interval, self._room)
        self._interval = interval

    async def run(self) -> None:
        """Make them, until cancelled."""
        while True:
            await trio.sleep(self._interval / 8)
            speech = self._pick()
            if speech is not None:
                await self._make(speech)

    def _pick(self) -> OpenSpeech | None:
        sessions = list(self._sessions())
        wanted = {session.session_id for session in sessions if session.partials}
        if not wanted:
            return None
        speaking: list[OpenSpeech] = []
        for session in sessions:
            speaking += [OpenSpeech(session.session_id, each) for each in session.open_utterances()]
            if len(speaking) > self._room:  # that many sessions or streams talk: the rest needn't be asked
                break
        now = trio.current_time()
        self._schedule.note(speaking, now)
        if not self._desk.is_idle:
            return None
        return self._schedule.pick([each for each in speaking if each.session_id in wanted], now)

    async def _make(self, speech: OpenSpeech) -> None:
        found: Transcript | None = None
        with trio.move_on_after(self._interval * PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._give_way, nursery.cancel_scope)
                try:
                    read = partial(self._desk.read, speech.session_id, speech.utterance)
                    found = await self._desk.transcriber.transcribe(read, ahead=True)
                except (TranscriptionFailed, AudioGone):
                    pass  # the final one will say so
                nursery.cancel_scope.cancel()
        if found is not None and found.text:
            self._tell(speech, found)

    async def _give_way(self, making: trio.CancelScope) -> None:
        await self._desk.wanted()
        making.cancel()

    def _tell(self, speech: OpenSpeech, found: Transcript) -> None:
        """Who wants it, unless it is over: then its transcript is on the way, or there already."""
        number, stream = speech.utterance.number, speech.utterance.stream
        for session in self._sessions():
            if session.session_id == speech.session_id and any(
                (each.number, each.stream) == (number, stream) for each in session.open_utterances()
            ):
                session.partials.tell(Partial(speech.utterance, found))
