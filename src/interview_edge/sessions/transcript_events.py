"""The events that transcription writes: what was said in an utterance, that it was given up, and how late a
session's lines are.
"""

from __future__ import annotations

from interview_edge.core.models import NewEvent, Utterance
from interview_edge.core.pcm import CHUNK_SAMPLES
from interview_edge.core.transcripts import TRANSCRIPT
from interview_edge.core.utterance_queue import Lateness, LatenessChange
from interview_edge.speech.transcriber import Failure, Transcript

TRANSCRIPT_FAILED = "transcript_failed"  # the events' types
LATE = "transcription_late"
DEFERRED = "transcription_deferred"
CAUGHT_UP = "transcription_caught_up"

_LATENESS = {Lateness.ON_TIME: CAUGHT_UP, Lateness.LATE: LATE, Lateness.DEFERRED: DEFERRED}


def transcript_event(utterance: Utterance, at: int, found: Transcript, provider: str) -> NewEvent:
    """What was said in an utterance."""
    body = _place(utterance) | {"text": found.text, "language": found.language, "provider": provider}
    return NewEvent(at, TRANSCRIPT, body | {"fetch_ms": found.fetch_ms}, utterance.stream)


def failed_event(utterance: Utterance, at: int, failure: Failure | None, detail: str) -> NewEvent:
    """It was given up; `failure` None where its audio is gone."""
    body = _place(utterance) | {"failure": "audio_gone" if failure is None else str(failure)}
    return NewEvent(at, TRANSCRIPT_FAILED, body | {"detail": detail}, utterance.stream)


def lateness_event(change: LatenessChange, at: int, failure: Failure | None) -> NewEvent:
    """A session's lines are late, put off, or written; `failure` is the provider's, None where it works."""
    body: dict[str, object] = {}
    if change.lateness is not Lateness.ON_TIME:
        body = {"waiting": change.waiting, "failure": None if failure is None else str(failure)}
    return NewEvent(at, _LATENESS[change.lateness], body)


def place_of(start_sample: int, end_sample: int) -> dict[str, int]:
    """Samples of a stream as the wire shows them: milliseconds from its start."""
    return {
        "start_ms": start_sample * 1000 // CHUNK_SAMPLES,
        "end_ms": end_sample * 1000 // CHUNK_SAMPLES,
    }


def _place(utterance: Utterance) -> dict[str, object]:
    return {"utterance": utterance.number, **place_of(utterance.start_sample, utterance.end_sample)}
