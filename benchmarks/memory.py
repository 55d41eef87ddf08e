"""Memory of a session, wave after wave: idle, with ten seconds, with a full window, after its close.

Memory is the proportional set size that the kernel counts for the server's process: the windows' pages, the
interpreter's objects and whatever the allocator keeps. A wave's sessions close by their idle timeout.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs

from benchmarks.connection import Connection
from benchmarks.load import connections, send_windowed
from benchmarks.memory_plot import Mark, Sample, plot
from benchmarks.processes import ServerProcess, open_product
from benchmarks.report import Row, Section, tell
from benchmarks.speech_frames import SpeechFrames, demo_seconds

IDLE_TIMEOUT = 2.0  # seconds without a socket, after which the server closes a session
WINDOW_SECONDS = 120
WINDOW_BYTES = WINDOW_SECONDS * 32_000
FEW_SECONDS = 10
IN_FLIGHT = 8
AT_ONCE = 8  # sessions that send: a burst of all would measure what the allocator keeps of it, not sessions
SAMPLE_EVERY = 0.25
QUIET = 2.5  # longer than the intervals of uploads and of freed_memory.py: both have nothing left to do
SETTINGS = {"EDGE_SESSION_IDLE_TIMEOUT": IDLE_TIMEOUT, "AUDIO_STORAGE_UPLOAD_INTERVAL_MS": 500}


@attrs.frozen
class Wave:
    """Bytes of the server's process at each stage of one wave."""

    before: int
    idle: int
    with_few: int
    full: int | None
    after: int


def run(full: int = 50, light: int = 500, waves: int = 3, out: Path | None = None) -> list[Section]:
    """Measure `full` sessions up to a full window, and `light` ones up to ten seconds. Plots go to `out`."""
    frames = SpeechFrames("binary", demo_seconds())
    sections = []
    for count, fill in ((full, True), (light, False)):
        if count:
            sections.append(_measure(frames, count, fill, waves, out))
    return sections


def _measure(frames: SpeechFrames, count: int, fill: bool, waves: int, out: Path | None) -> Section:
    with open_product(**SETTINGS) as server, _sampling(server) as timeline:
        # The first sessions make what stays: threads, caches, the allocator's pages for as much as is ever
        # under way at once. Of a single one most of that would be left to wave 1, and be called its own.
        _wave(server, frames, min(AT_ONCE, count), fill, timeline, "warm-up")
        found = [
            _wave(server, frames, count, fill, timeline, f"wave {number}") for number in range(1, waves + 1)
        ]
    if out is not None:
        plot(timeline.samples, timeline.marks, out / f"memory-{count}{'-full' if fill else ''}.svg")
    rows = [_row(number, wave, count, found[0]) for number, wave in enumerate(found, start=1)]
    return Section(f"Memory a session in KiB, {count} sessions", rows)


def _wave(
    server: ServerProcess, frames: SpeechFrames, count: int, fill: bool, timeline: _Timeline, name: str
) -> Wave:
    tell(f"memory: {count} sessions, {name}")
    server.settle(QUIET)
    before = server.memory_bytes()
    full = None
    with connections(server.url, count, frames) as opened:
        timeline.mark(f"{name}: idle")
        server.settle(QUIET)
        idle = server.memory_bytes()
        timeline.mark(f"{FEW_SECONDS} s")
        _send(opened, FEW_SECONDS)
        server.settle(QUIET)
        with_few = server.memory_bytes()
        if fill:
            timeline.mark("full")
            _send(opened, WINDOW_SECONDS)
            server.settle(QUIET)
            full = server.memory_bytes()
    timeline.mark("closed")
    time.sleep(2 * IDLE_TIMEOUT)
    server.settle(QUIET)
    return Wave(before, idle, with_few, full, server.memory_bytes())


def _send(opened: Sequence[Connection], up_to: int) -> None:
    for first in range(0, len(opened), AT_ONCE):
        send_windowed(opened[first : first + AT_ONCE], up_to, IN_FLIGHT)


def _row(number: int, wave: Wave, count: int, first: Wave) -> Row:
    def each(now: int) -> float:
        return (now - wave.before) / count / 1024

    row: dict[str, str | int | float] = {"wave": number, "idle": each(wave.idle)}
    row[f"{FEW_SECONDS} s"] = each(wave.with_few)
    if wave.full is not None:
        row["full window"] = each(wave.full)
        row["full, over its audio"] = each(wave.full) - WINDOW_BYTES / 1024
    row["process before, MiB"] = wave.before / 2**20
    row["process after, MiB"] = wave.after / 2**20
    row["after, % of wave 1"] = wave.after / first.after * 100
    return row


class _Timeline:
    """The process's memory over time, and what was done when."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self.marks: list[Mark] = []
        self._began = time.monotonic()

    def now(self) -> float:
        return time.monotonic() - self._began

    def mark(self, name: str) -> None:
        self.marks.append(Mark(self.now(), name))


@contextmanager
def _sampling(server: ServerProcess) -> Iterator[_Timeline]:
    """Sample beside the load, on a thread: the load has no moment to spare."""
    timeline = _Timeline()
    stop = threading.Event()

    def sample() -> None:
        while not stop.wait(SAMPLE_EVERY):
            timeline.samples.append(Sample(timeline.now(), server.memory_bytes()))

    thread = threading.Thread(target=sample, name="memory-samples")
    thread.start()
    try:
        yield timeline
    finally:
        stop.set()
        thread.join()
