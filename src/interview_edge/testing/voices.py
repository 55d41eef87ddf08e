"""For the checks of speech providers: recorded speech that the package ships, and a second voice of it."""

from __future__ import annotations

import io
from functools import cache
from importlib.resources import files

import numpy as np
import soundfile

from interview_edge.core.pcm import CHUNK_BYTES, SAMPLE_RATE
from interview_edge.core.resample import Resampler

RECORDED_SECONDS = 11
# Played as if recorded at it, the voice is slower and half an octave deeper. CAM++ is sure that this is
# somebody else: cosine 0.3, where the recording's two halves have 0.75.
_DEEPER_RATE = 11_025


@cache
def recorded_voice() -> bytes:
    """Eleven seconds of John F. Kennedy (docs/demo-audio.md): s16le mono 16 kHz."""
    flac = files("interview_edge") / "cli" / "demo_audio" / "jfk.flac"
    samples, rate = soundfile.read(io.BytesIO(flac.read_bytes()), dtype="int16")
    if rate != SAMPLE_RATE:
        raise ValueError(f"the recording has {rate} Hz")
    return bytes(samples.astype("<i2").tobytes())


@cache
def second_voice() -> bytes:
    """As much of another voice."""
    samples = np.frombuffer(recorded_voice(), "<i2").astype(np.float32)
    resampler = Resampler(_DEEPER_RATE)
    slower = np.concatenate([resampler.feed(samples), resampler.finish()])
    pcm = np.clip(np.rint(slower), -32_768, 32_767).astype("<i2").tobytes()
    return bytes(pcm[: RECORDED_SECONDS * CHUNK_BYTES])
