"""The one audio format inside: 16 kHz, mono, signed 16-bit little-endian PCM; a chunk is one second of it."""

from __future__ import annotations

import hashlib

SAMPLE_RATE = 16_000
SAMPLE_BYTES = 2
CHUNK_SAMPLES = SAMPLE_RATE
CHUNK_BYTES = CHUNK_SAMPLES * SAMPLE_BYTES
FORMAT = "pcm_s16le"
IDENTITY_BYTES = 16

# A view spares the copy of 32,000 bytes out of the frame in which they came.
Pcm = bytes | memoryview


def identify(pcm: Pcm, *, final: bool) -> tuple[bytes, bytes]:
    """SHA-256 of the PCM, and the chunk's identity: 16 bytes of SHA-256 over PCM and the final flag.

    One pass over the audio serves both (24 µs a chunk; the digest an object's row needs anyway).
    """
    digest = hashlib.sha256(pcm)
    whole = digest.digest()
    digest.update(b"\x01" if final else b"\x00")
    return whole, digest.digest()[:IDENTITY_BYTES]
