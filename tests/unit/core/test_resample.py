from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interview_edge.core.resample import Resampler, Samples


def tone(frequency: float, rate: int, seconds: float = 0.5) -> Samples:
    return np.sin(2 * np.pi * frequency * np.arange(int(rate * seconds)) / rate).astype(np.float32)


def resample(samples: Samples, rate: int, *cuts: int) -> Samples:
    resampler = Resampler(rate)
    parts = [resampler.feed(part) for part in np.split(samples, sorted(cuts))]
    return np.concatenate([*parts, resampler.finish()])


def rms(samples: Samples) -> float:
    """Root mean square, leaving out the edges, where silence joins the tone."""
    return float(np.sqrt(np.mean(samples[800:-800].astype(np.float64) ** 2)))


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("frequency", [100.0, 1_000.0, 3_400.0])
def test_a_tone_stays_the_same_tone(rate: int, frequency: float) -> None:
    output = resample(tone(frequency, rate), rate)
    expected = tone(frequency, 16_000)
    assert len(output) == len(expected)
    assert 20 * math.log10(rms(output - expected) / rms(expected)) < -75


@pytest.mark.parametrize("frequency", [8_100.0, 9_000.0, 12_000.0, 15_900.0, 20_000.0])
def test_what_16_khz_cannot_hold_is_removed(frequency: float) -> None:
    assert 20 * math.log10(rms(resample(tone(frequency, 48_000), 48_000))) < -75


def test_the_pass_band_is_flat_to_7_khz() -> None:
    levels = [rms(resample(tone(f, 48_000), 48_000)) / rms(tone(f, 16_000)) for f in (50.0, 4_000.0, 7_000.0)]
    assert all(abs(20 * math.log10(level)) < 0.1 for level in levels)


def test_16_khz_passes_bit_for_bit() -> None:
    samples = tone(440, 16_000)
    assert np.array_equal(resample(samples, 16_000, 100), samples)


@settings(max_examples=20)
@given(
    rate=st.sampled_from([8_000, 44_100, 48_000]),
    length=st.integers(0, 5_000),
    cuts=st.lists(st.integers(0, 5_000), max_size=5),
)
def test_pieces_give_what_the_whole_gives(rate: int, length: int, cuts: list[int]) -> None:
    samples = np.random.default_rng(1).uniform(-1, 1, length).astype(np.float32)
    whole = resample(samples, rate)
    assert len(whole) == math.ceil(length * 16_000 / rate)
    np.testing.assert_allclose(resample(samples, rate, *cuts), whole, atol=1e-5)


@pytest.mark.parametrize("rate", [0, 999, 384_001])
def test_rates_outside_the_range_are_refused(rate: int) -> None:
    with pytest.raises(ValueError, match=r"must be 1000\.\.384000 Hz"):
        Resampler(rate)
