"""Recorded meetings with who speaks when: fourteen half minutes.

They are the test data in pyannote.audio's source archive.
"""

from __future__ import annotations

import io
import tarfile
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import attrs
import numpy as np
import numpy.typing as npt
import soundfile

from benchmarks.source_archives import SourceArchive, member, read
from interview_edge.core.pcm import SAMPLE_RATE
from interview_edge.speech.model_files import ModelError

ARCHIVE = SourceArchive(
    "pyannote-audio==4.0.7",
    "pyannote_audio-4.0.7.tar.gz",
    "3a903dfb5ca711d134cc2522561c9158b186836f5d62e8a57c46c6648e8a8229",
)
_DATA = "pyannote_audio-4.0.7/tests/data"
_PARTS = ("train", "development", "test")

Mask = npt.NDArray[np.bool_]


@attrs.frozen
class Meeting:
    """A recording, s16le mono 16 kHz, and for each of its samples whether somebody speaks."""

    name: str
    pcm: bytes
    spoken: Mask


@attrs.define
class Tally:
    """Samples, by what they are and what they were called."""

    hits: int = 0
    misses: int = 0
    false_alarms: int = 0
    silences: int = 0

    def add(self, spoken: Mask, called: Mask) -> None:
        """`called` may be shorter, by a frame that wasn't whole at the end: that isn't judged."""
        spoken = spoken[: len(called)]
        self.hits += int((spoken & called).sum())
        self.misses += int((spoken & ~called).sum())
        self.false_alarms += int((~spoken & called).sum())
        self.silences += int((~spoken & ~called).sum())

    def row(self) -> dict[str, float]:
        """In %; F1 is the harmonic mean of what is found of speech and what is speech of the found."""
        return {
            "F1": 2 * self.hits / max(1, 2 * self.hits + self.misses + self.false_alarms),
            "missed, % of speech": 100 * self.misses / max(1, self.hits + self.misses),
            "false alarms, % of non-speech": 100
            * self.false_alarms
            / max(1, self.false_alarms + self.silences),
        }


def fetch_meetings(folder: Path, packages: Path | None = None) -> list[Meeting]:
    """The meetings; their archive comes as `source_archives.read` says. Raises ModelError."""
    return _read(read(ARCHIVE, folder, packages))


def _read(content: bytes) -> list[Meeting]:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        turns: dict[str, list[tuple[float, float]]] = {}
        for part in _PARTS:
            for line in member(archive, f"{_DATA}/debug.{part}.rttm").decode().splitlines():
                _, name, _, begin, seconds, *_ = line.split()
                turns.setdefault(name, []).append((float(begin), float(seconds)))
        # One file's name has an accent that its label hasn't: a test of theirs.
        names = {
            _ascii(path.removesuffix(".wav")): path
            for path in (member.rpartition("/")[2] for member in archive.getnames())
            if path.endswith(".wav")
        }
        return [
            _meeting(name, member(archive, f"{_DATA}/{names[name]}"), turns[name]) for name in sorted(turns)
        ]


def _ascii(name: str) -> str:
    return unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()


def _meeting(name: str, wav: bytes, turns: Sequence[tuple[float, float]]) -> Meeting:
    samples, rate = soundfile.read(io.BytesIO(wav), dtype="float32")
    if rate != SAMPLE_RATE or samples.ndim != 1:
        raise ModelError(f"{name} is not mono at {SAMPLE_RATE} Hz")
    spoken = np.zeros(len(samples), np.bool_)
    for begin, seconds in turns:
        spoken[int(begin * SAMPLE_RATE) : int((begin + seconds) * SAMPLE_RATE)] = True
    return Meeting(name, (samples * 32_767).clip(-32_768, 32_767).astype("<i2").tobytes(), spoken)
