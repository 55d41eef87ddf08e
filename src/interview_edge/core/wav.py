"""WAV as we write it: the 44-byte RIFF header, then PCM. Reading is strict: our own segments only."""

from __future__ import annotations

import struct

from interview_edge.core.pcm import SAMPLE_BYTES, SAMPLE_RATE

HEADER_BYTES = 44
# The RIFF size field counts everything after itself in 32 bits; whole samples only.
MAX_DATA_BYTES = (2**32 - 1 - (HEADER_BYTES - 8)) // SAMPLE_BYTES * SAMPLE_BYTES

# RIFF size WAVE, "fmt " 16 bytes: PCM, channels, rate, bytes a second, block, bits; "data" size.
_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
_PCM_TAG = 1
_CHANNELS = 1


def wav_header(data_bytes: int) -> bytes:
    """The 44 bytes before `data_bytes` of PCM.

    Raises ValueError for half a sample or more than a WAV can hold (4 GiB).
    """
    if data_bytes % SAMPLE_BYTES or not 0 <= data_bytes <= MAX_DATA_BYTES:
        raise ValueError(f"a WAV can't hold {data_bytes} bytes of 16-bit PCM")
    return _HEADER.pack(
        b"RIFF",
        HEADER_BYTES - 8 + data_bytes,
        b"WAVE",
        b"fmt ",
        16,
        _PCM_TAG,
        _CHANNELS,
        SAMPLE_RATE,
        SAMPLE_RATE * SAMPLE_BYTES,
        SAMPLE_BYTES,
        8 * SAMPLE_BYTES,
        b"data",
        data_bytes,
    )


def encode_wav(pcm: bytes) -> bytes:
    """`pcm` as a WAV file. Raises ValueError as `wav_header` does."""
    return wav_header(len(pcm)) + pcm


def decode_wav(wav: bytes) -> bytes:
    """The PCM of a WAV that `encode_wav` made. Raises ValueError for anything else, a cut one included."""
    data_bytes = len(wav) - HEADER_BYTES
    if data_bytes < 0 or wav[:HEADER_BYTES] != wav_header(data_bytes):
        raise ValueError("not a WAV as interview-edge writes it")
    return wav[HEADER_BYTES:]
