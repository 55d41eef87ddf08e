"""The transcriber of a node: asked so that nothing it does ends anything, and how it fares."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from hashlib import sha256
from random import Random

import structlog
import trio

from interview_edge.backends.protocol import BackendUnavailable
from interview_edge.catalog.protocol import CatalogUnavailable
from interview_edge.core.pcm import CHUNK_BYTES
from interview_edge.journal import JournalError
from interview_edge.sessions.utterance_audio import AudioGone
from interview_edge.speech.transcriber import (
    Failure,
    Transcriber,
    Transcript,
    TranscriptionFailed,
    checked,
)

log = structlog.get_logger(__name__)

ANSWER_TIMEOUT = 300.0  # seconds: a provider that takes longer has hung, whatever bounds it has of its own
MAX_PAUSE = 300.0  # that it may ask for
MAX_AHEAD = 16  # transcripts that were made ahead: more than there are talkers while any is
SILENCE = bytes(CHUNK_BYTES)

# What may have passed at the next try.
_PASSING = (BackendUnavailable, CatalogUnavailable, JournalError, trio.TooSlowError)


class NodeTranscriber:
    """`last_failure` is the provider's last word where it failed, None once it answers again.

    `language` is its hint; `read_timeout`, `retry_initial` and `retry_max` are seconds.
    """

    def __init__(
        self,
        transcriber: Transcriber,
        *,
        language: str | None,
        read_timeout: float,
        retry_initial: float,
        retry_max: float,
        random: Random,
    ) -> None:
        self._transcriber = transcriber
        self._language = language
        self._read_timeout = read_timeout
        self._retry_initial = retry_initial
        self._retry_max = retry_max
        self._random = random
        self._failures = 0
        self._ahead: dict[bytes, Transcript] = {}  # by the SHA-256 of their audio
        self.last_failure: TranscriptionFailed | None = None

    @property
    def provider(self) -> str:
        """Its name."""
        return self._transcriber.provider

    async def transcribe(
        self, read: Callable[[], Awaitable[bytes]], *, prompt: str | None = None, ahead: bool = False
    ) -> Transcript:
        """What was said in the PCM that `read` gives. `ahead` of an utterance's end: where the whole of it is
        the same audio in the end, nothing more was said nor came late, and the provider isn't asked again.

        Raises TranscriptionFailed, whatever went wrong: neither a damaged object nor a plugin's defect
        may end a session or the node (invariant 5); and AudioGone.
        """
        pcm = await self._read(read)
        if not ahead and prompt is None and self._ahead:
            found_ahead = self._ahead.pop(sha256(pcm).digest(), None)
            if found_ahead is not None:
                return found_ahead
        found = await self._ask(pcm, prompt)
        if ahead:
            self._ahead[sha256(pcm).digest()] = found
            if len(self._ahead) > MAX_AHEAD:
                del self._ahead[next(iter(self._ahead))]
        return found

    async def _ask(self, pcm: bytes, prompt: str | None) -> Transcript:
        try:
            with trio.fail_after(ANSWER_TIMEOUT):
                found = checked(
                    await self._transcriber.transcribe(pcm, language=self._language, prompt=prompt)
                )
        except TranscriptionFailed:
            raise
        except trio.TooSlowError as error:
            raise TranscriptionFailed(Failure.TIMEOUT, f"no answer in {ANSWER_TIMEOUT:g} s") from error
        except Exception as error:  # a plugin's may be anything, and its text may hold a secret
            raise TranscriptionFailed(Failure.BROKEN, type(error).__name__) from error
        if self.last_failure is not None:
            log.info("transcription works again", provider=self.provider)
        self.last_failure, self._failures = None, 0
        return found

    async def _read(self, read: Callable[[], Awaitable[bytes]]) -> bytes:
        try:
            with trio.fail_after(self._read_timeout):
                return await read()
        except _PASSING as error:
            raise TranscriptionFailed(Failure.UNREACHABLE, f"the audio: {type(error).__name__}") from error
        except AudioGone:
            raise
        except Exception as error:  # a lost or damaged object: another try finds the same
            raise TranscriptionFailed(Failure.BROKEN, f"the audio: {type(error).__name__}") from error

    async def serves(self) -> bool:
        """Whether it does what it should with a second of silence: what it broke on is at fault then, and
        else it is the provider.
        """

        async def read() -> bytes:
            return SILENCE

        try:
            await self.transcribe(read)
        except TranscriptionFailed:
            return False
        return True

    async def back_off(self, session_id: str, error: TranscriptionFailed) -> None:
        """Note the failure, and wait: longer each time, at once the longest where somebody has to act."""
        if self.last_failure is None or self.last_failure.failure is not error.failure:
            log.warning(
                "transcription fails; the audio is kept and tried again",
                session_id=session_id,
                provider=self.provider,
                failure=str(error.failure),
                detail=error.detail,
            )
        self.last_failure = error
        self._failures += 1
        longest = self._retry_max
        if error.passing:
            longest = min(longest, self._retry_initial * 2.0 ** min(self._failures - 1, 16))
        asked = error.retry_after or 0.0
        pause = min(asked, MAX_PAUSE) if asked > 0 else 0.0  # a plugin's may be NaN
        await trio.sleep(max(pause, longest * (0.5 + self._random.random() / 2)))
