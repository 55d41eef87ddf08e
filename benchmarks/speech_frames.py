"""The frames that the load is made of: real speech, masked as a browser does, made before the clock runs."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from importlib.resources import files
from random import Random
from typing import Literal

import pybase64
import soundfile
from websockets.speedups import apply_mask

from interview_edge.core.pcm import CHUNK_BYTES
from interview_edge.wire.chunk_dialect import BINARY_VERSION, HEADER, MAGIC

Format = Literal["json", "binary"]
FORMATS: tuple[Format, ...] = ("json", "binary")

_TEXT, _BINARY = 0x81, 0x82
_MASKED = 0x80
_TAIL = b'"}'


def demo_seconds() -> list[bytes]:
    """The demo's recording as whole seconds of PCM: speech, so that the VAD has its real work."""
    flac = files("interview_edge.cli") / "demo_audio" / "jfk.flac"
    samples, _ = soundfile.read(io.BytesIO(flac.read_bytes()), dtype="int16")
    pcm = samples.astype("<i2").tobytes()
    return [pcm[start : start + CHUNK_BYTES] for start in range(0, len(pcm) - CHUNK_BYTES + 1, CHUNK_BYTES)]


def masked_frame(payload: bytes, key: bytes, *, text: bool) -> bytes:
    """A whole client frame of a payload under 64 KiB."""
    return _header(len(payload), key, text=text) + apply_mask(payload, key)


class SpeechFrames:
    """Chunk frames of any seq, the recording over and over. The audio is masked once, not once a frame."""

    def __init__(self, format_: Format, seconds: Sequence[bytes], seed: int = 1) -> None:
        self.format = format_
        self.key = Random(seed).randbytes(4)
        contents = seconds if format_ == "binary" else [pybase64.b64encode(pcm) for pcm in seconds]
        # The mask goes on where the head stopped, so an audio has a masked form for each place mod 4.
        self._masked = [[apply_mask(c, _turned(self.key, turn)) for turn in range(4)] for c in contents]

    def chunk(self, session_id: str, seq: int) -> tuple[bytes, bytes, bytes]:
        """The frame of chunk `seq` in three pieces: head, audio, tail."""
        head = self._head(session_id, seq)
        tail = _TAIL if self.format == "json" else b""
        turn = len(head) % 4
        audio = self._masked[(seq - 1) % len(self._masked)][turn]
        size = len(head) + len(audio) + len(tail)
        first = _header(size, self.key, text=self.format == "json") + apply_mask(head, self.key)
        return first, audio, apply_mask(tail, _turned(self.key, (turn + len(audio)) % 4))

    def size(self, session_id: str, seq: int) -> int:
        """Bytes of the chunk's payload, as an echo sends it back."""
        content = len(self._masked[(seq - 1) % len(self._masked)][0])
        return len(self._head(session_id, seq)) + content + (len(_TAIL) if self.format == "json" else 0)

    def _head(self, session_id: str, seq: int) -> bytes:
        if self.format == "binary":
            return HEADER.pack(MAGIC, BINARY_VERSION, 0, seq, seq * 1000)
        return (
            f'{{"type":"chunk","meeting_id":{json.dumps(session_id)},"seq":{seq},"timestamp_ms":{seq * 1000},'
            '"sample_rate":16000,"channels":1,"format":"pcm_s16le","content_b64":"'
        ).encode()


def _turned(key: bytes, turn: int) -> bytes:
    return key[turn:] + key[:turn]


def _header(size: int, key: bytes, *, text: bool) -> bytes:
    """RFC 6455 section 5.2, for sizes under 64 KiB."""
    first = _TEXT if text else _BINARY
    if size < 126:
        return bytes((first, _MASKED | size)) + key
    return bytes((first, _MASKED | 126)) + size.to_bytes(2, "big") + key
