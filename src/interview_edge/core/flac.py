"""FLAC, lossless: a segment in about half its bytes.

`soundfile` is imported at first use: it loads libsndfile (some 5 MB), which a node that writes no FLAC never
needs. Both ways are CPU-bound (1.2 and 0.4 ms a second of audio), so callers run them in a thread;
libsndfile is called through cffi, which lets the GIL go for each call.
"""

from __future__ import annotations

import io

import numpy as np

from interview_edge.core.pcm import SAMPLE_BYTES, SAMPLE_RATE


def encode_flac(pcm: bytes) -> bytes:
    """`pcm` as a FLAC file at the library's default compression level.

    Raises ValueError for half a sample, and for no samples at all: libFLAC writes no file then.
    """
    if not pcm or len(pcm) % SAMPLE_BYTES:
        raise ValueError(f"can't make a FLAC of {len(pcm)} bytes of 16-bit PCM")
    import soundfile

    file = io.BytesIO()
    samples = np.frombuffer(pcm, dtype="<i2")
    soundfile.write(file, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def decode_flac(flac: bytes) -> bytes:
    """The PCM of a FLAC file of 16 kHz, mono, 16 bits.

    Raises ValueError for anything else, cut or damaged files included (each FLAC frame carries a CRC).
    """
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(flac)) as file:
            shape = (file.format, file.subtype, file.samplerate, file.channels)
            if shape != ("FLAC", "PCM_16", SAMPLE_RATE, 1):
                raise ValueError(f"not a FLAC as interview-edge writes it: {shape}")
            samples = file.read(dtype="int16")
    except soundfile.LibsndfileError as error:
        raise ValueError(f"damaged FLAC: {error.error_string}") from error
    pcm: bytes = samples.astype("<i2", copy=False).tobytes()
    return pcm
