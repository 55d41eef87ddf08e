"""`interview-edge send`: one source to one stream, paced, resumed, until all of it is acked."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs
import trio
from msgspec import UNSET
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from interview_edge.cli.audio_source import AudioError, AudioSource, open_file, open_raw, open_wav_pipe
from interview_edge.cli.seqs import seqs_in_words
from interview_edge.client import (
    ChunkRefused,
    ClientError,
    EdgeHttp,
    EdgeRequestError,
    Ingest,
    IngestClosed,
    open_ingest,
)
from interview_edge.core.pcm import CHUNK_BYTES, SAMPLE_BYTES, SAMPLE_RATE
from interview_edge.errors import (
    CHUNK_CONFLICT,
    INSUFFICIENT_SCOPE,
    INVALID_KEY,
    MISSING_AUTH,
    QUOTA_EXCEEDED,
    SESSION_DELETED,
)
from interview_edge.wire.frames import Finalized

_FIRST_ANSWER = 10.0  # seconds
_NO_KEY = (
    "the server wants a valid API key: put it into EDGE_API_KEY, or its file's name into EDGE_API_KEY_FILE"
)
_ADVICE = {
    MISSING_AUTH.code: _NO_KEY,
    INVALID_KEY.code: _NO_KEY,
    INSUFFICIENT_SCOPE.code: "the API key may not do this: it takes one with the scope ingest",
    SESSION_DELETED.code: "the session was deleted, for good: choose another --session-id",
    QUOTA_EXCEEDED.code: "a day's quota of the API key is used up; it begins anew at midnight UTC",
}


class OtherAudio(Exception):
    """The session holds audio that isn't the file's, so going on would mix two recordings."""


@attrs.frozen
class Sent:
    """What was done: seconds sent now, and chunks that the server held before."""

    seconds: float
    held_before: int


async def send_file(
    file: str,
    *,
    url: str,
    session_id: str,
    stream: str,
    speed: float | None,
    raw: bool,
    finalize: bool,
    complain: Callable[[str], None],
    api_key: str | None = None,
) -> int:
    """The command: open `file` (`-`: standard input), send it, show progress; answers the exit status."""
    try:
        source = await trio.to_thread.run_sync(_open, file, raw, abandon_on_cancel=True)
        await require_server(url)
        async with open_ingest(url, session_id, stream, api_key=api_key) as ingest:
            print(f"session {session_id}", flush=True)
            with _progress(source.seconds) as advance:
                sent = await send_source(ingest, source, speed=speed, resume=file != "-", on_chunk=advance)
            print(
                f"{sent.seconds:.1f} s sent and acknowledged; seconds held before: {sent.held_before}; "
                f"reconnects: {ingest.reconnects}"
            )
            if finalize:
                done = await ingest.finalize()
                print(f"{done.result_key}, {_completeness(done, stream)}")
    except (AudioError, OtherAudio, ClientError, OSError, ValueError) as error:
        complain(in_words(error))
        return 1
    return 0


def in_words(error: Exception) -> str:
    """The error, and what to do about it where a person can do something."""
    code = getattr(error, "code", "")
    if isinstance(error, IngestClosed):  # by its number; the code it was closed for is its reason
        code = error.reason
    advice = _ADVICE.get(code) if isinstance(code, str) else None
    return f"{error}" if advice is None else f"{advice} ({error})"


async def require_server(url: str) -> None:
    """Raise `EdgeUnreachable` where nothing listens: a cut is ridden out for minutes, a wrong URL is not."""
    async with EdgeHttp(url, timeout=_FIRST_ANSWER) as http:
        # An error is an answer too; a proxy may well keep /health to itself.
        with suppress(EdgeRequestError):
            await http.health()


def _completeness(done: Finalized, stream: str) -> str:
    """Which seconds of which streams a result lacks."""
    if done.complete:
        return "complete"
    by_stream = {stream: done.missing} if done.missing_by_stream is UNSET else done.missing_by_stream
    gaps = [f"{seqs_in_words(seqs)} of stream {name}" for name, seqs in by_stream.items() if seqs]
    return f"missing seconds {'; '.join(gaps)}" if gaps else "missing seconds of other streams"


def _open(file: str, raw: bool) -> AudioSource:
    if file != "-":
        return open_file(Path(file))
    return open_raw(sys.stdin.buffer) if raw else open_wav_pipe(sys.stdin.buffer)


@contextmanager
def _progress(seconds: float | None) -> Iterator[Callable[[float], None]]:
    """A bar on stderr; yields what advances it by some seconds of audio."""
    columns = (
        TextColumn("{task.completed:.0f} s"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("sending", total=seconds)
        yield lambda amount: progress.advance(task, amount)


async def send_source(
    ingest: Ingest,
    source: AudioSource,
    *,
    speed: float | None,
    resume: bool,
    on_chunk: Callable[[float], None] = lambda _: None,
) -> Sent:
    """Send all of `source`, a second each 1/`speed` seconds (None: as fast as acks come), until all is acked.

    With `resume` (a source that starts anew, a file) the chunks that the server holds from the front are not
    sent again, but for the last of them, which proves that it is this audio: raises `OtherAudio` otherwise.
    Without it (a live pipe) the source goes on after the last second held. `on_chunk` hears each chunk's
    seconds, the skipped ones too. Reading runs in a thread that is abandoned on cancellation. Raises
    `AudioError`, and what `Ingest` raises.
    """
    held = ingest.next_seq - 1 if resume else ingest.ready.ingest.last_seq
    seq = held
    if resume and held:
        await _skip(ingest, source.chunks, held, on_chunk)
    # Deadlines from one start, not a sleep a chunk: pacing doesn't drift, and a stall is caught up on.
    started, started_ms = trio.current_time(), time.time_ns() // 1_000_000
    sent_bytes = 0
    while (pcm := await _read(source.chunks)) is not None:
        if speed is not None:
            await trio.sleep_until(started + (seq - held) / speed)
        seq += 1
        # Only a stream's last chunk may be short, so a short one ends it.
        final = len(pcm) < CHUNK_BYTES
        await ingest.send(pcm, seq=seq, timestamp_ms=started_ms + (seq - held - 1) * 1000, final=final)
        sent_bytes += len(pcm)
        on_chunk(_seconds(pcm))
    await ingest.drain()
    return Sent(sent_bytes / SAMPLE_BYTES / SAMPLE_RATE, held)


async def _skip(
    ingest: Ingest, chunks: Iterator[bytes], held: int, on_chunk: Callable[[float], None]
) -> None:
    """Read past the `held` first chunks and show the server the last of them."""
    last = b""
    for _ in range(held):
        pcm = await _read(chunks)
        if pcm is None:
            raise OtherAudio(f"the session holds {held} s already, more than this file")
        last = pcm
        on_chunk(_seconds(pcm))
    try:
        await ingest.send(last, seq=held, final=len(last) < CHUNK_BYTES)
        await ingest.drain()
    except ChunkRefused as refused:
        if refused.code != CHUNK_CONFLICT.code:
            raise
        raise OtherAudio(f"the session holds other audio at second {held}") from None


async def _read(chunks: Iterator[bytes]) -> bytes | None:
    return await trio.to_thread.run_sync(next, chunks, None, abandon_on_cancel=True)


def _seconds(pcm: bytes) -> float:
    return len(pcm) / SAMPLE_BYTES / SAMPLE_RATE


def parse_speed(text: str) -> float | None:
    """`--speed`: a factor above 0, or `max` (None). Raises ValueError."""
    if text == "max":
        return None
    speed = float(text)
    if not 0 < speed <= 1_000_000:
        raise ValueError("must be above 0")
    return speed
