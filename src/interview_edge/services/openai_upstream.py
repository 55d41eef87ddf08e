"""The OpenAI API as our upstream: its Realtime routes. httpx lives behind this module.

The operator's key goes out in one header and is never in an error or a log line; nor is what the upstream
answers passed on, but for the fields that are asked for.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import attrs
import httpx
import msgspec
import structlog
import trio

from interview_edge.errors import (
    PROVIDER_BUSY,
    PROVIDER_FAILED,
    PROVIDER_REFUSED,
    PROVIDER_TIMEOUT,
    EdgeError,
)
from interview_edge.tracing import Tracing

log = structlog.get_logger(__name__)

MAX_ANSWER_BYTES = 1024 * 1024
MAX_CONNECTIONS = 32
MAX_RETRY_AFTER = 3600.0  # seconds: what an upstream asks for beyond it isn't believed


class Answer(NamedTuple):
    """A success: its body, whole, and its headers (lower-case names)."""

    body: bytes
    headers: Mapping[str, str]


class ClientSecret(NamedTuple):
    """An ephemeral token, its end in epoch seconds, and the session as the upstream shows it."""

    value: str
    expires_at: int
    session: Mapping[str, Any]


class CallAnswer(NamedTuple):
    """The SDP answer of a call, and where the call is, if the upstream says."""

    sdp: bytes
    location: str | None


class _Secret(msgspec.Struct):
    value: str
    expires_at: int
    session: dict[str, Any] = {}


class OpenAiUpstream:
    """The routes that we use. Each raises EdgeError: provider_failed, provider_refused, provider_busy,
    provider_timeout. Cancellation ends the exchange.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        base_url: str,
        *,
        identifier_key: str,
        timeout: float,
        tracing: Tracing,
    ) -> None:
        self._client = client
        self._base = base_url.rstrip("/").removesuffix("/v1") + "/v1"
        self._identifier_key = identifier_key.encode()
        self._timeout = timeout
        self._tracing = tracing

    async def create_client_secret(self, request: Mapping[str, Any], user: str) -> ClientSecret:
        """`POST /v1/realtime/client_secrets`."""
        answer = await self._exchange("/realtime/client_secrets", user, json=request)
        try:
            found = msgspec.json.decode(answer.body, type=_Secret)
        except (ValueError, RecursionError) as error:
            raise EdgeError(PROVIDER_FAILED) from error
        if not found.value:
            raise EdgeError(PROVIDER_FAILED)
        return ClientSecret(found.value, found.expires_at, found.session)

    async def create_call(self, sdp: bytes, session: Mapping[str, Any], user: str) -> CallAnswer:
        """`POST /v1/realtime/calls`: a WebRTC offer in, the answer out."""
        parts = {
            "sdp": (None, sdp, "application/sdp"),
            "session": (None, msgspec.json.encode(session), "application/json"),
        }
        answer = await self._exchange("/realtime/calls", user, files=parts)
        if not answer.body.startswith(b"v=0"):
            raise EdgeError(PROVIDER_FAILED)
        return CallAnswer(answer.body, answer.headers.get("location"))

    async def _exchange(self, path: str, user: str, **content: Any) -> Answer:
        try:
            with trio.fail_after(self._timeout):
                status, answer = await self._post(path, user, content)
        except (trio.TooSlowError, httpx.TimeoutException) as error:
            raise EdgeError(PROVIDER_TIMEOUT) from error
        except httpx.HTTPError as error:
            log.warning("the provider can't be reached", path=path, error=type(error).__name__)
            raise EdgeError(PROVIDER_FAILED) from error
        if not 200 <= status < 300:
            log.warning("the provider refused a request", path=path, status=status)
            raise _refusal(status, answer.headers)
        return answer

    async def _post(self, path: str, user: str, content: Mapping[str, Any]) -> tuple[int, Answer]:
        headers = {"openai-safety-identifier": self.safety_identifier(user), **self._tracing.outgoing()}
        async with self._client.stream("POST", self._base + path, headers=headers, **content) as response:
            body = bytearray()
            # Read to its end, within the deadline: httpx leaves a generator behind where reading stops early.
            async for part in response.aiter_bytes():
                body += part[: MAX_ANSWER_BYTES + 1 - len(body)]
            if len(body) > MAX_ANSWER_BYTES:
                raise EdgeError(PROVIDER_FAILED)
            return response.status_code, Answer(bytes(body), response.headers)

    def safety_identifier(self, user: str) -> str:
        """What the provider knows a user by: the same each time, and not the name."""
        return hmac.digest(self._identifier_key, user.encode(), hashlib.sha256).hex()


def _refusal(status: int, headers: Mapping[str, str]) -> EdgeError:
    if status == 429:
        return EdgeError(PROVIDER_BUSY, retry_after=_seconds(headers.get("retry-after")))
    # Its 401 is about the operator's key: for our client it is no reason to look for another one.
    return EdgeError(PROVIDER_REFUSED if status in (401, 403) else PROVIDER_FAILED)


def _seconds(retry_after: str | None) -> float:
    try:
        return min(max(float(retry_after or 1), 1.0), MAX_RETRY_AFTER)
    except ValueError:  # the date form
        return 1.0


@attrs.frozen(kw_only=True)
class UpstreamAccess:
    """Where the upstream is, and what it is shown. `identifier_key` keys the users' identifiers."""

    base_url: str
    api_key: str = attrs.field(repr=False)
    identifier_key: str = attrs.field(repr=False)
    timeout: float


@asynccontextmanager
async def open_openai_upstream(access: UpstreamAccess, tracing: Tracing) -> AsyncIterator[OpenAiUpstream]:
    """The upstream, with connections of its own."""
    limits = httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=4)
    async with httpx.AsyncClient(
        headers={"authorization": f"Bearer {access.api_key}"},
        timeout=access.timeout,
        limits=limits,
        follow_redirects=False,  # the key goes to this host and no other
        trust_env=False,
    ) as client:
        yield OpenAiUpstream(
            client,
            access.base_url,
            identifier_key=access.identifier_key,
            timeout=access.timeout,
            tracing=tracing,
        )
