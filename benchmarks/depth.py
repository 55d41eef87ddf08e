"""Whether a long session costs more than a young one: CPU a chunk and ack latency, far into one session.

Once without uploads and once with (a short interval), so that what grows with uploaded audio shows, too.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.connection import Connection
from benchmarks.ingest import UPLOADS_LATE_MS, UPLOADS_SOON_MS
from benchmarks.load import connections, send_paced, send_windowed
from benchmarks.processes import ServerProcess, open_product
from benchmarks.report import Row, Section, percentile, tell
from benchmarks.speech_frames import FORMATS, Format, SpeechFrames, demo_seconds

WINDOW = 32
PACE = 0.02  # seconds between chunks while latency is measured: each is answered before the next


def run(
    depths: Sequence[int] = (100, 1000, 3600), span: int = 200, formats: Sequence[Format] = FORMATS
) -> list[Section]:
    """Measure `span` chunks pipelined (CPU) and half as many one by one (latency) from each depth on."""
    audio = demo_seconds()
    rows: list[Row] = []
    for format_ in formats:
        frames = SpeechFrames(format_, audio)
        for uploads, interval in (("none", UPLOADS_LATE_MS), ("all", UPLOADS_SOON_MS)):
            with (
                open_product(AUDIO_STORAGE_UPLOAD_INTERVAL_MS=interval) as server,
                connections(server.url, 1, frames) as (connection,),
            ):
                found = [_at(depth, span, server, connection) for depth in sorted(depths)]
            rows += [{"frames": format_, "uploads": uploads, **row} for row in found]
    return [Section("One session", rows)]


def _at(depth: int, span: int, server: ServerProcess, connection: Connection) -> Row:
    tell(f"depth: {connection.frames.format}, chunk {depth}")
    quiet = 3 * UPLOADS_SOON_MS / 1000
    send_windowed([connection], max(depth, connection.answered), WINDOW)
    server.settle(quiet)
    first = connection.answered
    before = server.cpu_seconds()
    send_windowed([connection], first + span, WINDOW)
    server.settle(quiet)
    used = server.cpu_seconds() - before
    paced = send_paced([connection], span // 2, warm_up=0, interval=PACE)
    return {
        "from chunk": first + 1,
        "µs a chunk": used / span * 1e6,
        "ack p50, ms": percentile(paced.latencies, 0.5) * 1000,
        "ack p99, ms": percentile(paced.latencies, 0.99) * 1000,
        "ack max, ms": max(paced.latencies) * 1000,
    }
