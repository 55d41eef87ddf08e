"""Ack latency while a node transcribes, beside the same node without a transcriber, in one run.

Every session hears the recorded speech of the demo, so that with a local model the node has more to
transcribe than it has cores for, all the time: the acks' worst case. Voice detection runs in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.load import connections, send_paced
from benchmarks.processes import open_product
from benchmarks.report import Row, Section, percentile, tell
from benchmarks.speech_frames import SpeechFrames, demo_seconds

WARM_UP = 15  # seconds: the model is loaded with the first utterance that ends


def run(model_dir: Path, sessions: int = 100, seconds: int = 15, runs: int = 3) -> list[Section]:
    """Measure with and without in turns; `seconds` after a warm-up."""
    frames = SpeechFrames("binary", demo_seconds())
    singles = [
        _one_run(frames, model_dir, transcriber, sessions, seconds, number)
        for number in range(1, runs + 1)
        for transcriber in ("off", "local")
    ]
    return [
        Section(f"Ack latency in ms at {sessions} sessions: median of {runs} runs", _compare(singles)),
        Section("Each run", singles),
    ]


def _one_run(
    frames: SpeechFrames, model_dir: Path, transcriber: str, count: int, seconds: int, number: int
) -> Row:
    tell(f"ack, transcriber {transcriber}: run {number}")
    settings = {"EDGE_TRANSCRIBER": transcriber, "EDGE_MODEL_DIR": model_dir}
    with open_product(**settings) as server, connections(server.url, count, frames) as opened:
        server.settle()
        before = server.cpu_seconds()
        paced = send_paced(opened, WARM_UP + seconds, WARM_UP)
        used = server.cpu_seconds() - before
    return {
        "transcriber": transcriber,
        "run": number,
        "p50": percentile(paced.latencies, 0.5) * 1000,
        "p99": percentile(paced.latencies, 0.99) * 1000,
        "max": max(paced.latencies) * 1000,
        "% of a core": used / paced.seconds * 100,
        "client late, at most": paced.worst_lateness * 1000,
    }


def _compare(singles: Sequence[Row]) -> list[Row]:
    rows: list[Row] = []
    columns = ("p50", "p99", "max", "% of a core", "client late, at most")
    for transcriber in ("off", "local"):
        of_case = [row for row in singles if row["transcriber"] == transcriber]
        middles = {name: median(float(row[name]) for row in of_case) for name in columns}
        rows.append({"transcriber": transcriber, **middles})
    off, local = rows
    return [
        *rows,
        {"transcriber": "times", **{name: float(local[name]) / float(off[name]) for name in columns}},
    ]
