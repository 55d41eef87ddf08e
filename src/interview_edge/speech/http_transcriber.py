"""Transcription by an OpenAI-compatible HTTP API (contract stream.md, Transcription provider)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import attrs
import httpx
import msgspec
import trio

from interview_edge.core.circuit_breaker import CircuitBreaker
from interview_edge.core.languages import language_code
from interview_edge.core.pcm import CHUNK_BYTES
from interview_edge.core.wav import encode_wav
from interview_edge.speech.http_exchange import exchange
from interview_edge.speech.transcriber import MAX_SECONDS, Failure, Transcript, TranscriptionFailed
from interview_edge.tracing import NoTracing, Tracing

MAX_ANSWER_BYTES = 1024 * 1024  # half a minute of speech as verbose JSON is some kilobytes
MAX_RETRY_AFTER = 60.0  # seconds: what a provider asks for beyond it isn't believed
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # a NUL above all, which other stores refuse


@attrs.frozen(kw_only=True)
class HttpTranscription:
    """Where the API is, and how patiently it is asked. `timeout` (seconds) bounds one try, `tries` how many
    there are; `retry_initial` and `retry_max` (seconds) the waits between, doubled and spread by half.
    """

    base_url: str
    model: str
    api_key: str | None = attrs.field(default=None, repr=False)
    timeout: float = 30.0
    tries: int = 3
    retry_initial: float = 0.5
    retry_max: float = 8.0
    concurrency: int = 4
    breaker_failures: int = 5
    breaker_cooldown: float = 15.0


class _Answer(msgspec.Struct):
    """What we read of a verbose answer; `text` is all that every compatible server gives."""

    text: str
    language: str | None = None


class HttpTranscriber:
    """See `Transcriber`. At most `concurrency` requests are under way; the others wait their turn."""

    def __init__(
        self, client: httpx.AsyncClient, how: HttpTranscription, random: Random, tracing: Tracing
    ) -> None:
        self._client = client
        self._how = how
        self._random = random
        self._tracing = tracing
        self._limiter = trio.CapacityLimiter(how.concurrency)
        self._breaker = CircuitBreaker(how.breaker_failures, how.breaker_cooldown)
        self._why_open = (Failure.BUSY, "")

    @property
    def provider(self) -> str:
        return self._how.model

    async def transcribe(
        self, pcm: bytes, *, language: str | None = None, prompt: str | None = None
    ) -> Transcript:
        """See `Transcriber.transcribe`. Tries again on 429, 5xx and a broken connection."""
        if len(pcm) > MAX_SECONDS * CHUNK_BYTES:
            raise ValueError(f"{len(pcm)} bytes are over {MAX_SECONDS} s")
        fields = {"model": self._how.model, "response_format": "verbose_json"}
        fields |= {name: text for name, text in (("language", language), ("prompt", prompt)) if text}
        async with self._limiter:
            for tried in range(1, self._how.tries + 1):
                try:
                    return await self._try(pcm, fields)
                except TranscriptionFailed as error:
                    if not error.passing or tried == self._how.tries or self._breaker.is_open:
                        raise
                    await trio.sleep(self._wait(tried, error.retry_after))
        raise AssertionError("the last try returns or raises")

    def _wait(self, tried: int, retry_after: float | None) -> float:
        longest = min(self._how.retry_initial * 2.0 ** (tried - 1), self._how.retry_max)
        return max(retry_after or 0.0, longest * (0.5 + self._random.random() / 2))

    async def _try(self, pcm: bytes, fields: Mapping[str, str]) -> Transcript:
        if not self._breaker.begin(trio.current_time()):
            raise self._left_alone()
        began = trio.current_time()
        try:
            status, headers, body = await self._exchange(pcm, fields)
            found = _read(status, headers, body)
        except TranscriptionFailed as error:
            if error.failure is Failure.REFUSED:
                self._breaker.succeeded()  # it answers: what is wrong is ours to mend
            else:
                self._breaker.failed(trio.current_time())
                self._why_open = error.failure, error.detail
            raise
        except trio.Cancelled:
            self._breaker.abandoned()
            raise
        self._breaker.succeeded()
        took = (trio.current_time() - began) * 1000
        text = _CONTROLS.sub("", found.text).strip()
        return Transcript(text, language_code(found.language), round(took, 1))

    def _left_alone(self) -> TranscriptionFailed:
        """What a call hears while the breaker is open: what the last one failed with."""
        failure, detail = self._why_open
        wait = self._breaker.wait_left(trio.current_time())
        told = f"{detail}; it failed too often and is left alone for a while"
        return TranscriptionFailed(failure, told, retry_after=wait, tried=False)

    async def _exchange(self, pcm: bytes, fields: Mapping[str, str]) -> tuple[int, httpx.Headers, bytes]:
        request = self._client.build_request(
            "POST",
            f"{self._how.base_url.rstrip('/')}/audio/transcriptions",
            data=dict(fields),
            files={"file": ("audio.wav", encode_wav(pcm), "audio/wav")},
            headers=self._tracing.outgoing(),
        )
        try:
            with trio.fail_after(self._how.timeout):
                async with exchange(self._client, request) as response:
                    body = bytearray()
                    # To its end: httpx leaves a generator behind where reading stops early.
                    async for part in response.aiter_bytes():
                        body += part[: MAX_ANSWER_BYTES + 1 - len(body)]
                    return response.status_code, response.headers, bytes(body)
        except (trio.TooSlowError, httpx.TimeoutException) as error:
            raise TranscriptionFailed(Failure.TIMEOUT, f"no answer in {self._how.timeout:g} s") from error
        except httpx.HTTPError as error:  # its text may hold the URL, and that a password
            raise TranscriptionFailed(Failure.UNREACHABLE, type(error).__name__) from error


def _read(status: int, headers: httpx.Headers, body: bytes) -> _Answer:
    if status == 429:
        after = _seconds(headers.get("retry-after"))
        raise TranscriptionFailed(Failure.BUSY, "over the provider's rate limit", retry_after=after)
    if status >= 500:
        raise TranscriptionFailed(Failure.BROKEN, f"the provider answered {status}")
    if not 200 <= status < 300:  # also a redirect: the key goes to the configured host and no other
        raise TranscriptionFailed(Failure.REFUSED, f"the provider answered {status}")
    if len(body) > MAX_ANSWER_BYTES:
        raise TranscriptionFailed(Failure.BROKEN, f"an answer over {MAX_ANSWER_BYTES} bytes")
    try:
        return msgspec.json.decode(body, type=_Answer)
    except (ValueError, RecursionError) as error:  # msgspec's and UTF-8's errors are ValueErrors
        raise TranscriptionFailed(Failure.BROKEN, "the answer is no transcription") from error


def _seconds(retry_after: str | None) -> float | None:
    try:
        return None if retry_after is None else min(max(float(retry_after), 0.0), MAX_RETRY_AFTER)
    except ValueError:  # the date form
        return None


@asynccontextmanager
async def open_http_transcriber(
    how: HttpTranscription, *, random: Random | None = None, tracing: Tracing | None = None
) -> AsyncIterator[HttpTranscriber]:
    """The provider with its connection pool. `api_key` goes out as a Bearer token and nowhere else."""
    headers: dict[str, Any] = {"authorization": f"Bearer {how.api_key}"} if how.api_key else {}
    async with httpx.AsyncClient(
        headers=headers,
        timeout=how.timeout,
        limits=httpx.Limits(max_connections=how.concurrency),
        follow_redirects=False,
        trust_env=False,  # a proxy variable of the machine must not send interviews elsewhere
    ) as client:
        yield HttpTranscriber(client, how, random or Random(), tracing or NoTracing())  # noqa: S311 - spreads retries
