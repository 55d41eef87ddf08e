"""Who is speaking: how often that is right on recorded interviews, and what it costs.

Each turn goes the whole way of `/speaker/resolve`: base64 and WAV, voice detection, embedding, rules.
"""

from __future__ import annotations

import base64
import itertools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs

from benchmarks.interviews import Interview, Turn, all_interviews, jfk, stitched_interview
from benchmarks.report import Row, Section, tell
from interview_edge.core.pcm import SAMPLE_RATE
from interview_edge.core.wav import encode_wav
from interview_edge.errors import NO_SPEECH, EdgeError
from interview_edge.speech.campplus import load_campplus
from interview_edge.speech.clips import Samples
from interview_edge.speech.model_files import Download, folder_of
from interview_edge.speech.models import CAMPPLUS
from interview_edge.speech.speaker_operations import SpeakerOperations
from interview_edge.wire.speaker_requests import AudioPayload, EnrollSpeaker, ResolveSpeaker

LONG_TURN = 2.0  # seconds: what the accuracies are promised for


@attrs.frozen
class Verdict:
    """One turn as it was resolved. `answer` is None where no speech was heard in it."""

    turn: Turn
    answer: dict[str, Any] | None


@attrs.frozen
class Score:
    right: int
    turns: int

    @property
    def share(self) -> float:
        return self.right / self.turns if self.turns else 1.0

    def __str__(self) -> str:
        return f"{self.right} of {self.turns} ({self.share:.0%})" if self.turns else "-"


def resolve_all(operations: SpeakerOperations, turns: Sequence[Turn], state: dict[str, Any]) -> list[Verdict]:
    """The turns in their order, each with the state that the one before left."""
    verdicts = []
    for turn in turns:
        try:
            answer = operations.resolve(ResolveSpeaker("benchmark", payload(turn.samples), state=state))
        except EdgeError as error:
            if error.kind is not NO_SPEECH:
                raise
            verdicts.append(Verdict(turn, None))
        else:
            state = answer["updated_state"]
            verdicts.append(Verdict(turn, answer))
    return verdicts


def enrolled(operations: SpeakerOperations, interview: Interview) -> tuple[dict[str, Any], list[Turn]]:
    """The state after one long turn of each speaker was enrolled, and the turns that are left."""
    state: dict[str, Any] = {}
    left: list[Turn] = []
    known: set[str] = set()
    for turn in interview.turns:
        if turn.speaker in known or turn.seconds < LONG_TURN:
            left.append(turn)
            continue
        known.add(turn.speaker)
        request = EnrollSpeaker("benchmark", turn.speaker, payload(turn.samples), state)
        state = operations.enroll(request)["updated_state"]
    return state, left


def named_right(verdicts: Sequence[Verdict], counts: Callable[[Turn], bool]) -> Score:
    """How many turns have their speaker's name."""
    told = [each for each in verdicts if counts(each.turn)]
    right = sum(each.answer is not None and each.answer["speaker_name"] == each.turn.speaker for each in told)
    return Score(right, len(told))


def clustered_right(verdicts: Sequence[Verdict], counts: Callable[[Turn], bool]) -> Score:
    """How many turns are in their speaker's cluster, where each speaker has one: the best for all of them.
    A cluster more for the same voice is so many mistakes.
    """
    told = [each for each in verdicts if counts(each.turn)]
    pairs = Counter(
        (each.turn.speaker, each.answer["cluster_id"]) for each in told if each.answer is not None
    )
    speakers = sorted({speaker for speaker, _ in pairs})
    clusters = [*sorted({cluster for _, cluster in pairs}), *([None] * len(speakers))]
    right = max(
        sum(pairs[speaker, cluster] for speaker, cluster in zip(speakers, chosen, strict=True))
        for chosen in itertools.permutations(clusters, len(speakers))
    )
    return Score(right, len(told))


def is_long(turn: Turn) -> bool:
    return turn.seconds >= LONG_TURN


def is_short(turn: Turn) -> bool:
    return not is_long(turn)


def payload(samples: Samples) -> AudioPayload:
    pcm = (samples * 32_767).clip(-32_768, 32_767).astype("<i2").tobytes()
    return AudioPayload(base64.b64encode(encode_wav(pcm)).decode(), "wav")


# -- the benchmark


def run(model_dir: Path, out: Path, download: Download | None, *, stitched: bool) -> list[Section]:
    """`stitched`: of the interviews only the one for which nothing is fetched."""
    interviews = [stitched_interview()] if stitched else all_interviews(out, download)
    began = time.perf_counter()
    for graph in folder_of(CAMPPLUS, model_dir).glob("*.graph"):
        graph.unlink()
    operations = SpeakerOperations(load_campplus(model_dir))
    first = time.perf_counter() - began
    began = time.perf_counter()
    load_campplus(model_dir)
    second = time.perf_counter() - began
    rows: list[Row] = []
    totals: list[tuple[Score, Score, Score, Score]] = []
    for interview in interviews:
        tell(interview.name)
        state, left = enrolled(operations, interview)
        by_name = resolve_all(operations, left, state)
        by_cluster = resolve_all(operations, interview.turns, {})
        scores = (
            named_right(by_name, is_long),
            clustered_right(by_cluster, is_long),
            named_right(by_name, is_short),
            clustered_right(by_cluster, is_short),
        )
        totals.append(scores)
        rows.append(_row(interview.name, scores))
    summed = tuple(
        Score(sum(each.right for each in column), sum(each.turns for each in column))
        for column in zip(*totals, strict=True)
    )
    rows.append(_row("all", summed))
    return [
        Section(f"Speakers told right, turns of {LONG_TURN:g} s and more (and shorter ones)", rows),
        Section("Cost of a resolve, one core", _costs(operations)),
        Section("Start", [{"load, graph to be built, s": first, "load, graph kept, s": second}]),
    ]


def _row(name: str, scores: Sequence[Score]) -> dict[str, str]:
    named, clustered, short_named, short_clustered = scores
    return {
        "interview": name,
        "by name": str(named),
        "by cluster": str(clustered),
        "short, by name": str(short_named),
        "short, by cluster": str(short_clustered),
    }


def _costs(operations: SpeakerOperations, rounds: int = 5) -> list[Row]:
    rows: list[Row] = []
    for seconds in (1.5, 3.0, 10.0):
        request = ResolveSpeaker("benchmark", payload(jfk()[: int(seconds * SAMPLE_RATE)]))
        walls, cpus = [], []
        for _ in range(rounds):
            wall, cpu = time.perf_counter(), time.process_time()
            operations.resolve(request)
            walls.append(time.perf_counter() - wall)
            cpus.append(time.process_time() - cpu)
        rows.append(
            {
                "audio, s": seconds,
                "CPU, ms": sorted(cpus)[rounds // 2] * 1000,
                "wall, ms": sorted(walls)[rounds // 2] * 1000,
            }
        )
    return rows
