"""Server CPU a chunk, beside a bare stock echo of the same frames in the same run.

The four servers take turns, round after round, so that what else the machine does falls on all of them alike;
the result is the median of the rounds' ratios. Each has the same sessions, frames and window of unanswered
chunks. CPU counts until the server is at rest, so the VAD, and uploads where they are on, are in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from statistics import median

import attrs

from benchmarks.connection import Answers, Echoes, ShortAnswers
from benchmarks.load import connections, send_windowed
from benchmarks.processes import ServerProcess, open_echo, open_product
from benchmarks.report import Row, Section, tell
from benchmarks.speech_frames import FORMATS, Format, SpeechFrames, demo_seconds

WARM_UP = 2  # chunks a session, before the clock runs
UPLOADS_SOON_MS = 250
UPLOADS_LATE_MS = 120_000  # beyond the life of a server here: nothing is uploaded in the run


@attrs.frozen(kw_only=True)
class Contestant:
    """One server, and what it owes for a chunk (None: acks). `quiet`: seconds of rest that end a round."""

    server: ServerProcess
    answers: Answers | None
    quiet: float = 0.2


@attrs.frozen
class Measured:
    """One server's round."""

    cpu_us: float  # a chunk
    seconds: float


def run(
    sessions: Sequence[int] = (1, 20, 200),
    chunks: int = 4000,
    each: int = 100,
    rounds: int = 5,
    window: int = 32,
    formats: Sequence[Format] = FORMATS,
) -> list[Section]:
    """Measure; `chunks` are the total of a round, shared by its sessions, but `each` has so many at least: a
    session's first seconds cost more (memory touched for the first time), and would weigh more with many.
    """
    audio = demo_seconds()
    ratios: list[Row] = []
    costs: list[Row] = []
    for format_ in formats:
        frames = SpeechFrames(format_, audio)
        for count in sessions:
            tell(f"ingest: {format_}, {count} sessions")
            found = _compare(frames, count, max(each, chunks // count), rounds, window)
            ratios.append(_ratio_row(format_, count, found))
            costs += [_cost_row(format_, count, name, rounds_of) for name, rounds_of in found.items()]
    return [
        Section("CPU a chunk against stock echoes in the same run, median of rounds", ratios),
        Section(f"CPU a chunk in µs, median of {rounds} rounds", costs),
    ]


def _compare(
    frames: SpeechFrames, count: int, chunks: int, rounds: int, window: int
) -> dict[str, list[Measured]]:
    with ExitStack() as stack:
        contestants = {
            "edge": Contestant(
                server=stack.enter_context(open_product(AUDIO_STORAGE_UPLOAD_INTERVAL_MS=UPLOADS_LATE_MS)),
                answers=None,
            ),
            "edge with uploads": Contestant(
                server=stack.enter_context(open_product(AUDIO_STORAGE_UPLOAD_INTERVAL_MS=UPLOADS_SOON_MS)),
                answers=None,
                quiet=3 * UPLOADS_SOON_MS / 1000,
            ),
            "echo": Contestant(server=stack.enter_context(open_echo("same")), answers=Echoes()),
            "echo, short answer": Contestant(
                server=stack.enter_context(open_echo("short")), answers=ShortAnswers()
            ),
            "echo that decodes": Contestant(
                server=stack.enter_context(open_echo("decoding")), answers=Echoes()
            ),
        }
        found: dict[str, list[Measured]] = {name: [] for name in contestants}
        for _ in range(rounds):
            for name, contestant in contestants.items():
                found[name].append(_measure(contestant, frames, count, chunks, window))
    return found


def _measure(contestant: Contestant, frames: SpeechFrames, count: int, chunks: int, window: int) -> Measured:
    server = contestant.server
    with connections(server.url, count, frames, contestant.answers) as opened:
        send_windowed(opened, WARM_UP, window)
        server.settle(contestant.quiet)
        before = server.cpu_seconds()
        seconds = send_windowed(opened, WARM_UP + chunks, window)
        server.settle(contestant.quiet)
        used = server.cpu_seconds() - before
    return Measured(used / (count * chunks) * 1e6, seconds)


def _ratio_row(format_: Format, count: int, found: dict[str, list[Measured]]) -> Row:
    def ratio(ours: str, echo: str) -> float:
        return median(a.cpu_us / b.cpu_us for a, b in zip(found[ours], found[echo], strict=True))

    return {
        "frames": format_,
        "sessions": count,
        "edge / echo": ratio("edge", "echo"),
        "edge / short echo": ratio("edge", "echo, short answer"),
        "edge / decoding echo": ratio("edge", "echo that decodes"),
        "with uploads / echo": ratio("edge with uploads", "echo"),
    }


def _cost_row(format_: Format, count: int, name: str, rounds: Sequence[Measured]) -> Row:
    costs = [measured.cpu_us for measured in rounds]
    return {
        "frames": format_,
        "sessions": count,
        "server": name,
        "µs a chunk": median(costs),
        "least": min(costs),
        "most": max(costs),
        "all rounds, s": sum(measured.seconds for measured in rounds),
    }
