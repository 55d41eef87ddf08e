"""The labelled meetings are read as their archive has them, and a VAD is counted by the sample."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks import meetings
from benchmarks.source_archives import SourceArchive
from interview_edge.speech.model_files import ModelError

RATE = 16_000


def archive(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small one of the same form: two meetings, one of them with an accent that its label hasn't."""
    wav = io.BytesIO()
    soundfile.write(wav, np.full(2 * RATE, 0.5), RATE, format="WAV", subtype="FLOAT")
    members = {
        "debug.train.rttm": "SPEAKER trn00 1 0.500 1.000 <NA> <NA> A <NA> <NA>\n",
        "debug.development.rttm": (
            "SPEAKER dev00 1 0.000 0.250 <NA> <NA> A <NA> <NA>\n"
            "SPEAKER dev00 1 0.125 0.250 <NA> <NA> B <NA> <NA>\n"
        ),
        "debug.test.rttm": "",
        "trñ00.wav": wav.getvalue(),
        "dev00.wav": wav.getvalue(),
    }
    path = folder / meetings.ARCHIVE.file
    with tarfile.open(path, "w:gz") as packed:
        for name, content in members.items():
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(f"pyannote_audio-4.0.7/tests/data/{name}")
            info.size = len(data)
            packed.addfile(info, io.BytesIO(data))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(meetings, "ARCHIVE", SourceArchive("x==1", path.name, sha256))
    return folder


def test_meetings_are_read_with_who_speaks_when(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "packages").mkdir()
    packages = archive(tmp_path / "packages", monkeypatch)
    dev, trn = meetings.fetch_meetings(tmp_path / "out", packages)
    assert (dev.name, trn.name) == ("dev00", "trn00")
    assert dev.pcm == np.full(2 * RATE, 16_383, "<i2").tobytes()
    assert np.flatnonzero(dev.spoken).tolist() == list(range(6_000))
    assert np.flatnonzero(trn.spoken).tolist() == list(range(8_000, 24_000))
    assert len(meetings.fetch_meetings(tmp_path / "out")) == 2  # they are there now


def test_another_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / meetings.ARCHIVE.file).write_bytes(b"another")
    with pytest.raises(ModelError, match="another than the one that is known"):
        meetings.fetch_meetings(tmp_path)
    with pytest.raises(ModelError, match="holds no"):
        meetings.fetch_meetings(tmp_path / "out", tmp_path / "nowhere")


def test_samples_are_counted_by_what_they_are_and_were_called() -> None:
    tally = meetings.Tally()
    spoken = np.array([True, True, True, False, False, False, True])
    tally.add(spoken, np.array([True, True, False, True, False, False]))  # the last isn't judged
    assert (tally.hits, tally.misses, tally.false_alarms, tally.silences) == (2, 1, 1, 2)
    row = tally.row()
    assert row["F1"] == pytest.approx(2 / 3)
    assert row["missed, % of speech"] == pytest.approx(100 / 3)
    assert row["false alarms, % of non-speech"] == pytest.approx(100 / 3)
