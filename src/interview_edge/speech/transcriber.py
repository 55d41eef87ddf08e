"""What was said: the Transcriber seam. Its providers are http_transcriber.py and local_whisper.py; plugins
come by entry point (group `interview_edge.transcribers`).
"""

from __future__ import annotations

import enum
import math
from typing import Protocol

import attrs

MAX_SECONDS = 30  # of audio in one request: an utterance's most, and Whisper's window


class Failure(enum.StrEnum):
    """Why there is no text. The word is what the wire and /health show."""

    UNREACHABLE = "unreachable"  # no connection, or it broke
    TIMEOUT = "timeout"
    BUSY = "busy"  # over the provider's limit (429)
    REFUSED = "refused"  # wrong key, no such model: a retry alone doesn't help
    BROKEN = "broken"  # an answer that is none, or a fault of the provider's own
    UNAVAILABLE = "unavailable"  # no model files, or they can't be loaded


# What may be another at the next try.
PASSING = frozenset({Failure.UNREACHABLE, Failure.TIMEOUT, Failure.BUSY, Failure.BROKEN})


class TranscriptionFailed(Exception):
    """There is no text. `detail` is for people and holds no secret; `retry_after` is seconds, where known.

    `tried` is False where the provider wasn't asked, for what `failure` says of earlier calls: it tells
    nothing of this audio.
    """

    def __init__(
        self, failure: Failure, detail: str, *, retry_after: float | None = None, tried: bool = True
    ) -> None:
        super().__init__(f"{failure}: {detail}")
        self.failure = failure
        self.detail = detail
        self.retry_after = retry_after
        self.tried = tried

    @property
    def passing(self) -> bool:
        """Whether another try may succeed."""
        return self.failure in PASSING


@attrs.frozen
class Transcript:
    """What was said in one stretch of audio. `text` may be empty: nothing was; it has no control characters
    but line feeds and tabs. `language` is ISO 639-1, None where the provider doesn't say; `fetch_ms` is how
    long the provider took.
    """

    text: str
    language: str | None = None
    fetch_ms: float = 0.0


def checked(found: object) -> Transcript:
    """What a transcriber answered, where it is a transcript that can be kept: a plugin's may be anything.

    Raises TranscriptionFailed.
    """
    if not isinstance(found, Transcript):
        raise TranscriptionFailed(Failure.BROKEN, f"it answered {type(found).__name__} and no Transcript")
    words: tuple[object, object] = found.text, found.language
    try:
        for word in words:
            if word is not None:
                str.encode(word)  # type: ignore[arg-type]  # which is what is to be found out
        fetch_ms = float(found.fetch_ms)
    except (TypeError, ValueError) as error:  # no text, or surrogates, which no store takes
        raise TranscriptionFailed(Failure.BROKEN, "its Transcript can't be kept") from error
    if found.text is None or not 0 <= fetch_ms < math.inf:
        raise TranscriptionFailed(Failure.BROKEN, "its Transcript can't be kept")
    return Transcript(found.text, found.language, fetch_ms)


class Transcriber(Protocol):
    """Somebody's speech-to-text. `interview_edge.testing.check_transcriber` holds one to all of this."""

    @property
    def provider(self) -> str:
        """Its name, as transcripts and /health show it. It stays the same."""
        ...

    async def transcribe(
        self, pcm: bytes, *, language: str | None = None, prompt: str | None = None
    ) -> Transcript:
        """The text of `pcm` (s16le mono 16 kHz, whole samples, at most 30 s).

        `language` (ISO 639-1) and `prompt` (text that comes before, names that may fall) are hints. Raises
        TranscriptionFailed, and nothing else for any such audio. Any number of calls at once; how many are
        worked on is the provider's to bound. What computes or blocks goes to a thread: the event loop is the
        audio's. Cancelled, the call ends at once and what it began ends by itself soon, within the
        provider's bound. Once it has ended, `pcm` isn't kept.
        """
        ...
