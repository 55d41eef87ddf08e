"""`interview-edge demo`: the whole way of real speech, on this machine, with trouble on the way, and checked.

Starts a server on a free port and a temporary folder, streams the packaged recording with one second dropped
and one late, repairs the gap as the server reports it, finalizes, fetches what was made and compares it with
what went in, sample for sample.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import attrs
import soundfile
import trio
from rich.console import Console
from rich.table import Table

from interview_edge.client import ClientError, EdgeHttp, Ingest, open_ingest
from interview_edge.core.pcm import CHUNK_BYTES, SAMPLE_RATE
from interview_edge.logs import configure_logs
from interview_edge.serving import open_server
from interview_edge.settings import Settings

SESSION_ID = "demo"
SPEED = 20  # times real time: quick, and slow enough to watch
DROPPED_SEQ = 4  # never sent, until the server says that it is missing
LATE_SEQ = 7
LATE_AFTER = 9
_DEADLINE = 120.0


class DemoFailed(Exception):
    """What came out is not what went in."""


@attrs.frozen
class DemoReport:
    """What the demo saw. `utterances` is what the voice activity detection found."""

    seconds: float
    gaps_repaired: int
    utterances: int
    folder: Path
    result: Path
    wav: Path


def recording() -> bytes:
    """The packaged speech, 16 kHz mono s16le: President Kennedy, 1961 (docs/demo-audio.md)."""
    flac = resources.files("interview_edge.cli").joinpath("demo_audio/jfk.flac")
    with flac.open("rb") as file:
        samples, rate = soundfile.read(file, dtype="int16")
    if rate != SAMPLE_RATE or samples.ndim != 1:
        raise DemoFailed("the packaged recording is damaged: it is not 16 kHz mono")
    pcm: bytes = samples.astype("<i2").tobytes()
    return pcm


async def demonstrate(console: Console, complain: Callable[[str], None]) -> int:
    """The command: run it, answer the exit status."""
    configure_logs(Settings(log_level="warning"))
    try:
        await run_demo(console)
    except (DemoFailed, ClientError) as error:
        complain(str(error))
        return 1
    except trio.TooSlowError:
        complain(f"the demo took more than {_DEADLINE:g} s")
        return 1
    return 0


async def run_demo(console: Console, folder: Path | None = None, *, speed: float = SPEED) -> DemoReport:
    """Run it all within two minutes; answers the report, printed as a table too.

    `folder` keeps the data (default: a new temporary one, which stays). Raises `DemoFailed`, and what the
    server and the client raise.
    """
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="interview-edge-demo-"))
    pcm = recording()
    with trio.fail_after(_DEADLINE):
        async with open_server(Settings(port=0, data_dir=folder / "data")) as server:
            console.print(f"server on {server.url}, data in {folder}")
            gaps = await _stream(server.url, pcm, console, speed)
            report = await _collect(server.url, pcm, folder, gaps)
    _print_table(report, console)
    return report


async def _stream(url: str, pcm: bytes, console: Console, speed: float) -> int:
    """Send with one second dropped and one late, then what the server misses; answers how many it missed."""
    chunks = {n // CHUNK_BYTES + 1: pcm[n : n + CHUNK_BYTES] for n in range(0, len(pcm), CHUNK_BYTES)}
    order = [seq for seq in chunks if seq not in (DROPPED_SEQ, LATE_SEQ)]
    order.insert(order.index(LATE_AFTER) + 1, LATE_SEQ)
    async with open_ingest(url, SESSION_ID) as ingest:
        repaired = 0
        for seq in order:
            await trio.sleep(1 / speed)
            if seq == LATE_SEQ:
                repaired += len(await _missing(ingest) & {LATE_SEQ})
                console.print(f"second {LATE_SEQ} comes late, after {LATE_AFTER}")
            await _send(ingest, seq, chunks[seq])
        for seq in sorted(await _missing(ingest)):
            console.print(f"the server misses second {seq}: sent again")
            await _send(ingest, seq, chunks[seq])
            repaired += 1
        if left := await _missing(ingest):
            raise DemoFailed(f"seconds {sorted(left)} are still missing")
        finalized = await ingest.finalize(last_seq=len(chunks))
    if not finalized.complete:
        raise DemoFailed(f"the result is not complete: {finalized.missing} missing")
    return repaired


async def _send(ingest: Ingest, seq: int, pcm: bytes) -> None:
    await ingest.send(pcm, seq=seq, final=len(pcm) < CHUNK_BYTES)


async def _missing(ingest: Ingest) -> set[int]:
    """What the server says it misses, after everything sent so far is acked."""
    await ingest.drain()
    return set(_expand((await ingest.status()).missing))


def _expand(ranges: Sequence[tuple[int, int]]) -> list[int]:
    return [seq for first, last in ranges for seq in range(first, last + 1)]


async def _collect(url: str, pcm: bytes, folder: Path, gaps: int) -> DemoReport:
    """Fetch result.json and the WAV; raises `DemoFailed` unless the WAV is the recording."""
    result, wav = folder / "result.json", folder / "interview.wav"
    async with EdgeHttp(url) as http:
        record = await http.result(SESSION_ID)
        await trio.Path(result).write_text(json.dumps(record, indent=2, ensure_ascii=False))
        saved = await http.save_audio(SESSION_ID, wav)
    if saved.missing_seconds:
        raise DemoFailed(f"{saved.missing_seconds} seconds of {wav} are missing")
    return DemoReport(verify(wav, pcm), gaps, _utterances(record), folder, result, wav)


def verify(wav: Path, pcm: bytes) -> float:
    """Raise `DemoFailed` unless the WAV holds `pcm`, sample for sample; answers its seconds."""
    samples, rate = soundfile.read(wav, dtype="int16")
    if rate != SAMPLE_RATE or samples.astype("<i2").tobytes() != pcm:
        raise DemoFailed(f"{wav} is not the recording that was sent")
    return len(samples) / SAMPLE_RATE


def _utterances(record: dict[str, Any]) -> int:
    return sum(event["type"] == "speech_ended" for event in record["events"])


def _print_table(report: DemoReport, console: Console) -> None:
    table = Table("what", "found", title="interview-edge demo", show_header=False)
    table.columns[1].overflow = "fold"  # a path cut short is no use to anybody
    table.add_row("seconds of speech", f"{report.seconds:.1f}")
    table.add_row("gaps repaired", str(report.gaps_repaired))
    table.add_row("utterances heard", str(report.utterances))
    table.add_row("out equals in", "sample for sample")
    table.add_row("WAV", str(report.wav))
    table.add_row("result.json", str(report.result))
    console.print(table)
