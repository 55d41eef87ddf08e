"""The speaker model of this machine, as the settings want it."""

from __future__ import annotations

import importlib.util

from interview_edge.core.speaker_rules import SpeakerThresholds
from interview_edge.settings import Settings
from interview_edge.speech.local_speakers import LocalSpeakers
from interview_edge.speech.model_files import is_there
from interview_edge.speech.models import CAMPPLUS
from interview_edge.speech.speaker_work import SpeakerWork, SpeakerWorkOptions, campplus_work

_LIBRARIES = ("kaldi_native_fbank", "onnx", "onnxruntime")


def local_speakers(settings: Settings) -> LocalSpeakers | None:
    """The provider in this process; None where it is off, or its libraries or files aren't there."""
    if not settings.local_speakers or not can_run(settings):
        return None
    return LocalSpeakers(open_speaker_work(settings), timeout=settings.inference_timeout_ms / 1000)


def can_run(settings: Settings) -> bool:
    """Whether the extra `local` and the model's files are there; looks, and loads nothing."""
    libraries = all(importlib.util.find_spec(name) is not None for name in _LIBRARIES)
    return libraries and is_there(CAMPPLUS, settings.models_path)


def open_speaker_work(settings: Settings) -> SpeakerWork:
    """The model, to be loaded with the first request: a node that is never asked pays nothing for it."""
    thresholds = SpeakerThresholds(
        low=settings.speaker_low, high=settings.speaker_high, margin=settings.speaker_margin
    )
    options = SpeakerWorkOptions(thresholds=thresholds, workers=settings.speaker_workers)
    return campplus_work(settings.models_path, options)
