"""The speaker inference API as an ASGI application, on an embedder that needs no model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from interview_edge.core.speaker_rules import SpeakerThresholds
from interview_edge.speech.speaker_work import SpeakerWork, SpeakerWorkOptions
from interview_edge.web.inference_app import InferenceAsgi, InferenceRules
from voices import SpectrumEmbedder

MakeApi = Callable[..., InferenceAsgi]


@pytest.fixture
def make_api() -> MakeApi:
    """`make_api(load=..., waiting=..., **rules)`."""

    def make(load: Any = SpectrumEmbedder, waiting: int = 16, **rules: Any) -> InferenceAsgi:
        options = SpeakerWorkOptions(thresholds=SpeakerThresholds(), waiting=waiting)
        return InferenceAsgi(SpeakerWork(load, options), InferenceRules(**rules), {"model_id": "spectrum"})

    return make
