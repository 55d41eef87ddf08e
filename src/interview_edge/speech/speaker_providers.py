"""Which SpeakerInference a node has, by its settings: http, local, a plugin's, or none."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import entry_points
from typing import Any

from interview_edge.core.speaker_rules import SpeakerThresholds
from interview_edge.errors import INFERENCE_STATUS, EdgeError
from interview_edge.settings import Settings, SettingsError
from interview_edge.speech.inference import SpeakerInference, open_http_inference
from interview_edge.speech.local_speakers import LocalSpeakers
from interview_edge.speech.model_files import is_there
from interview_edge.speech.models import CAMPPLUS
from interview_edge.speech.speaker_work import SpeakerWork, SpeakerWorkOptions, campplus_work
from interview_edge.tracing import Tracing

GROUP = "interview_edge.speakers"
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
    """The node's provider. Raises SettingsError for a name that is none."""
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
    return _open_plugin(name, settings)


@asynccontextmanager
async def _open_local(settings: Settings) -> AsyncIterator[LocalSpeakers]:
    work = open_speaker_work(settings, waiting=NODE_WAITING)
    yield LocalSpeakers(work, timeout=settings.inference_timeout_ms / 1000)


def open_speaker_work(settings: Settings, *, waiting: int) -> SpeakerWork:
    """The model, to be loaded with the first request: a node that is never asked pays nothing for it."""
    thresholds = SpeakerThresholds(
        low=settings.speaker_low, high=settings.speaker_high, margin=settings.speaker_margin
    )
    options = SpeakerWorkOptions(thresholds=thresholds, workers=settings.speaker_workers, waiting=waiting)
    return campplus_work(settings.models_path, options)


def _open_plugin(name: str, settings: Settings) -> AbstractAsyncContextManager[SpeakerInference]:
    found = {point.name: point for point in entry_points(group=GROUP)}
    if name not in found:
        known = ", ".join(["auto", "off", "http", "local", *sorted(found)])
        raise SettingsError(f"speakers (EDGE_SPEAKERS) must be one of {known}, got {name!r}")
    opened: AbstractAsyncContextManager[SpeakerInference] = found[name].load()(settings)
    return opened


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
