"""Every transcriber keeps the contract: the built-in ones, and the fake that other tests have for them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from interview_edge.speech.http_transcriber import HttpTranscription, open_http_transcriber
from interview_edge.speech.local_whisper import LocalWhisperOptions, open_local_whisper
from interview_edge.speech.models import WHISPER_BASE
from interview_edge.testing import check_transcriber
from local_models import model_folder
from stenographer import Stenographer, ready
from transcription_api import KEY, hear, serve_transcription


async def test_an_openai_compatible_api_conforms(nursery: trio.Nursery) -> None:
    api = await nursery.start(serve_transcription)
    api.answer = hear
    how = HttpTranscription(base_url=api.url, model="whisper-1", api_key=KEY)
    await check_transcriber(lambda: open_http_transcriber(how), words=("samples",))


async def test_whisper_on_this_machine_conforms() -> None:
    options = LocalWhisperOptions(model_dir=model_folder(WHISPER_BASE, "faster_whisper"))
    await check_transcriber(
        lambda: open_local_whisper(options), words=("fellow", "Americans", "country"), timeout=120
    )


async def test_the_stenographer_conforms() -> None:
    @asynccontextmanager
    async def open_stenographer() -> AsyncIterator[Stenographer]:
        yield ready()

    await check_transcriber(open_stenographer, words=("bytes",))
