from __future__ import annotations

import io
import subprocess
import sys
import wave

import numpy as np
import pytest
import soundfile

from interview_edge.core.flac import decode_flac, encode_flac
from interview_edge.core.wav import MAX_DATA_BYTES, decode_wav, encode_wav, wav_header

TONE = (8000 * np.sin(np.arange(16_000) / 10)).astype("<i2").tobytes()


def test_another_reader_reads_our_wav() -> None:
    with wave.open(io.BytesIO(encode_wav(TONE))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16_000)
        assert file.readframes(file.getnframes()) == TONE


def test_the_header_is_44_bytes_up_to_the_largest_wav() -> None:
    assert len(wav_header(0)) == 44
    assert wav_header(MAX_DATA_BYTES)[4:8] == b"\xfe\xff\xff\xff"


@pytest.mark.parametrize("data_bytes", [-2, 1, MAX_DATA_BYTES + 2])
def test_no_header_for_what_a_wav_cannot_hold(data_bytes: int) -> None:
    with pytest.raises(ValueError, match="can't hold"):
        wav_header(data_bytes)


@pytest.mark.parametrize(
    "wav",
    [
        b"",
        TONE,
        encode_wav(TONE)[:-2],
        encode_wav(TONE) + b"\0\0",
        encode_wav(TONE)[:24] + b"\x40\x1f\0\0" + encode_wav(TONE)[28:],  # another sample rate
    ],
)
def test_a_wav_that_is_not_ours_is_refused(wav: bytes) -> None:
    with pytest.raises(ValueError, match="not a WAV as"):
        decode_wav(wav)


def test_flac_is_smaller_and_exact() -> None:
    flac = encode_flac(TONE)
    assert len(flac) < len(TONE)
    assert decode_flac(flac) == TONE


@pytest.mark.parametrize("pcm", [b"", b"\0", b"\0\0\0"])
def test_no_flac_of_half_a_sample_or_none(pcm: bytes) -> None:
    with pytest.raises(ValueError, match="can't make a FLAC"):
        encode_flac(pcm)


@pytest.mark.parametrize("at", [0, 111, 5_000, -5])
def test_a_flac_with_a_flipped_bit_is_refused(at: int) -> None:
    flac = bytearray(
        encode_flac(np.random.default_rng(1).integers(-300, 300, 16_000).astype("<i2").tobytes())
    )
    flac[at] ^= 0x10
    with pytest.raises(ValueError, match="damaged FLAC"):
        decode_flac(bytes(flac))


@pytest.mark.parametrize("kept", [0, 10, 42, 100, 5_000, -1])
def test_a_cut_flac_is_refused(kept: int) -> None:
    noise = np.random.default_rng(1).integers(-3000, 3000, 160_000).astype("<i2").tobytes()
    with pytest.raises(ValueError, match="damaged FLAC"):
        decode_flac(encode_flac(noise)[:kept])


@pytest.mark.parametrize(
    ("rate", "channels", "format_"), [(8000, 1, "FLAC"), (16_000, 2, "FLAC"), (16_000, 1, "WAV")]
)
def test_another_format_than_ours_is_refused(rate: int, channels: int, format_: str) -> None:
    file = io.BytesIO()
    soundfile.write(file, np.zeros((100, channels), dtype="int16"), rate, format=format_, subtype="PCM_16")
    with pytest.raises(ValueError, match="not a FLAC as"):
        decode_flac(file.getvalue())


def test_soundfile_is_loaded_only_when_used() -> None:
    program = "import sys, interview_edge.core.flac; sys.exit('soundfile' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
