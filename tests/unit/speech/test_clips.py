"""Clips: rates, channels, limits. (Formats: tests/integration/inference.)"""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from interview_edge.speech.clips import Clip, ClipTooLong, UndecodableClip, decode_clip
from voices import RATE, jfk, pcm


def test_16_khz_mono_comes_through_as_it_is() -> None:
    samples = jfk(2.0)
    assert decode_clip(Clip(pcm(samples), "pcm_s16le")) == pytest.approx(samples, abs=1e-4)


@pytest.mark.parametrize("rate", [8_000, 44_100, 96_000])
def test_other_rates_become_16_khz(rate: int) -> None:
    times = np.arange(rate) / rate
    tone = np.sin(2 * np.pi * 440 * times).astype(np.float32)
    found = decode_clip(Clip(pcm(tone), "pcm_s16le", rate))
    assert len(found) == RATE
    spectrum = np.abs(np.fft.rfft(found))
    assert spectrum.argmax() == 440


def test_channels_are_averaged() -> None:
    both = np.stack([np.full(1000, 0.5), np.full(1000, -0.25)], axis=1)
    found = decode_clip(Clip(pcm(both), "pcm_s16le", channels=2))
    assert found == pytest.approx(np.full(1000, 0.125), abs=1e-4)


def test_thirty_seconds_are_taken_and_no_more() -> None:
    assert len(decode_clip(Clip(bytes(30 * 2 * RATE), "pcm_s16le"))) == 30 * RATE
    with pytest.raises(ClipTooLong, match="at most 30 s"):
        decode_clip(Clip(bytes(30 * 2 * RATE + 2), "pcm_s16le"))


def flac(samples: np.ndarray, rate: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="FLAC")
    return file.getvalue()


def test_a_small_file_that_holds_hours_is_not_decoded_whole() -> None:
    bomb = flac(np.zeros(RATE * 3600, np.float32), RATE)
    assert len(bomb) < 2 * 1024 * 1024
    with pytest.raises(ClipTooLong):
        decode_clip(Clip(bomb, "flac"))


@pytest.mark.parametrize(("rate", "channels"), [(4_000, 1), (192_000, 1), (16_000, 3)])
def test_rates_and_channels_of_a_file_have_limits(rate: int, channels: int) -> None:
    shape = (rate, channels) if channels > 1 else (rate,)
    with pytest.raises(UndecodableClip, match=f"this has {rate} Hz and {channels}"):
        decode_clip(Clip(flac(np.zeros(shape, np.float32), rate), "flac"))


def test_numbers_that_are_none_become_silence() -> None:
    file = io.BytesIO()
    samples = np.array([np.nan, np.inf, 0.5] * 100, np.float32)
    soundfile.write(file, samples, RATE, format="WAV", subtype="FLOAT")
    found = decode_clip(Clip(file.getvalue(), "wav"))
    assert set(np.unique(found)) == {0.0, 0.5}
