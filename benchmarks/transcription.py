"""What was said: how right it is written, and how late, by Whisper on this machine.

Words are counted on what `transcribe` gives of whole clips. Lateness is a live server's: each talker is a
session of its own, who says a clip, is silent for as long, and goes on; a line's lateness is from the end of
its speech (as it was sent, in real time) to the time of its event.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from importlib.resources import files
from pathlib import Path
from random import Random

import attrs
import numpy as np
import soundfile
import trio

from benchmarks.processes import ServerProcess, open_product
from benchmarks.report import Row, Section, percentile, tell
from benchmarks.word_errors import word_errors
from interview_edge.client import EdgeHttp, open_ingest
from interview_edge.core.pcm import CHUNK_BYTES
from interview_edge.speech.local_whisper import LocalWhisperOptions, open_local_whisper

# Debian's pocketsphinx-testdata: LibriVox, Sense and Sensibility, with exact text.
LIBRIVOX = Path("/usr/share/pocketsphinx/test/data/librivox")
JFK = (
    "And so my fellow Americans ask not what your country can do for you ask what you can do for your country"
)
SILENCE = bytes(CHUNK_BYTES)
AFTER = 40.0  # seconds that late lines get


@attrs.frozen
class Clip:
    """One recording at 16 kHz, and what is said in it."""

    name: str
    pcm: bytes
    text: str

    @property
    def seconds(self) -> list[bytes]:
        """In seconds, the last filled up."""
        whole = range(0, len(self.pcm), CHUNK_BYTES)
        return [self.pcm[at : at + CHUNK_BYTES].ljust(CHUNK_BYTES, b"\0") for at in whole]


def all_clips() -> list[Clip]:
    """JFK, which the package ships, and LibriVox where Debian's package of it is installed."""
    flac = files("interview_edge.cli") / "demo_audio" / "jfk.flac"
    clips = [Clip("JFK", _pcm(io.BytesIO(flac.read_bytes())), JFK)]
    if not LIBRIVOX.is_dir():
        tell("LibriVox is left out: apt-get install pocketsphinx-testdata")
        return clips
    said = re.findall(r"<s> (.*?) </s> \((\S+)\)", (LIBRIVOX / "transcription").read_text())
    return clips + [Clip(name, _pcm(LIBRIVOX / f"{name}.wav"), text) for text, name in said]


def _pcm(file: Path | io.BytesIO) -> bytes:
    samples, rate = soundfile.read(file, dtype="int16")
    assert rate == 16_000
    return bytes(np.asarray(samples, dtype="<i2").tobytes())


def run(model_dir: Path, talkers: Sequence[int] = (1, 4), seconds: int = 60) -> list[Section]:
    """Count words, then lateness with so many talkers at once, each for so long."""
    clips = all_clips()
    rows = trio.run(_write_all, clips, model_dir)
    late = [_measure(clips, model_dir, count, seconds) for count in talkers]
    return [
        Section("Words of recorded English, whole clips", rows),
        Section("Lateness of a line after the end of its speech, in seconds", late),
    ]


async def _write_all(clips: Sequence[Clip], model_dir: Path) -> list[Row]:
    rows: list[Row] = []
    total = [0, 0]
    async with open_local_whisper(LocalWhisperOptions(model_dir=model_dir)) as transcriber:
        for clip in clips:
            tell(f"transcription: {clip.name}")
            began = time.process_time()
            found = await transcriber.transcribe(clip.pcm, language="en")
            errors, count = word_errors(clip.text, found.text)
            total[0] += errors
            total[1] += count
            audio = len(clip.pcm) / CHUNK_BYTES
            cpu = time.process_time() - began
            rows.append(_words_row(clip.name, audio, count, errors, cpu))
    rows.append(_words_row("all", sum(len(c.pcm) for c in clips) / CHUNK_BYTES, total[1], total[0], None))
    return rows


def _words_row(name: str, audio: float, count: int, errors: int, cpu: float | None) -> Row:
    return {
        "clip": name,
        "seconds": round(audio, 1),
        "words": count,
        "errors": errors,
        "WER %": round(100 * errors / count, 1),
        "CPU s": "" if cpu is None else f"{cpu:.2f}",
    }


# -- live


def _measure(clips: Sequence[Clip], model_dir: Path, count: int, seconds: int) -> Row:
    tell(f"transcription: {count} talkers for {seconds} s")
    settings = {
        "EDGE_MODEL_DIR": model_dir,
        "EDGE_TRANSCRIBER": "local",
        "EDGE_TRANSCRIPTION_LANGUAGE": "en",
    }
    with open_product(**settings) as server:
        trio.run(_warm_up, server.url, clips[0])
        before = server.cpu_seconds()
        lateness, waiting = trio.run(_talk_all, server, clips, count, seconds)
        cpu = server.cpu_seconds() - before
    return {
        "talkers": count,
        "lines": len(lateness),
        "p50": percentile(lateness, 0.5),
        "p95": percentile(lateness, 0.95),
        "max": max(lateness),
        "not written": waiting,
        "CPU s a line": cpu / len(lateness),
    }


async def _warm_up(url: str, clip: Clip) -> None:
    """The model is loaded with the first utterance."""
    async with open_ingest(url, "warm-up") as ingest:
        for pcm in [*clip.seconds, SILENCE]:
            await ingest.send(pcm)
        await ingest.drain()
    async with EdgeHttp(url) as edge:
        await edge.finalize("warm-up")


async def _talk_all(
    server: ServerProcess, clips: Sequence[Clip], count: int, seconds: int
) -> tuple[list[float], int]:
    began: dict[str, float] = {}
    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(partial(_talk, server.url, clips, number, seconds, began))
    async with EdgeHttp(server.url) as edge:
        with trio.move_on_after(AFTER):
            await _all_written(edge)
        lateness = []
        for session_id, at in began.items():
            for event in await edge.events(session_id, limit=1_000):
                if event["type"] == "transcript":
                    written = datetime.fromisoformat(event["ts"]).timestamp()
                    lateness.append(written - (at + event["end_ms"] / 1000))
        return lateness, (await edge.health())["transcription"]["waiting"]


async def _all_written(edge: EdgeHttp) -> None:
    while (await edge.health())["transcription"]["waiting"]:  # noqa: ASYNC110 - nothing tells from outside
        await trio.sleep(0.5)


async def _talk(url: str, clips: Sequence[Clip], number: int, seconds: int, began: dict[str, float]) -> None:
    """A clip, silence for as long, another: in real time, each second sent when it is over."""
    random = Random(number)
    audio: list[bytes] = [SILENCE] * random.randrange(8)
    while len(audio) < seconds:
        clip = random.choice(clips).seconds
        audio += [*clip, *([SILENCE] * len(clip))]
    session_id = f"talker-{number}"
    async with open_ingest(url, session_id) as ingest:
        start = trio.current_time()
        began[session_id] = time.time()
        for index, pcm in enumerate([*audio[:seconds], SILENCE, SILENCE], 1):
            await trio.sleep_until(start + index)
            await ingest.send(pcm)
        await ingest.drain()
