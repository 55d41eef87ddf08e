"""Ack latency of live sessions: one chunk a second each, their seconds spread evenly."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from statistics import median

from benchmarks.load import connections, send_paced
from benchmarks.processes import open_product
from benchmarks.report import Row, Section, percentile, tell
from benchmarks.speech_frames import FORMATS, Format, SpeechFrames, demo_seconds
from interview_edge.core.pcm import CHUNK_BYTES

WARM_UP = 2


def run(
    sessions: Sequence[int] = (100, 500),
    seconds: int = 10,
    runs: int = 5,
    formats: Sequence[Format] = FORMATS,
) -> list[Section]:
    """Measure; each run has a server of its own and lasts `seconds` after a warm-up of two."""
    audio = demo_seconds()
    singles: list[Row] = []
    medians: list[Row] = []
    for format_ in formats:
        frames = SpeechFrames(format_, audio)
        for count in sessions:
            of_case = [_one_run(frames, count, seconds, number) for number in range(1, runs + 1)]
            singles += of_case
            medians.append(_median_row(format_, count, of_case))
    return [
        Section(f"Ack latency in ms, one chunk a second a session: median of {runs} runs", medians),
        Section("Each run", singles),
    ]


def _one_run(frames: SpeechFrames, count: int, seconds: int, number: int) -> Row:
    tell(f"ack: {frames.format}, {count} sessions, run {number}")
    disk = _disk_sync_ms()
    with open_product() as server, connections(server.url, count, frames) as opened:
        server.settle()
        before = server.cpu_seconds()
        paced = send_paced(opened, WARM_UP + seconds, WARM_UP)
        used = server.cpu_seconds() - before
    return {
        "frames": frames.format,
        "sessions": count,
        "run": number,
        "p50": percentile(paced.latencies, 0.5) * 1000,
        "p99": percentile(paced.latencies, 0.99) * 1000,
        "max": max(paced.latencies) * 1000,
        "disk sync p50": disk,
        "% of a core": used / paced.seconds * 100,
        "client late, at most": paced.worst_lateness * 1000,
    }


def _disk_sync_ms() -> float:
    """What the disk takes, right before a run, to make one more second of audio durable: median of 50.

    No ack of level `journal` can be quicker; on a shared disk this is what tells two runs apart.
    """
    took = []
    with tempfile.NamedTemporaryFile(prefix="edge-bench-", buffering=0) as file:
        for _ in range(50):
            file.write(bytes(CHUNK_BYTES))
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - began)
    return percentile(took, 0.5) * 1000


def _median_row(format_: Format, count: int, of_case: Sequence[Row]) -> Row:
    columns = ("p50", "p99", "max", "disk sync p50", "% of a core", "client late, at most")
    middles = {name: median(float(row[name]) for row in of_case) for name in columns}
    return {"frames": format_, "sessions": count, **middles}
