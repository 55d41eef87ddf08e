"""Voices told apart by their mean spectrum: EDGE_SPEAKERS=spectrum. Put your model in its place.

A model that makes a vector of a voice is all that a provider takes: `speakers_by` has the rest, decoding,
clusters, names and threads.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import numpy.typing as npt

from interview_edge import Settings
from interview_edge.speech import SpeakerInference, speakers_by

WINDOW = 512  # samples: 32 ms
BANDS = 24  # of 250 Hz


class SpectrumEmbedder:
    """A `SpeakerEmbedder`."""

    model_id = "spectrum"
    model_revision = "1"

    def embed(self, samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The shape of the voice's spectrum, whatever its loudness, as a unit vector."""
        frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[:: WINDOW // 2]
        power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW), axis=1)).mean(axis=0)[1 : 1 + 8 * BANDS]
        shape = np.diff(np.log(power.reshape(BANDS, 8).mean(axis=1) + 1e-6))
        shape -= shape.mean()
        found: npt.NDArray[np.float32] = (shape / np.linalg.norm(shape)).astype(np.float32)
        return found


@asynccontextmanager
async def open_spectrum(settings: Settings) -> AsyncIterator[SpeakerInference]:
    """What the entry point names. The embedder is made with the first resolve, in a thread."""
    yield speakers_by(SpectrumEmbedder, settings, provider="spectrum")
