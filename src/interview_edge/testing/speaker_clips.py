"""Audio as a resolve carries it: `audio` of a request (docs/reference/inference.md)."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pybase64
import soundfile

from interview_edge.core.pcm import SAMPLE_RATE
from interview_edge.core.wav import encode_wav


def payload(content: bytes, format_: str) -> Mapping[str, Any]:
    """Bytes that say that they are of a format."""
    return {"content_b64": pybase64.b64encode(content).decode(), "format": format_}


def as_wav(pcm: bytes) -> Mapping[str, Any]:
    """PCM as a node sends it out of its window."""
    return payload(encode_wav(pcm), "wav")


def as_file(pcm: bytes, format_: str) -> Mapping[str, Any]:
    """PCM as a client may send it: flac, ogg or mp3."""
    file = io.BytesIO()
    soundfile.write(file, np.frombuffer(pcm, "<i2"), SAMPLE_RATE, format=format_.upper())
    return payload(file.getvalue(), format_)
