"""Who is speaking: the SpeakerInference seam and its HTTP provider (contracts ingest.md, inference.md)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol

import httpx
import msgspec
import trio

from interview_edge.errors import (
    INFERENCE_FAILED,
    INFERENCE_NOT_JSON,
    INFERENCE_STATUS,
    INFERENCE_TIMEOUT,
    EdgeError,
)
from interview_edge.speech.http_exchange import exchange
from interview_edge.tracing import NoTracing, Tracing

MAX_ANSWER_BYTES = 4 * 1024 * 1024
MAX_SHOWN_BYTES = 2_000  # of a failed answer's body, in our error


class SpeakerInference(Protocol):
    """Somebody's speaker model. `interview_edge.testing.check_speakers` holds one to what is said here and to
    the API's rules (docs/reference/inference.md).
    """

    @property
    def provider(self) -> str:
        """Its name, as /health shows it. It stays the same."""
        ...

    async def resolve(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Ask `/speaker/resolve` and return the JSON object it answers, verbatim.

        `request` is `{session_id, audio, asr_text, state}`; it is never changed, and nothing of a session is
        kept: `state` says all that is known. Raises EdgeError: inference_failed, inference_timeout,
        inference_not_json, and inference_status, whose `backend_status` is 400, 413, 415 or 422 where the
        audio was wrong. Any number of calls at once, of different sessions; what computes or blocks goes to
        a thread. Cancellation ends the exchange at once.
        """
        ...


class HttpSpeakerInference:
    """The inference API over HTTP. `timeout` (seconds) bounds the whole exchange, reading the body too."""

    provider = "http"

    def __init__(
        self, client: httpx.AsyncClient, url: str, *, timeout: float, tracing: Tracing | None = None
    ) -> None:
        self._client = client
        self._tracing = tracing or NoTracing()
        self._url = url
        self._timeout = timeout

    async def resolve(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            with trio.fail_after(self._timeout):
                status, body = await self._exchange(request)
        except (trio.TooSlowError, httpx.TimeoutException) as error:
            raise EdgeError(INFERENCE_TIMEOUT) from error
        except httpx.HTTPError as error:
            raise EdgeError(INFERENCE_FAILED, f"{INFERENCE_FAILED.detail}: {type(error).__name__}") from error
        if not 200 <= status < 300:
            shown = body[:MAX_SHOWN_BYTES].decode("utf-8", "replace")
            raise EdgeError(INFERENCE_STATUS, fields={"backend_status": status, "backend_body": shown})
        try:
            # Strict where `json` isn't: it lets NaN, Infinity, 1e999 and lone surrogates in, none of which we
            # could pass on as JSON.
            answer = msgspec.json.decode(body)
        except (ValueError, RecursionError) as error:  # DecodeError and UnicodeDecodeError are ValueErrors
            raise EdgeError(INFERENCE_NOT_JSON) from error
        if not isinstance(answer, dict):
            raise EdgeError(INFERENCE_NOT_JSON)
        return answer

    async def _exchange(self, request: Mapping[str, Any]) -> tuple[int, bytes]:
        asked = self._client.build_request("POST", self._url, json=request, headers=self._tracing.outgoing())
        async with exchange(self._client, asked) as response:
            body = bytearray()
            async for part in response.aiter_bytes():
                body += part
                if len(body) > MAX_ANSWER_BYTES:
                    raise EdgeError(
                        INFERENCE_FAILED, f"{INFERENCE_FAILED.detail}: answer over {MAX_ANSWER_BYTES} bytes"
                    )
            return response.status_code, bytes(body)


@asynccontextmanager
async def open_http_inference(
    base_url: str, path: str, *, api_key: str | None, timeout: float, tracing: Tracing | None = None
) -> AsyncIterator[HttpSpeakerInference]:
    """The provider with its connection pool. `api_key` goes out as `x-api-key` and nowhere else."""
    headers = {"x-api-key": api_key} if api_key else {}
    # trust_env off: a proxy variable of the machine must not send interviews elsewhere.
    async with httpx.AsyncClient(headers=headers, timeout=timeout, trust_env=False) as client:
        yield HttpSpeakerInference(client, base_url.rstrip("/") + path, timeout=timeout, tracing=tracing)
