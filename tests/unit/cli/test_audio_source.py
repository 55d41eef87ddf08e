from __future__ import annotations

import io
import math
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from interview_edge.cli.audio_source import AudioError, open_file, open_raw, open_wav_pipe

SPEECH = np.random.default_rng(7).integers(-32_768, 32_768, 40_000, dtype=np.int16)
PCM = SPEECH.astype("<i2").tobytes()


def wav(path: Path, subtype: str = "PCM_16", rate: int = 16_000, samples: object = SPEECH) -> Path:
    soundfile.write(path, samples, rate, subtype=subtype, format="WAV")
    return path


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_16_bit_values_come_out_bit_for_bit_whatever_holds_them(tmp_path: Path, subtype: str) -> None:
    # libsndfile scales integers to integers, but writes them into floats as they are.
    samples = SPEECH if subtype.startswith("PCM") else SPEECH / 32_768
    path = wav(tmp_path / "a.wav", subtype, samples=samples)
    by_file = open_file(path)
    assert by_file.seconds == 2.5
    chunks = list(by_file.chunks)
    assert [len(chunk) for chunk in chunks] == [32_000, 32_000, 16_000]
    assert b"".join(chunks) == PCM
    by_pipe = open_wav_pipe(io.BytesIO(path.read_bytes()))
    assert by_pipe.seconds == 2.5
    assert list(by_pipe.chunks) == chunks


def test_flac_is_read_too(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", SPEECH, 16_000)
    assert b"".join(open_file(tmp_path / "a.flac").chunks) == PCM


@pytest.mark.parametrize(("rate", "channels"), [(48_000, 2), (44_100, 1), (8_000, 3)])
def test_other_rates_and_channels_become_16_khz_mono(tmp_path: Path, rate: int, channels: int) -> None:
    mono = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate * 2) / rate)
    # The channels differ, their mean is the tone.
    spread = np.stack([mono + 0.1 * (i - (channels - 1) / 2) for i in range(channels)], axis=1)
    path = wav(tmp_path / "a.wav", "FLOAT", rate, spread)
    for source in (open_file(path), open_wav_pipe(io.BytesIO(path.read_bytes()))):
        out = np.frombuffer(b"".join(source.chunks), "<i2") / 32_768
        assert len(out) == 32_000
        expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(32_000) / 16_000)
        assert np.abs(out - expected)[500:-500].max() < 0.001


def test_a_pipe_of_unknown_length_is_read_to_its_end(tmp_path: Path) -> None:
    data = bytearray(wav(tmp_path / "a.wav").read_bytes())
    at = data.index(b"data") + 4
    for size in (0, 0xFFFFFFFF):
        data[at : at + 4] = struct.pack("<I", size)
        source = open_wav_pipe(io.BytesIO(bytes(data)))
        assert source.seconds is None
        assert b"".join(source.chunks) == PCM


def test_parts_after_the_audio_are_not_heard(tmp_path: Path) -> None:
    data = wav(tmp_path / "a.wav").read_bytes() + b"LIST\x04\x00\x00\x00abcd"
    assert b"".join(open_wav_pipe(io.BytesIO(data)).chunks) == PCM


def test_samples_out_of_range_are_clipped_and_nan_is_silence(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", "FLOAT", samples=np.array([2.0, -2.0, math.nan, 0.5]))
    out = np.frombuffer(b"".join(open_file(path).chunks), "<i2")
    assert out.tolist() == [32_767, -32_768, 0, 16_384]


def test_raw_pcm_is_passed_on_and_half_a_sample_dropped() -> None:
    assert b"".join(open_raw(io.BytesIO(PCM + b"\x01")).chunks) == PCM


@pytest.mark.parametrize("data", [b"", b"\x01"])
def test_no_audio_gives_no_chunk(data: bytes) -> None:
    assert list(open_raw(io.BytesIO(data)).chunks) == []


def test_a_pipe_is_heard_as_it_speaks() -> None:
    """Chunks come out while the other end is still open: nothing waits for the end of the pipe."""
    reading, writing = os.pipe()
    with open(reading, "rb") as pipe, open(writing, "wb", buffering=0) as speaker:
        source = open_raw(pipe)
        speaker.write(PCM[:32_000])
        assert next(source.chunks) == PCM[:32_000]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "ended before any audio"),
        (b"hello, this is not audio", "holds no WAV; for raw"),
        (b"RIFF\x00\x00\x00\x00WAVEdata\x00\x00\x00\x00", "audio before its format"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt \x04\x00\x00\x00abcd", "format is cut short"),
        (b"RIFF\x00\x00\x00\x00WAVEjunk\xff\xff\xff\x7f", "too large"),
        (
            b"RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00" + struct.pack("<HHIIHH", 7, 1, 8000, 8000, 1, 8),
            "must be 16, 24 or 32-bit",
        ),
        (
            b"RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00" + struct.pack("<HHIIHH", 1, 0, 8000, 8000, 1, 16),
            "must have 1..64 channels",
        ),
    ],
)
def test_a_broken_pipe_is_explained(data: bytes, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        open_wav_pipe(io.BytesIO(data))


def test_an_impossible_rate_is_explained(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", rate=999)
    with pytest.raises(AudioError, match="sample rate must be"):
        list(open_file(path).chunks)


def test_a_file_that_is_no_audio_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("hello")
    with pytest.raises(AudioError, match="can't read"):
        list(open_file(path).chunks)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_file(tmp_path / "gone.wav")


def test_other_formats_come_through_the_media_extra(tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="PyAV is not installed: interview-edge[media]")
    path = tmp_path / "a.m4a"
    tone = (8_000 * np.sin(2 * np.pi * 440 * np.arange(44_100 * 2) / 44_100)).astype(np.int16)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44_100, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone[None, :], format="s16", layout="mono")
        frame.sample_rate = 44_100
        container.mux([*stream.encode(frame), *stream.encode(None)])
    out = np.frombuffer(b"".join(open_file(path).chunks), "<i2")
    assert abs(len(out) / 16_000 - 2) < 0.1
    spectrum = np.abs(np.fft.rfft(out[4_000:20_000]))
    assert int(spectrum.argmax()) == 440
