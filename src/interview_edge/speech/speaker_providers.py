"""Which SpeakerInference a node has, by its settings: http, local, a plugin's, or none."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

from interview_edge.core.speaker_rules import SpeakerThresholds
from interview_edge.errors import INFERENCE_FAILED, INFERENCE_STATUS, EdgeError
from interview_edge.settings import Settings
from interview_edge.speech.campplus import MODEL_ID, load_campplus
from interview_edge.speech.inference import SpeakerInference, open_http_inference
from interview_edge.speech.local_speakers import LocalSpeakers
from interview_edge.speech.model_files import is_there
from interview_edge.speech.models import CAMPPLUS
from interview_edge.speech.plugins import PluginSetting, open_plugin
from interview_edge.speech.speaker_operations import SpeakerEmbedder
from interview_edge.speech.speaker_work import SpeakerWork, SpeakerWorkOptions
from interview_edge.tracing import Tracing

PLUGIN = PluginSetting(
    "speakers",
    "interview_edge.speakers",
    built_in=("auto", "off", "http", "local"),
    needs=("provider", "resolve"),
)
# In a node, whose sessions may all end an utterance at once: three seconds of work, each with its audio.
NODE_WAITING = 64

_LIBRARIES = ("kaldi_native_fbank", "onnx", "onnxruntime")
_NOT_ITS_FAULT = frozenset({400, 413, 415, 422})  # the audio or the request was wrong


def chosen(settings: Settings) -> str | None:
    """The provider's name; None where there is none. `auto` is what is configured: an API where its URL is
    set, else the model of this machine where the extra and the files are there.
    """
    if settings.speakers == "auto":
        if settings.inference_base_url is not None:
            return "http"
        return "local" if local_is_there(settings) else None
    return None if settings.speakers == "off" else settings.speakers


def local_is_there(settings: Settings) -> bool:
    """Whether the extra `local` is installed and the model's files lie in the model folder."""
    libraries = all(importlib.util.find_spec(name) is not None for name in _LIBRARIES)
    return libraries and is_there(CAMPPLUS, settings.models_path)


@asynccontextmanager
async def open_speakers(settings: Settings, tracing: Tracing) -> AsyncIterator[SpeakerInference | None]:
    """The node's provider. Raises SettingsError for a name that is none and a plugin that is broken."""
    name = chosen(settings)
    if name is None:
        yield None
        return
    async with _open(name, settings, tracing) as inference:
        yield inference


def _open(name: str, settings: Settings, tracing: Tracing) -> AbstractAsyncContextManager[SpeakerInference]:
    if name == "http":
        return open_http_inference(
            settings.inference_base_url or "",
            settings.inference_resolve_path,
            api_key=settings.inference_api_key,
            timeout=settings.inference_timeout_ms / 1000,
            tracing=tracing,
        )
    if name == "local":
        return _open_local(settings)
    return open_plugin(PLUGIN, name, settings)


@asynccontextmanager
async def _open_local(settings: Settings) -> AsyncIterator[LocalSpeakers]:
    load = partial(load_campplus, settings.models_path)
    speakers = speakers_by(load, settings, provider=f"local {MODEL_ID}")
    try:
        yield speakers
    finally:
        await speakers.aclose()


def speakers_by(load: Callable[[], SpeakerEmbedder], settings: Settings, *, provider: str) -> LocalSpeakers:
    """A SpeakerInference of a model on this machine: voices are told apart by `load()`'s embeddings, and
    clustered and named by our rules and the settings' thresholds.

    `load` blocks; it runs in a thread, with the first request, and may raise ModelError.
    """
    work = _speaker_work(load, settings, waiting=NODE_WAITING)
    return LocalSpeakers(work, timeout=settings.inference_timeout_ms / 1000, provider=provider)


def open_speaker_work(settings: Settings, *, waiting: int) -> SpeakerWork:
    """CAM++, to be loaded with the first request: a node that is never asked pays nothing for it."""
    return _speaker_work(partial(load_campplus, settings.models_path), settings, waiting=waiting)


def _speaker_work(load: Callable[[], SpeakerEmbedder], settings: Settings, *, waiting: int) -> SpeakerWork:
    thresholds = SpeakerThresholds(
        low=settings.speaker_low, high=settings.speaker_high, margin=settings.speaker_margin
    )
    options = SpeakerWorkOptions(thresholds=thresholds, workers=settings.speaker_workers, waiting=waiting)
    return SpeakerWork(load, options)


class WatchedSpeakers:
    """A SpeakerInference, and what is wrong with it: `trouble` is why the last resolve failed by a fault of
    the provider's, None once one didn't. For /health.
    """

    def __init__(self, inference: SpeakerInference) -> None:
        self._inference = inference
        self.trouble: str | None = None

    @property
    def provider(self) -> str:
        return self._inference.provider

    async def resolve(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `SpeakerInference.resolve`."""
        try:
            answer = await self._inference.resolve(request)
        except EdgeError as error:
            self.trouble = _trouble(error)
            raise
        except Exception as error:  # a plugin's defect may be anything, and its text may hold a secret
            failed = EdgeError(INFERENCE_FAILED, f"{INFERENCE_FAILED.detail}: {type(error).__name__}")
            self.trouble = failed.detail
            raise failed from error
        self.trouble = None
        return answer


def _trouble(error: EdgeError) -> str | None:
    """In words. What an API elsewhere says of itself isn't repeated: it may hold what isn't ours to show."""
    if error.kind is not INFERENCE_STATUS:
        return error.detail
    status = error.fields.get("backend_status")
    if status in _NOT_ITS_FAULT:
        return None
    if isinstance(error.__cause__, EdgeError):  # our own words
        return error.__cause__.detail
    return f"{error.detail} ({status})"
