"""Where a recording lies in what was heard, to a fraction of a sample, and how alike they are there.

Sample rates are converted twice on the way, by the browser's fake microphone and by the page, so that the
samples aren't the same ones. Measured with Chromium: gain 1.000 to 5 kHz, and where the audio graph converts,
a delay of no whole number of samples, the same at all frequencies.
"""

from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np
import numpy.typing as npt
import soundfile

from interview_edge.core.pcm import SAMPLE_RATE

Samples = npt.NDArray[np.float64]

FINER = 32  # steps a sample in which the delay is found


@attrs.frozen
class Alignment:
    """`offset`: samples of `heard` before `played` begins. `likeness`: of each whole second of `played`, its
    correlation with what was heard at that place. `drift`: samples by which its own best place differs.
    """

    offset: float
    likeness: tuple[float, ...]
    drift: tuple[int, ...]


def align(played: Samples, heard: Samples) -> Alignment:
    """Find all of `played` in `heard` (both at 16 kHz)."""
    size = 1 << (len(played) + len(heard)).bit_length()
    cross = np.conj(np.fft.rfft(played, size)) * np.fft.rfft(heard, size)
    place = np.argmax(np.fft.irfft(cross, size * FINER)) / FINER
    offset = place - size if place > size / 2 else place
    moved = _moved(heard, offset)
    seconds = range(0, len(played) - SAMPLE_RATE + 1, SAMPLE_RATE)
    return Alignment(
        float(offset),
        tuple(_likeness(played, moved, start) for start in seconds),
        tuple(_drift(played, moved, start) for start in seconds),
    )


def _moved(samples: Samples, by: float) -> Samples:
    """The samples, `by` of them earlier, between which the sine waves are that they are made of."""
    size = 1 << (len(samples) + SAMPLE_RATE).bit_length()
    turns = np.exp(2j * np.pi * np.fft.rfftfreq(size) * by)
    moved: Samples = np.fft.irfft(np.fft.rfft(samples, size) * turns, size)
    return moved


def _likeness(played: Samples, heard: Samples, start: int) -> float:
    part = slice(start, start + SAMPLE_RATE)
    return float(np.corrcoef(played[part], heard[part])[0, 1])


def _drift(played: Samples, heard: Samples, start: int) -> int:
    reach = SAMPLE_RATE // 100  # 10 ms: a render quantum is 8
    around = heard[max(0, start - reach) : start + SAMPLE_RATE + reach]
    found = int(np.argmax(np.correlate(around, played[start : start + SAMPLE_RATE], "valid")))
    return found - min(start, reach)


def write_speech(path: Path, source: Path, seconds: int) -> Samples:
    """A WAV of recorded speech for the fake microphone, repeated until it is `seconds` long; its samples.

    A click, different in place and height each second, makes every stretch of it unlike the others.
    """
    speech, rate = soundfile.read(source, dtype="int16")
    assert rate == SAMPLE_RATE
    whole = np.resize(speech, seconds * SAMPLE_RATE).astype(np.float64)
    rng = np.random.default_rng(seconds)
    for start in range(0, len(whole), SAMPLE_RATE):
        at = start + int(rng.integers(2_000, 14_000))
        whole[at : at + 40] += 6_000 * np.hanning(40) * rng.choice((-1.0, 1.0))
    samples = np.clip(np.round(whole), -32768, 32767)
    soundfile.write(path, samples.astype(np.int16), SAMPLE_RATE)
    return samples
