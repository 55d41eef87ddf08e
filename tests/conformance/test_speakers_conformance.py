"""Every speaker provider keeps the contract: the model in the node, and our own API over a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from interview_edge.settings import Settings
from interview_edge.speech.inference import HttpSpeakerInference, open_http_inference
from interview_edge.speech.models import CAMPPLUS
from interview_edge.speech.speaker_providers import open_speakers
from interview_edge.speech.speaker_work import SpeakerWork, SpeakerWorkOptions
from interview_edge.testing import check_speakers
from interview_edge.tracing import NoTracing
from interview_edge.web.inference_server import open_inference_server
from local_models import model_folder
from voices import SpectrumEmbedder

LIBRARIES = ("kaldi_native_fbank", "onnx", "onnxruntime")
RESOLVE = "/speaker/resolve"


@asynccontextmanager
async def open_api(settings: Settings) -> AsyncIterator[HttpSpeakerInference]:
    """`interview-edge inference serve`, and the node's side of it."""
    async with (
        open_inference_server(settings, port=0) as (url,),
        open_http_inference(url, RESOLVE, api_key=settings.inference_api_key, timeout=15.0) as inference,
    ):
        yield inference


async def test_campplus_in_the_node_conforms() -> None:
    settings = Settings(speakers="local", model_dir=model_folder(CAMPPLUS, *LIBRARIES))
    await check_speakers(lambda: open_speakers(settings, NoTracing()), timeout=120)


async def test_campplus_behind_our_api_conforms() -> None:
    settings = Settings(inference_api_key="k", model_dir=model_folder(CAMPPLUS, *LIBRARIES))
    await check_speakers(lambda: open_api(settings), timeout=120)


async def test_our_api_conforms_on_an_embedder_that_needs_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "interview_edge.web.inference_server.open_speaker_work",
        lambda _, waiting: SpeakerWork(SpectrumEmbedder, SpeakerWorkOptions(waiting=waiting)),
    )
    await check_speakers(lambda: open_api(Settings()))
