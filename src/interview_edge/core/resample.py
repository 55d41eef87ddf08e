"""Any sample rate to 16 kHz, in pieces: a polyphase windowed-sinc low-pass (after J. O. Smith).

One output sample is the dot product of the input around its place with one phase of a Kaiser-windowed sinc.
Measured by the tests: the stop band (from 8 kHz) is 80 dB down, the pass band (to 7 kHz) flat to 0.1 dB.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from interview_edge.core.pcm import SAMPLE_RATE

Samples = npt.NDArray[np.float32]

MIN_RATE = 1_000
MAX_RATE = 384_000

_ZERO_CROSSINGS = 64  # of the sinc, each side: what 80 dB and a 0.7 kHz transition band take
_CUTOFF = 0.955  # of the lower Nyquist frequency, so that the transition ends at it
_BETA = 9.0  # Kaiser: side lobes about 90 dB down
_BLOCK = 2048  # outputs at once: bounds the gathered windows to a few MB


class Resampler:
    """Streaming conversion of mono float32 samples from `rate` (Hz) to 16 kHz.

    `feed` answers what is complete so far, `finish` the rest; together exactly ceil(inputs * 16000 / rate)
    samples, without delay. At 16 kHz the samples pass untouched. Raises ValueError for rates outside
    1,000..384,000 Hz.
    """

    def __init__(self, rate: int) -> None:
        if not MIN_RATE <= rate <= MAX_RATE:
            raise ValueError(f"sample rate must be {MIN_RATE}..{MAX_RATE} Hz, got {rate}")
        divisor = math.gcd(rate, SAMPLE_RATE)
        self._up = SAMPLE_RATE // divisor
        self._down = rate // divisor
        self._half = math.ceil(_ZERO_CROSSINGS * max(1.0, self._down / self._up))
        self._phases = _phases(self._up, self._down, self._half)
        # The input from absolute index `_first` on; before index 0 there is silence.
        self._input: Samples = np.zeros(self._half - 1, dtype=np.float32)
        self._first = 1 - self._half
        self._fed = 0
        self._done = 0

    def feed(self, samples: Samples) -> Samples:
        """Take more input (shape (n,)); answer the outputs that no later input can change."""
        self._fed += len(samples)
        if self._up == self._down:
            return samples
        return self._advance(samples)

    def finish(self) -> Samples:
        """The outputs that waited for input that didn't come."""
        if self._up == self._down:
            return np.zeros(0, dtype=np.float32)
        wanted = -(-self._fed * self._up // self._down) - self._done
        return self._advance(np.zeros(self._half, dtype=np.float32))[:wanted]

    def _advance(self, samples: Samples) -> Samples:
        self._input = np.concatenate((self._input, samples))
        end = self._first + len(self._input)
        # Output n reads inputs up to floor(n * down / up) + half, which must lie before `end`.
        ready = max(self._done, -(-(end - self._half) * self._up // self._down))
        blocks = [
            self._outputs(first, min(first + _BLOCK, ready)) for first in range(self._done, ready, _BLOCK)
        ]
        self._done = ready
        keep = ready * self._down // self._up - self._half + 1 - self._first
        self._input = self._input[keep:]
        self._first += keep
        return np.concatenate(blocks) if blocks else np.zeros(0, dtype=np.float32)

    def _outputs(self, first: int, stop: int) -> Samples:
        places = np.arange(first, stop, dtype=np.int64) * self._down
        starts = places // self._up - self._half + 1 - self._first
        windows = np.lib.stride_tricks.sliding_window_view(self._input, 2 * self._half)[starts]
        outputs: Samples = np.einsum("nk,nk->n", windows, self._phases[places % self._up])
        return outputs


def _phases(up: int, down: int, half: int) -> Samples:
    """The filter, shape (up, 2 * half): row p serves the outputs that lie p/up after an input sample."""
    cutoff = _CUTOFF * min(1.0, up / down)
    distance = np.arange(up)[:, None] / up + half - 1 - np.arange(2 * half)[None, :]
    window = np.i0(_BETA * np.sqrt(np.clip(1 - (distance / half) ** 2, 0, None)))
    taps = np.sinc(cutoff * distance) * window
    # Each phase passes a constant unchanged, so no phase colours the others' sum.
    filters: Samples = (taps / taps.sum(axis=1, keepdims=True)).astype(np.float32)
    return filters
