"""Which utterance that isn't over yet is transcribed ahead next. Pure; the clock is the caller's."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from interview_edge.core.models import Utterance
from interview_edge.core.pcm import SAMPLE_RATE

CONVERSATION = 10.0


@attrs.frozen
class OpenSpeech:
    """An utterance of a session that goes on: what it would be if it ended now."""

    session_id: str
    utterance: Utterance


@attrs.frozen
class _Covered:
    number: int
    upto: int  # sample
    at: float


class PartialSchedule:
    """Picks one after the other, each utterance at most once an `interval` (seconds, of speech and of time):
    the one with the most speech that no partial has.

    None while more than `room` sessions talk: whose turn it is next must not find the machine at work on
    somebody else's beginning. Who has spoken within `CONVERSATION` seconds talks.
    """

    def __init__(self, interval: float, room: int) -> None:
        self._interval = interval
        self._room = room
        self._spoke_at: dict[str, float] = {}
        self._covered: dict[tuple[str, str], _Covered] = {}

    def note(self, speaking: Sequence[OpenSpeech], now: float) -> None:
        """These go on now."""
        self._spoke_at = {each: at for each, at in self._spoke_at.items() if now - at <= CONVERSATION}
        self._spoke_at |= {each.session_id: now for each in speaking}

    def pick(self, speaking: Sequence[OpenSpeech], now: float) -> OpenSpeech | None:
        """The one to transcribe now, None where none is due. `speaking` are those that are wanted and go
        on.
        """
        if len(self._spoke_at) > self._room:
            return None
        here = {(each.session_id, each.utterance.stream) for each in speaking}
        self._covered = {key: covered for key, covered in self._covered.items() if key in here}
        due = [(new, each) for each in speaking if (new := self._due(each, now)) is not None]
        if not due:
            return None
        picked = max(due, key=lambda pair: pair[0])[1]
        utterance = picked.utterance
        self._covered[picked.session_id, utterance.stream] = _Covered(
            utterance.number, utterance.end_sample, now
        )
        return picked

    def _due(self, speech: OpenSpeech, now: float) -> int | None:
        """How many samples of it are new, None where it isn't due."""
        utterance = speech.utterance
        covered = self._covered.get((speech.session_id, utterance.stream))
        since = utterance.start_sample
        if covered is not None:
            if now - covered.at < self._interval:
                return None
            if covered.number == utterance.number:
                since = covered.upto
        new = utterance.end_sample - since
        return new if new >= self._interval * SAMPLE_RATE else None
