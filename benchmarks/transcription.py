"""What was said: how right it is written, and how late, by Whisper on this machine.

Words are counted on what `transcribe` gives of whole clips, in Mandarin characters. Lateness is a live
server's: each talker is a session of its own, who says a clip, is silent for as long, and goes on; a line's
lateness is from the end of its speech (as it was sent, in real time) to the time of its event. All watch, so
that there are partials where the machine has time for them.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from importlib.resources import files
from pathlib import Path
from random import Random
from typing import Any

import attrs
import numpy as np
import soundfile
import trio

from benchmarks.mandarin import SAID as SAID_IN_MANDARIN
from benchmarks.mandarin import mandarin_pcm
from benchmarks.processes import ServerProcess, open_product
from benchmarks.report import Row, Section, percentile, tell
from benchmarks.word_errors import character_errors, word_errors
from interview_edge.client import EdgeHttp, Ingest, open_ingest
from interview_edge.core.pcm import CHUNK_BYTES
from interview_edge.sessions.transcript_events import DEFERRED, LATE
from interview_edge.speech.local_whisper import LocalWhisperOptions, open_local_whisper

# Debian's pocketsphinx-testdata: LibriVox, Sense and Sensibility, with exact text.
LIBRIVOX = Path("/usr/share/pocketsphinx/test/data/librivox")
JFK = (
    "And so my fellow Americans ask not what your country can do for you ask what you can do for your country"
)
SILENCE = bytes(CHUNK_BYTES)
PATIENCE = 1_200.0  # seconds in which all lines must be written


@attrs.frozen
class Clip:
    """One recording at 16 kHz, and what is said in it. Mandarin is counted by characters."""

    name: str
    pcm: bytes
    text: str
    language: str = "en"

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


def run(
    model_dir: Path, out: Path, talkers: Sequence[int] = (1, 4, 12, 30), seconds: int = 60
) -> list[Section]:
    """Count words, then lateness with so many talkers at once, each for so long."""
    clips = all_clips()
    mandarin = Clip("Mandarin (characters)", mandarin_pcm(out), SAID_IN_MANDARIN, "zh")
    rows = trio.run(_write_all, [*clips, mandarin], model_dir)
    late = [_measure(clips, model_dir, count, seconds) for count in talkers]
    return [
        Section("Words of recorded speech, whole clips", rows),
        Section("Lateness of a line after the end of its speech, in seconds", late),
    ]


async def _write_all(clips: Sequence[Clip], model_dir: Path) -> list[Row]:
    rows: list[Row] = []
    english: list[tuple[float, int, int]] = []
    async with open_local_whisper(LocalWhisperOptions(model_dir=model_dir)) as transcriber:
        for clip in clips:
            tell(f"transcription: {clip.name}")
            began = time.process_time()
            found = await transcriber.transcribe(clip.pcm, language=clip.language)
            cpu = time.process_time() - began
            count = word_errors if clip.language == "en" else character_errors
            counted = len(clip.pcm) / CHUNK_BYTES, *count(clip.text, found.text)
            rows.append(_words_row(clip.name, *counted, cpu))
            if clip.language == "en":
                english.append(counted)
    seconds, errors, words = zip(*english, strict=True)
    return [*rows, _words_row("all English", sum(seconds), sum(errors), sum(words), None)]


def _words_row(name: str, audio: float, errors: int, words: int, cpu: float | None) -> Row:
    return {
        "clip": name,
        "seconds": round(audio, 1),
        "words": words,
        "errors": errors,
        "WER %": round(100 * errors / words, 1),
        "CPU s": "" if cpu is None else f"{cpu:.2f}",
    }


# -- live


@attrs.define
class Watch:
    """What was seen of one run from outside. `began` is each session's start; `told` the sessions whose
    sockets heard that their lines are late, by the event's type.
    """

    began: dict[str, float] = attrs.field(factory=dict)
    partials: int = 0
    told: dict[str, set[str]] = attrs.field(factory=lambda: {LATE: set(), DEFERRED: set()})
    health_warned: bool = False
    talking: int = 0
    all_written: trio.Event = attrs.field(factory=trio.Event)


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
        watch = Watch()
        lateness, lost = trio.run(_talk_all, server, clips, count, seconds, watch)
        cpu = server.cpu_seconds() - before
    return {
        "talkers": count,
        "lines": len(lateness),
        "p50": percentile(lateness, 0.5),
        "p95": percentile(lateness, 0.95),
        "max": max(lateness),
        "told late": len(watch.told[LATE] | watch.told[DEFERRED]),
        "put off": len(watch.told[DEFERRED]),
        "/health warned": "yes" if watch.health_warned else "no",
        "seconds lost": lost,
        "partials": watch.partials,
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
    server: ServerProcess, clips: Sequence[Clip], count: int, seconds: int, watch: Watch
) -> tuple[list[float], int]:
    """How late each line was, and how many seconds of audio are missing. Ends once every line is written."""
    watch.talking = count
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_watch_health, server.url, watch)
        for number in range(count):
            nursery.start_soon(partial(_talk, server.url, clips, number, seconds, watch))
    async with EdgeHttp(server.url) as edge:
        lateness, lost = [], 0
        for session_id, at in watch.began.items():
            ended = set()
            async for event in _events(edge, session_id):
                if event["type"] == "speech_ended":
                    ended.add(event["utterance"])
                elif event["type"] == "transcript":
                    ended.discard(event["utterance"])
                    written = datetime.fromisoformat(event["ts"]).timestamp()
                    lateness.append(written - (at + event["end_ms"] / 1000))
            if ended:
                raise RuntimeError(f"{session_id} lacks lines of {len(ended)} utterances")
            lost += (await edge.state(session_id))["ingest"]["missing_chunks"]
        return lateness, lost


async def _events(edge: EdgeHttp, session_id: str) -> AsyncIterator[Mapping[str, Any]]:
    after = 0
    while page := await edge.events(session_id, after=after, limit=1_000):
        for event in page:
            yield event
        after = page[-1]["seq_no"]


async def _watch_health(url: str, watch: Watch) -> None:
    """Until nobody talks any more and every line is written."""
    async with EdgeHttp(url) as edge:
        with trio.fail_after(PATIENCE):
            while True:
                health = await edge.health()
                watch.health_warned |= health["checks"]["transcription"]["status"] == "warn"
                if not watch.talking and not health["transcription"]["waiting"]:
                    watch.all_written.set()
                    return
                await trio.sleep(0.5)


async def _talk(url: str, clips: Sequence[Clip], number: int, seconds: int, watch: Watch) -> None:
    """A clip, silence for as long, another: in real time, each second sent when it is over. The socket
    listens on until the last line is there.
    """
    random = Random(number)
    audio: list[bytes] = [SILENCE] * random.randrange(8)
    while len(audio) < seconds:
        clip = random.choice(clips).seconds
        audio += [*clip, *([SILENCE] * len(clip))]
    session_id = f"talker-{number}"
    async with open_ingest(url, session_id, events=True) as ingest, trio.open_nursery() as nursery:
        nursery.start_soon(_listen, ingest, session_id, watch)
        start = trio.current_time()
        watch.began[session_id] = time.time()
        for index, pcm in enumerate([*audio[:seconds], SILENCE, SILENCE], 1):
            await trio.sleep_until(start + index)
            await ingest.send(pcm)
        await ingest.drain()
        watch.talking -= 1
        await watch.all_written.wait()
        nursery.cancel_scope.cancel()


async def _listen(ingest: Ingest, session_id: str, watch: Watch) -> None:
    async for event in ingest.events():
        if event["type"] == "partial":
            watch.partials += 1
        elif event["type"] in watch.told:
            watch.told[event["type"]].add(session_id)
