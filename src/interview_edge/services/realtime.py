"""Realtime tokens and calls: short-lived credentials for browsers, minted with the server's own key and on
its own terms (contract gateway.md, Realtime token).
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import attrs
import trio

from interview_edge.access.principal import Principal
from interview_edge.catalog.access import AccessRecords, Reservation, UsageKind
from interview_edge.catalog.protocol import CatalogUnavailable
from interview_edge.core.times import next_utc_day_ms, utc_day
from interview_edge.errors import MODEL_NOT_ALLOWED, PROVIDER_UNSET, QUOTA_EXCEEDED, EdgeError
from interview_edge.services.openai_upstream import (
    CallAnswer,
    ClientSecret,
    OpenAiUpstream,
    UpstreamAccess,
    open_openai_upstream,
)
from interview_edge.settings import Settings
from interview_edge.tracing import Tracing

RESERVED_MS = 3_600_000  # so long a mint that a crash cut off counts against the limit, and then not at all
SETTLE_TIMEOUT = 5.0
DEGRADED_MS = 300_000  # for so long a failure of the provider shows in /health


@attrs.frozen(kw_only=True)
class RealtimeTerms:
    """What the server decides and no client changes. `models`: the first is the default; `ttl` in seconds."""

    models: Sequence[str]
    voice: str
    instructions: str | None
    ttl: int
    mints_a_day: int


class RealtimeService:
    """Mints for one node. `upstream` is None where no key is set: then every mint says which setting."""

    def __init__(
        self,
        terms: RealtimeTerms,
        upstream: OpenAiUpstream | None,
        records: AccessRecords,
        now_ms: Callable[[], int],
    ) -> None:
        self._terms = terms
        self._upstream = upstream
        self._records = records
        self._now_ms = now_ms
        self._failed_at = -DEGRADED_MS
        self.outcomes: Counter[str] = Counter()  # of exchanges with the provider: `ok`, or the error's code

    @property
    def models(self) -> Sequence[str]:
        """Those that may be asked for; the first is the default."""
        return self._terms.models

    @property
    def status(self) -> str:
        """`unset` without a provider; `degraded` for a while after it failed us, until it does its work."""
        if self._upstream is None:
            return "unset"
        return "degraded" if self._now_ms() - self._failed_at < DEGRADED_MS else "ok"

    async def mint(self, principal: Principal, model: str | None, ttl: int | None = None) -> ClientSecret:
        """A token for one realtime session; `ttl` may shorten its life (seconds).

        Raises EdgeError: provider_unset, model_not_allowed, quota_exceeded, and what the upstream raises.
        CatalogUnavailable. Cancelled, or failed, it doesn't count.
        """
        upstream, session = self._prepare(model)
        seconds = self._terms.ttl if ttl is None else min(ttl, self._terms.ttl)
        request = {"expires_after": {"anchor": "created_at", "seconds": seconds}, "session": session}
        async with self._counted(principal):
            return await upstream.create_client_secret(request, principal.user)

    async def call(self, principal: Principal, sdp: bytes, model: str | None) -> CallAnswer:
        """A WebRTC call on the server's terms, without a token that leaves it. Raises as `mint`."""
        upstream, session = self._prepare(model)
        async with self._counted(principal):
            return await upstream.create_call(sdp, session, principal.user)

    def model(self, wanted: str | None) -> str:
        """The model that will be used. Raises EdgeError(model_not_allowed)."""
        if wanted is None:
            return self._terms.models[0]
        if wanted not in self._terms.models:
            allowed = ", ".join(self._terms.models)
            raise EdgeError(MODEL_NOT_ALLOWED, f"model must be one of {allowed}", fields={"field": "model"})
        return wanted

    def _prepare(self, model: str | None) -> tuple[OpenAiUpstream, Mapping[str, Any]]:
        if self._upstream is None:
            raise EdgeError(PROVIDER_UNSET, "no realtime provider is configured: set OPENAI_API_KEY")
        session: dict[str, Any] = {
            "type": "realtime",
            "model": self.model(model),
            "audio": {"output": {"voice": self._terms.voice}},
        }
        if self._terms.instructions is not None:
            session["instructions"] = self._terms.instructions
        return self._upstream, session

    @asynccontextmanager
    async def _counted(self, principal: Principal) -> AsyncIterator[None]:
        """Reserve one mint before the upstream is asked, so that many at once can't pass the limit together;
        count it once it succeeded.
        """
        now = self._now_ms()
        mint = Reservation(
            reservation_id=secrets.token_hex(16),
            day=utc_day(now),
            owner=principal.user,
            key_id=principal.key_id or "",
            what=UsageKind.REALTIME_TOKENS,
            amount=1,
            expires_at=now + RESERVED_MS,
        )
        if not await self._records.reserve(mint, self._terms.mints_a_day, now):
            raise EdgeError(
                QUOTA_EXCEEDED,
                f"the day's {self._terms.mints_a_day} realtime tokens are used up",
                retry_after=(next_utc_day_ms(now) - now) / 1000,
            )
        try:
            yield
        except BaseException as error:  # also cancelled: a client that went away has no token
            if isinstance(error, EdgeError):
                self._failed_at = self._now_ms()
                self.outcomes[error.kind.code] += 1
            # A reservation that can't be cancelled now ends by itself; what failed counts for the client.
            with trio.move_on_after(SETTLE_TIMEOUT, shield=True), suppress(CatalogUnavailable):
                await self._records.cancel(mint.reservation_id)
            raise
        self._failed_at = -DEGRADED_MS
        self.outcomes["ok"] += 1
        with trio.fail_after(SETTLE_TIMEOUT, shield=True):
            await self._records.settle(mint.reservation_id)


@asynccontextmanager
async def open_realtime(
    settings: Settings, records: AccessRecords, now_ms: Callable[[], int], tracing: Tracing
) -> AsyncIterator[RealtimeService]:
    """The service, with its upstream where a key is set."""
    terms = RealtimeTerms(
        models=settings.realtime_models,
        voice=settings.realtime_voice,
        instructions=settings.realtime_instructions,
        ttl=settings.realtime_ttl,
        mints_a_day=settings.realtime_mints_a_day,
    )
    async with AsyncExitStack() as stack:
        upstream = None
        if settings.openai_api_key is not None:
            access = UpstreamAccess(
                base_url=settings.openai_base_url,
                api_key=settings.openai_api_key,
                identifier_key=settings.safety_identifier_key or settings.openai_api_key,
                timeout=settings.realtime_timeout,
            )
            upstream = await stack.enter_async_context(open_openai_upstream(access, tracing))
        yield RealtimeService(terms, upstream, records, now_ms)
