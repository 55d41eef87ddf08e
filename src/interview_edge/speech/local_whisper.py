"""Transcription on this machine: faster-whisper over CTranslate2, int8, no account and no network.

The extra `local` brings the library, `interview-edge models fetch` the weights. An utterance of up to ten
seconds costs 1.2 to 1.6 CPU seconds, whatever its length (Whisper hears windows of 30 s): so many at once as
there are workers, and no more.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import trio

from interview_edge.core.pcm import CHUNK_BYTES
from interview_edge.speech.background import in_background, let_threads_end
from interview_edge.speech.model_files import folder_of, is_there
from interview_edge.speech.models import WHISPER_BASE
from interview_edge.speech.transcriber import MAX_SECONDS, Failure, Transcript, TranscriptionFailed

PROVIDER = "local whisper-base"
# Without it Whisper writes Mandarin in either script; with it in simplified characters, with punctuation.
MANDARIN_PROMPT = "以下是普通话的句子。"
MANDARIN = "zh"
CLOSING = 5.0  # seconds: an utterance takes one or two


@attrs.frozen(kw_only=True)
class LocalWhisperOptions:
    """`workers` utterances at once, each on `threads` cores; default: all of them, shared out."""

    model_dir: Path
    workers: int = 2
    threads: int | None = None

    @property
    def cores_each(self) -> int:
        return self.threads or max(1, (os.cpu_count() or 1) // self.workers)


class LocalWhisper:
    """See `Transcriber`. The model is loaded with the first utterance: 1.5 s and some 300 MB."""

    def __init__(self, options: LocalWhisperOptions) -> None:
        self._options = options
        self._limiter = trio.CapacityLimiter(options.workers)
        self._loading = trio.Lock()
        self._model: Any = None

    @property
    def provider(self) -> str:
        return PROVIDER

    async def transcribe(
        self, pcm: bytes, *, language: str | None = None, prompt: str | None = None
    ) -> Transcript:
        """See `Transcriber.transcribe`. Cancelled, the caller goes on at once; the thread ends its utterance
        (a second or two) and keeps its worker's place until then, so that dropped work never piles up. Only
        while the model is loaded is cancellation waited out: two loads at once would take twice the memory.
        """
        if len(pcm) > MAX_SECONDS * CHUNK_BYTES:
            raise ValueError(f"{len(pcm)} bytes are over {MAX_SECONDS} s")
        await self._load()
        began = trio.current_time()
        try:
            text, heard = await trio.to_thread.run_sync(
                self._write, pcm, language, prompt, limiter=self._limiter, abandon_on_cancel=True
            )
        except (RuntimeError, ValueError) as error:  # CTranslate2's and the tokenizer's
            raise TranscriptionFailed(Failure.BROKEN, type(error).__name__) from error
        return Transcript(text, heard, round((trio.current_time() - began) * 1000, 1))

    async def aclose(self) -> None:
        """Give the model up, within `CLOSING` seconds for what works on it."""
        await let_threads_end(self._limiter, CLOSING)
        self._model = None

    async def _load(self) -> None:
        async with self._loading:
            if self._model is None:
                await trio.to_thread.run_sync(self._open)

    # In threads. Neither hands the model over: a thread that has the last of it ends it, perhaps in the
    # moment in which the interpreter ends, and native code that is interrupted so aborts the process.

    def _open(self) -> None:
        self._model = _open_model(self._options)

    def _write(self, pcm: bytes, language: str | None, prompt: str | None) -> tuple[str, str]:
        return _transcribe(self._model, pcm, language, prompt)


def _open_model(options: LocalWhisperOptions) -> Any:
    if not is_there(WHISPER_BASE, options.model_dir):
        raise TranscriptionFailed(
            Failure.UNAVAILABLE,
            f"{options.model_dir} lacks files of {WHISPER_BASE.name}: run `interview-edge models fetch`",
        )
    try:
        from faster_whisper import WhisperModel  # 1 s and 100 MB: only where it is used
    except ImportError as error:
        raise TranscriptionFailed(
            Failure.UNAVAILABLE, "the extra `local` isn't installed: pip install 'interview-edge[local]'"
        ) from error
    try:
        return in_background(
            lambda: WhisperModel(
                str(folder_of(WHISPER_BASE, options.model_dir)),
                device="cpu",
                compute_type="int8",
                cpu_threads=options.cores_each,
                num_workers=options.workers,
                local_files_only=True,
            )
        )
    except (RuntimeError, ValueError) as error:
        raise TranscriptionFailed(
            Failure.UNAVAILABLE, f"the files of {WHISPER_BASE.name} can't be loaded; fetch them again"
        ) from error


def _transcribe(model: Any, pcm: bytes, language: str | None, prompt: str | None) -> tuple[str, str]:
    samples = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768
    begins = MANDARIN_PROMPT if language == MANDARIN else ""
    segments, info = model.transcribe(
        samples,
        language=language,
        initial_prompt=(begins + (prompt or "")) or None,
        beam_size=1,
        # One temperature: the fallbacks to higher ones can take five times as long, on noise above all.
        temperature=0.0,
        condition_on_previous_text=False,
        without_timestamps=True,
    )
    # Work is done as the segments are asked for; an utterance is one window, so one segment, seldom two.
    return "".join(segment.text for segment in segments).strip(), info.language


@asynccontextmanager
async def open_local_whisper(options: LocalWhisperOptions) -> AsyncIterator[LocalWhisper]:
    """The provider. Its model goes with it."""
    whisper = LocalWhisper(options)
    try:
        yield whisper
    finally:
        await whisper.aclose()
