"""Quotas: how much a key may use on a UTC day (contract gateway.md, Usage).

They are asked about when something begins, not while it goes on: who was let in records on, and what was
used then counts against what begins next. Counted is what the object store has confirmed; audio that still
waits in the journal isn't yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs
import trio

from interview_edge.access.keyring import KeyRing
from interview_edge.access.principal import Principal
from interview_edge.catalog.access import AccessRecords, UsageKind
from interview_edge.core.pcm import SAMPLE_RATE
from interview_edge.core.times import next_utc_day_ms, utc_day
from interview_edge.errors import CATALOG_UNAVAILABLE, QUOTA_EXCEEDED, EdgeError
from interview_edge.settings import Settings

RECORDING = (UsageKind.AUDIO_SAMPLES, UsageKind.STORED_BYTES, UsageKind.CHUNKS)  # what a recording uses
IN_WORDS: Mapping[UsageKind, str] = {
    UsageKind.CHUNKS: "chunks",
    UsageKind.AUDIO_SAMPLES: "audio seconds",
    UsageKind.STORED_BYTES: "stored bytes",
    UsageKind.REALTIME_TOKENS: "realtime tokens",
}


@attrs.frozen
class QuotaUse:
    """One quota, and how much of it was used today. `key_id` is empty for a user without a key."""

    key_id: str
    what: UsageKind
    used: int
    limit: int

    @property
    def is_used_up(self) -> bool:
        return self.used >= self.limit


def default_quotas(settings: Settings) -> Mapping[UsageKind, int]:
    """The quotas of who has none of their own."""
    seconds, stored = settings.quota_audio_seconds, settings.quota_stored_bytes
    return ({} if seconds is None else {UsageKind.AUDIO_SAMPLES: seconds * SAMPLE_RATE}) | (
        {} if stored is None else {UsageKind.STORED_BYTES: stored}
    )


class Quotas:
    """The quotas of one node's keys. Who shows no key (a user of JWTs) has the default ones."""

    def __init__(
        self,
        records: AccessRecords,
        ring: KeyRing,
        defaults: Mapping[UsageKind, int],
        now_ms: Callable[[], int],
        timeout: float,
    ) -> None:
        self._records = records
        self._ring = ring
        self._defaults = defaults
        self._now_ms = now_ms
        self._timeout = timeout
        ring.on_change(self._look)
        self._look()

    def _look(self) -> None:
        self._any = bool(self._defaults) or any(key.quotas for key in self._ring)

    def uses(self, key_id: str, amounts: Mapping[str, int]) -> list[QuotaUse]:
        """Each quota of a key (empty: of a user without one) beside what was used of it."""
        key = self._ring.get(key_id)
        own = {} if key is None else {UsageKind(what): limit for what, limit in key.quotas.items()}
        limits = {**self._defaults, **own}
        return [QuotaUse(key_id, what, amounts.get(what, 0), limit) for what, limit in limits.items()]

    async def check_recording(self, principal: Principal, session_id: str) -> None:
        """Whether audio may be added to the session: a question to whom it will count for, which is the key
        that opened the session first. So a second key of the same user is no way around the first one's.

        Raises EdgeError(quota_exceeded), to be tried again after midnight UTC; and where somebody has a
        quota, CatalogUnavailable, or after the timeout EdgeError(catalog_unavailable).
        """
        if not self._any:
            return  # without a look at the catalog: a reconnect needs none while it is away
        now = self._now_ms()
        payer = None
        with trio.move_on_after(self._timeout):
            payer = await self._records.usage_of_payer(
                session_id, utc_day(now), owner=principal.user, key_id=principal.key_id or ""
            )
        if payer is None:
            raise EdgeError(CATALOG_UNAVAILABLE)
        for use in self.uses(payer.key_id, payer.amounts):
            if use.what in RECORDING and use.is_used_up:
                raise _exceeded(use, now)

    async def check_minting(self, principal: Principal) -> None:
        """Whether the key may mint a realtime token today. Mints at the same moment may pass it together; the
        user's own limit (services/realtime.py) they can't.

        Raises as `check_recording`.
        """
        if not self._any or principal.key_id is None:
            return
        now = self._now_ms()
        rows = None
        with trio.move_on_after(self._timeout):
            rows = await self._records.usage(
                utc_day(now), utc_day(now), owner=principal.user, key_id=principal.key_id
            )
        if rows is None:
            raise EdgeError(CATALOG_UNAVAILABLE)
        for use in self.uses(principal.key_id, rows[0].amounts if rows else {}):
            if use.what is UsageKind.REALTIME_TOKENS and use.is_used_up:
                raise _exceeded(use, now)


def _exceeded(use: QuotaUse, now: int) -> EdgeError:
    return EdgeError(
        QUOTA_EXCEEDED,
        f"the day's quota of {IN_WORDS[use.what]} is used up",
        fields={"what": use.what.value},
        retry_after=(next_utc_day_ms(now) - now) / 1000,
    )
