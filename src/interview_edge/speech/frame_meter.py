"""How loud each 20 ms of a recording are, and whether they sound voiced: what core/declared_utterances.py
goes by.
"""

from __future__ import annotations

import numpy as np

from interview_edge.core.declared_utterances import FRAME_MS, FRAME_SAMPLES, Frame
from interview_edge.core.pcm import SAMPLE_BYTES
from interview_edge.speech.vad import WebRtcVad

# The strictest mode: it flags a fifth of a quiet room, the default half of it, and then no prefetch would do.
STRICTEST_MODE = 3


class FrameMeter:
    """Measures one recording from any sample on. Runs inline, about 0.1 ms a second of audio."""

    __slots__ = ("_begun", "_vad")

    def __init__(self) -> None:
        self._vad = WebRtcVad(STRICTEST_MODE, FRAME_MS)
        self._begun = b""  # of a frame that isn't whole yet, as the VAD carries it too

    def measure(self, pcm: bytes) -> list[Frame]:
        """The frames that `pcm` (whole samples, any number) completes; `level` is the mean square."""
        flags = self._vad.judge(pcm)
        audio = self._begun + pcm
        whole = len(flags) * FRAME_SAMPLES * SAMPLE_BYTES
        self._begun = audio[whole:]
        samples = np.frombuffer(audio[:whole], "<i2").astype(np.float64).reshape(-1, FRAME_SAMPLES)
        levels = np.mean(samples * samples, axis=1) if flags else np.empty(0)
        return [Frame(float(level), bool(flag)) for level, flag in zip(levels, flags, strict=True)]
