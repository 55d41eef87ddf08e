"""The speech in a clip: what of it a person says, without the pauses."""

from __future__ import annotations

import attrs
import numpy as np

from interview_edge.core.pcm import SAMPLE_RATE
from interview_edge.core.utterances import SpeechEnded
from interview_edge.speech.clips import Samples
from interview_edge.speech.pipeline import StreamVad
from interview_edge.speech.vad import WebRtcVad

# Whatever the node hears with: this must be quick, and thresholds of speakers were set with it.
MODE, FRAME_MS = 2, 20


@attrs.frozen
class Speech:
    """The stretches of speech in a clip, joined, and how many they are."""

    samples: Samples
    segments: int

    @property
    def seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE


def speech_in(samples: Samples) -> Speech:
    """What of 16 kHz mono the voice detection calls speech; empty where it hears none. 0.1 ms a second."""
    vad = StreamVad(WebRtcVad(MODE, FRAME_MS))
    pcm = np.clip(np.rint(samples * 32_768), -32_768, 32_767).astype("<i2").tobytes()
    events = [*vad.hear(pcm), *vad.flush()]
    stretches = [
        samples[event.start_sample : event.end_sample] for event in events if isinstance(event, SpeechEnded)
    ]
    joined = np.concatenate(stretches) if stretches else samples[:0]
    return Speech(joined, len(stretches))
