"""What a stream's VAD found, as events of its session and as utterances to transcribe."""

from __future__ import annotations

from collections.abc import Sequence

from interview_edge.core.models import NewEvent, Utterance
from interview_edge.core.pcm import CHUNK_SAMPLES
from interview_edge.core.utterances import SpeechEvent, SpeechStarted


def speech_event(stream: str, found: SpeechEvent, at: int) -> NewEvent:
    """The event as the wire shows it: positions in samples and milliseconds from the start of the stream."""
    body: dict[str, object] = {"utterance": found.utterance_no, "start_sample": found.start_sample}
    body["start_ms"] = found.start_sample * 1000 // CHUNK_SAMPLES
    if isinstance(found, SpeechStarted):
        return NewEvent(at, "speech_started", body, stream)
    body |= {
        "end_sample": found.end_sample,
        "end_ms": found.end_sample * 1000 // CHUNK_SAMPLES,
        "reason": found.reason,
    }
    return NewEvent(at, "speech_ended", body, stream)


def utterances_in(events: Sequence[NewEvent]) -> list[Utterance]:
    """The utterances that end in these events."""
    return [
        Utterance(event.stream, event.body["utterance"], event.body["start_sample"], event.body["end_sample"])
        for event in events
        if event.type == "speech_ended" and event.stream is not None
    ]
