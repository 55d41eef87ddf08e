"""For tests: recorded speech as clips, a second voice made of it, and an embedder that needs no model."""

from __future__ import annotations

import base64
import io
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from interview_edge.speech.clips import Samples

RATE = 16_000


def jfk(seconds: float = 11.0, start: float = 0.0) -> Samples:
    """Of the demo's recording."""
    flac = files("interview_edge.cli") / "demo_audio" / "jfk.flac"
    samples, _ = soundfile.read(io.BytesIO(flac.read_bytes()), dtype="float32")
    found: Samples = samples[int(start * RATE) : int((start + seconds) * RATE)]
    return found


def pcm(samples: Samples) -> bytes:
    return np.clip(np.rint(samples * 32_768), -32_768, 32_767).astype("<i2").tobytes()


def audio(samples: Samples, **more: Any) -> dict[str, Any]:
    """The samples as a request's `audio`. Told another `sample_rate`, they are another voice: JFK at 11,025
    Hz speaks slower and deeper.
    """
    return {"content_b64": base64.b64encode(pcm(samples)).decode(), "format": "pcm_s16le"} | more


def encoded(samples: Samples, format_: str, **more: Any) -> dict[str, Any]:
    """The samples as a file of libsndfile's `format_` (MP3, OGG...)."""
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format=format_, **more)
    return {"content_b64": base64.b64encode(file.getvalue()).decode(), "format": format_.lower()}


class SpectrumEmbedder:
    """A voice as its mean spectrum in 24 bands: enough to tell JFK from a slower JFK, wherever he speaks."""

    model_id = "spectrum"
    model_revision = "1"

    def embed(self, samples: Samples) -> npt.NDArray[np.float32]:
        frames = np.lib.stride_tricks.sliding_window_view(samples, 512)[::256] * np.hanning(512)
        power = np.abs(np.fft.rfft(frames, axis=1)).mean(axis=0)[1:193].reshape(24, 8).mean(axis=1)
        shape = np.diff(np.log(power + 1e-6))
        shape -= shape.mean()
        found: npt.NDArray[np.float32] = (shape / np.linalg.norm(shape)).astype(np.float32)
        return found
