"""Nodes on this test's own folder."""

from __future__ import annotations

import io
from importlib.resources import files
from pathlib import Path

import pytest
import soundfile

from interview_edge.core.pcm import CHUNK_BYTES
from nodes import OpenNode, nodes_in


@pytest.fixture
def open_node(tmp_path: Path) -> OpenNode:
    """`async with open_node(**settings) as edge`: a node; open it again for a restart."""
    return nodes_in(tmp_path)


SILENCE = bytes(CHUNK_BYTES)


@pytest.fixture(scope="module")
def speech() -> list[bytes]:
    """JFK: eleven seconds, some utterances; and silence that ends the last."""
    flac = files("interview_edge.cli") / "demo_audio" / "jfk.flac"
    samples, _ = soundfile.read(io.BytesIO(flac.read_bytes()), dtype="int16")
    pcm = samples.astype("<i2").tobytes()
    return [
        pcm[at : at + CHUNK_BYTES].ljust(CHUNK_BYTES, b"\0") for at in range(0, len(pcm), CHUNK_BYTES)
    ] + [
        SILENCE,
        SILENCE,
    ]
