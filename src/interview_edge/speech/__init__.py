"""What is said and who says it. These names are for authors of plugins; the modules are ours to change."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interview_edge.speech.inference import SpeakerInference
    from interview_edge.speech.speaker_operations import SpeakerEmbedder
    from interview_edge.speech.speaker_providers import speakers_by
    from interview_edge.speech.transcriber import Failure, Transcriber, Transcript, TranscriptionFailed

__all__ = [
    "Failure",
    "SpeakerEmbedder",
    "SpeakerInference",
    "Transcriber",
    "Transcript",
    "TranscriptionFailed",
    "speakers_by",
]

# By name and on first use: whoever wants one module of this room would otherwise load all of it.
_HOMES = {
    "Failure": "transcriber",
    "SpeakerEmbedder": "speaker_operations",
    "SpeakerInference": "inference",
    "Transcriber": "transcriber",
    "Transcript": "transcriber",
    "TranscriptionFailed": "transcriber",
    "speakers_by": "speaker_providers",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
