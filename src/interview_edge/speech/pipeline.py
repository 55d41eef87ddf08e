"""A stream's ear: VAD and utterance tracker as one, with an exact position to go on from after a restart."""

from __future__ import annotations

from interview_edge.core.models import VadPosition
from interview_edge.core.pcm import CHUNK_SAMPLES, SAMPLE_BYTES
from interview_edge.core.utterances import SpeechEvent, UtteranceRules, UtteranceTracker
from interview_edge.speech.vad import WebRtcVad

# How much of a long silence the VAD really hears, so that a gap of a day costs no more than one second. Every
# further zero frame is unvoiced. It would still move the VAD's noise model a little (webrtcvad 2.0.14 goes on
# learning after audio), so what follows a gap may be judged otherwise than after zeros that were heard.
SETTLING_SAMPLES = CHUNK_SAMPLES


class StreamVad:
    """Speech events of one stream, heard second after second. No I/O, no waiting; about 0.1 ms a second."""

    __slots__ = ("_frame_samples", "_rules", "_skip", "_tracker", "_vad")

    def __init__(self, *, mode: int = 2, frame_ms: int = 20) -> None:
        self._rules = UtteranceRules(frame_ms=frame_ms)
        self._frame_samples = self._rules.frame_samples
        self._tracker = UtteranceTracker(self._rules)
        self._vad = WebRtcVad(mode, frame_ms)
        self._skip = 0

    def hear(self, pcm: bytes) -> list[SpeechEvent]:
        """Take the stream's next samples (s16le mono 16 kHz, whole samples) and answer what they decided."""
        if self._skip:
            known = pcm[: self._skip * SAMPLE_BYTES]
            self._skip -= len(known) // SAMPLE_BYTES
            self._vad.warm_up(known)
            pcm = pcm[len(known) :]
        return self._tracker.hear(self._vad.judge(pcm))

    def hear_silence(self, samples: int) -> list[SpeechEvent]:
        """Take a gap of `samples` as silence: for the utterances as so many zeros, in bounded time."""
        zeros = bytes(min(samples, SETTLING_SAMPLES) * SAMPLE_BYTES)
        events = self.hear(zeros)
        frames, rest = divmod(max(0, samples - SETTLING_SAMPLES), self._frame_samples)
        events += self._tracker.hear_unvoiced(frames)
        return events + self.hear(bytes(rest * SAMPLE_BYTES))

    def flush(self) -> list[SpeechEvent]:
        """The stream ends or rests here: end an open utterance. A part of a frame isn't judged."""
        return self._tracker.flush()

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
        """Let the VAD adapt to audio before the position, without events: its state isn't in the position."""
        self._vad.warm_up(pcm)
