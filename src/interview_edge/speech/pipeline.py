"""A stream's ear: VAD and utterance tracker as one, with an exact position to go on from after a restart."""

from __future__ import annotations

from typing import NamedTuple

from interview_edge.core.models import VadPosition
from interview_edge.core.pcm import CHUNK_SAMPLES, SAMPLE_BYTES, SAMPLE_RATE
from interview_edge.core.utterances import SpeechEvent, UtteranceRules, UtteranceTracker
from interview_edge.speech.vad import Vad

SAMPLES_PER_MS = SAMPLE_RATE // 1000
# How much of a long silence the VAD really hears, so that a gap of a day costs no more than one second. Every
# further zero frame is unvoiced (contract of `Vad`). It would still move the VAD's state a little (webrtcvad
# 2.0.14 goes on learning after audio), so what follows a gap may be judged otherwise than after zeros that
# were heard.
SETTLING_SAMPLES = CHUNK_SAMPLES


class Silence(NamedTuple):
    """A gap as it was judged: the flags of its beginning, the unvoiced frames after, the flags of its end."""

    first: bytes
    unvoiced: int
    last: bytes


class StreamVad:
    """Speech events of one stream, heard second after second. No I/O, no waiting; with webrtcvad about 0.1 ms
    a second.

    Where the VAD blocks, its part is done apart, in a thread: `judge`, then `take` with what it gave. A call
    that was given up leaves `position` as it was, and the ear of no more use: a fresh one resumes there.
    Raises ValueError for a VAD whose frames aren't 10..100 whole milliseconds.
    """

    __slots__ = ("_frame_samples", "_rules", "_skip", "_tracker", "_vad")

    def __init__(self, vad: Vad) -> None:
        self._frame_samples = vad.frame_samples
        frame_ms, rest = divmod(self._frame_samples, SAMPLES_PER_MS)
        if rest:
            raise ValueError(f"a frame must be whole milliseconds, got {self._frame_samples} samples")
        self._rules = UtteranceRules(frame_ms=frame_ms)
        self._tracker = UtteranceTracker(self._rules)
        self._vad = vad
        self._skip = 0

    def hear(self, pcm: bytes) -> list[SpeechEvent]:
        """Take the stream's next samples (s16le mono 16 kHz, whole samples) and answer what they decided."""
        return self._tracker.hear(self.judge(pcm) if self._skip else self._vad.judge(pcm))

    def hear_silence(self, samples: int) -> list[SpeechEvent]:
        """Take a gap of `samples` as silence: for the utterances as so many zeros, in bounded time."""
        return self.take_silence(self.judge_silence(samples))

    # -- the same in two steps

    def judge(self, pcm: bytes) -> bytes:
        """The flags of the stream's next samples: the work of `hear`."""
        if self._skip:
            known = pcm[: self._skip * SAMPLE_BYTES]
            self._skip -= len(known) // SAMPLE_BYTES
            self._vad.warm_up(known)
            pcm = pcm[len(known) :]
        return self._vad.judge(pcm)

    def take(self, flags: bytes) -> list[SpeechEvent]:
        """What these flags decided."""
        return self._tracker.hear(flags)

    def judge_silence(self, samples: int) -> Silence:
        """The work of `hear_silence`."""
        first = self.judge(bytes(min(samples, SETTLING_SAMPLES) * SAMPLE_BYTES))
        unvoiced, rest = divmod(max(0, samples - SETTLING_SAMPLES), self._frame_samples)
        return Silence(first, unvoiced, self.judge(bytes(rest * SAMPLE_BYTES)))

    def take_silence(self, silence: Silence) -> list[SpeechEvent]:
        """What this gap decided."""
        events = self._tracker.hear(silence.first) + self._tracker.hear_unvoiced(silence.unvoiced)
        return events + self._tracker.hear(silence.last)

    def flush(self) -> list[SpeechEvent]:
        """The stream ends or rests here: end an open utterance. A part of a frame isn't judged."""
        return self._tracker.flush()

    @property
    def is_open(self) -> bool:
        """See `UtteranceTracker.is_open`."""
        return self._tracker.is_open

    @property
    def open_utterance(self) -> tuple[int, int, int] | None:
        """See `UtteranceTracker.open_utterance`."""
        return self._tracker.open_utterance

    # -- restarts

    def position(self) -> VadPosition:
        """How far it has judged. Resuming here and hearing the rest loses and doubles no event."""
        return VadPosition(self._tracker.heard, self._tracker.snapshot())

    def resume(self, position: VadPosition) -> None:
        """On a fresh ear: go on from a position. What is heard next must begin with the second that holds
        `position.sample` (seq `sample // 16000 + 1`): the part of it that was judged before is passed over.
        """
        self._tracker = UtteranceTracker.restore(position.tracker, self._rules)
        self._skip = position.sample % CHUNK_SAMPLES

    def warm_up(self, pcm: bytes) -> None:
        """Let the VAD adapt to audio before the position, without events: its state isn't in the position. It
        blocks as `judge` does.
        """
        self._vad.warm_up(pcm)
