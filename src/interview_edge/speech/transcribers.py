"""Which transcriber a node has, by its settings: http, local, a plugin's, or none."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from interview_edge.settings import Settings
from interview_edge.speech.http_transcriber import HttpTranscription, open_http_transcriber
from interview_edge.speech.local_whisper import LocalWhisperOptions, open_local_whisper
from interview_edge.speech.model_files import is_there
from interview_edge.speech.models import WHISPER_BASE
from interview_edge.speech.plugins import PluginSetting, open_plugin
from interview_edge.speech.transcriber import Transcriber
from interview_edge.tracing import Tracing

PLUGIN = PluginSetting(
    "transcriber",
    "interview_edge.transcribers",
    built_in=("auto", "off", "http", "local"),
    needs=("provider", "transcribe"),
)


def chosen(settings: Settings) -> str | None:
    """The transcriber's name; None where there is none. `auto` is what is configured: an API where its URL is
    set, else the model of this machine where the extra and the files are there.
    """
    if settings.transcriber == "auto":
        if settings.transcription_base_url is not None:
            return "http"
        return "local" if local_is_there(settings) else None
    return None if settings.transcriber == "off" else settings.transcriber


def local_is_there(settings: Settings) -> bool:
    """Whether the extra `local` is installed and the model's files lie in the model folder."""
    installed = importlib.util.find_spec("faster_whisper") is not None
    return installed and is_there(WHISPER_BASE, settings.models_path)


@asynccontextmanager
async def open_transcriber(settings: Settings, tracing: Tracing) -> AsyncIterator[Transcriber | None]:
    """The node's transcriber. Raises SettingsError for a name that is none and a plugin that is broken."""
    name = chosen(settings)
    if name is None:
        yield None
        return
    async with _open(name, settings, tracing) as transcriber:
        yield transcriber


def _open(name: str, settings: Settings, tracing: Tracing) -> AbstractAsyncContextManager[Transcriber]:
    if name == "http":
        return open_http_transcriber(http_options(settings), tracing=tracing)
    if name == "local":
        return open_local_whisper(local_options(settings))
    return open_plugin(PLUGIN, name, settings)


def http_options(settings: Settings) -> HttpTranscription:
    """How the HTTP provider is asked. The settings have its URL."""
    return HttpTranscription(
        base_url=settings.transcription_base_url or "",
        model=settings.transcription_model,
        api_key=settings.transcription_api_key,
        timeout=settings.transcription_timeout,
        concurrency=settings.transcription_concurrency,
    )


def local_options(settings: Settings) -> LocalWhisperOptions:
    """How the local model runs."""
    return LocalWhisperOptions(
        model_dir=settings.models_path, workers=settings.local_workers, threads=settings.local_threads
    )
