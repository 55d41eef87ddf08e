"""Recorded meetings with who speaks when: fourteen half minutes.

They are the test data in pyannote.audio's source archive, which is told by its SHA-256 before it is opened.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import tarfile
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import attrs
import numpy as np
import numpy.typing as npt
import soundfile

from interview_edge.core.pcm import SAMPLE_RATE
from interview_edge.speech.model_files import DOWNLOAD_TIMEOUT, ModelError, pip_command

PACKAGE = "pyannote-audio==4.0.7"
ARCHIVE = "pyannote_audio-4.0.7.tar.gz"
SHA256 = "3a903dfb5ca711d134cc2522561c9158b186836f5d62e8a57c46c6648e8a8229"
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
    """The meetings, the archive brought into `folder` where it isn't there: by pip, or out of the folder
    `packages`. Raises ModelError for an archive that can't be had, or is another.
    """
    archive = folder / ARCHIVE
    if not archive.exists():
        folder.mkdir(parents=True, exist_ok=True)
        if packages is None:
            _download(folder)
        elif not (packages / ARCHIVE).exists():
            raise ModelError(f"{packages} holds no {ARCHIVE}")
        else:
            shutil.copyfile(packages / ARCHIVE, archive)
    content = archive.read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise ModelError(f"{archive} is another than the one that is known: remove it")
    return _read(content)


def _download(folder: Path) -> None:
    """By pip, which compares the hash before it runs the archive's own code to ask for its metadata."""
    wanted = folder / "meetings.txt"
    wanted.write_text(f"{PACKAGE} --hash=sha256:{SHA256}\n")
    command = [
        *pip_command(),
        *("download", "--no-deps", "--no-binary=:all:", "--require-hashes", "--disable-pip-version-check"),
        *("--quiet", "--dest", str(folder), "--requirement", str(wanted)),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise ModelError(f"{PACKAGE} didn't come within {DOWNLOAD_TIMEOUT:.0f} s") from None
    finally:
        wanted.unlink()
    if done.returncode:
        raise ModelError(f"{PACKAGE} can't be fetched: {done.stderr.strip()[-1_000:]}")


def _read(content: bytes) -> list[Meeting]:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        turns: dict[str, list[tuple[float, float]]] = {}
        for part in _PARTS:
            for line in _member(archive, f"debug.{part}.rttm").decode().splitlines():
                _, name, _, begin, seconds, *_ = line.split()
                turns.setdefault(name, []).append((float(begin), float(seconds)))
        # One file's name has an accent that its label hasn't: a test of theirs.
        names = {
            _ascii(path.removesuffix(".wav")): path
            for path in (member.rpartition("/")[2] for member in archive.getnames())
            if path.endswith(".wav")
        }
        return [_meeting(name, _member(archive, names[name]), turns[name]) for name in sorted(turns)]


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    stream = archive.extractfile(f"{_DATA}/{name}")
    if stream is None:
        raise ModelError(f"{ARCHIVE} holds no {name}")
    return stream.read()


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
