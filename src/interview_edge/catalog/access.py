"""The AccessRecords protocol: keys, grants, audit rows and usage, kept in the catalog's database.

What `catalog/protocol.py` says of every write holds here too: one transaction, durable when it returns;
`CatalogUnavailable` where the database can't answer. Secrets never come here, only their SHA-256.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import attrs


@attrs.frozen(kw_only=True)
class KeyRecord:
    """One API key (contract gateway.md, Auth). Times are epoch ms. `quotas` are amounts a day by
    `UsageKind`.
    """

    key_id: str
    digest: bytes = attrs.field(repr=False)
    name: str
    owner: str
    scopes: frozenset[str]
    created_at: int
    quotas: Mapping[str, int] = attrs.field(factory=dict)
    expires_at: int | None = None
    revoked_at: int | None = None
    last_used_at: int | None = None

    def is_valid(self, now: int) -> bool:
        """Neither revoked nor expired at `now`."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class GrantKind(enum.StrEnum):
    TICKET = "ticket"  # one use
    LOGIN = "login"  # many, until it expires or ends


@attrs.frozen(kw_only=True)
class Grant:
    """What stands for somebody who has shown a credential. `key_id` is None where that was a JWT; `until` is
    the credential's own end, which what the grant opened doesn't outlive.
    """

    kind: GrantKind
    digest: bytes = attrs.field(repr=False)
    owner: str
    scopes: frozenset[str]
    created_at: int
    expires_at: int
    key_id: str | None = None
    until: int | None = None


@attrs.frozen(kw_only=True)
class AuditEntry:
    """Who did what, when, from where, with what outcome."""

    at: int
    action: str
    outcome: str
    owner: str | None = None
    key_id: str | None = None
    target: str | None = None
    address: str | None = None
    request_id: str | None = None
    detail: Mapping[str, Any] = attrs.field(factory=dict)


class UsageKind(enum.StrEnum):
    """What is counted (contract gateway.md, Usage). Audio is counted in samples: whole numbers."""

    CHUNKS = "chunks"
    AUDIO_SAMPLES = "audio_samples"
    STORED_BYTES = "stored_bytes"
    REALTIME_TOKENS = "realtime_tokens"


@attrs.frozen(kw_only=True)
class UsageRow:
    """What one key (or user of JWTs: `key_id` empty) used on one UTC day."""

    day: str
    owner: str
    key_id: str
    amounts: Mapping[str, int]


@attrs.frozen(kw_only=True)
class Reservation:
    """Usage that is under way: it counts towards a limit at once, and as used when it is settled."""

    reservation_id: str
    day: str
    owner: str
    key_id: str
    what: UsageKind
    amount: int
    expires_at: int


class AccessRecords(Protocol):
    # -- keys

    async def add_key(self, key: KeyRecord, audit: AuditEntry) -> None:
        """Keep a new key, and the audit row of its making in the same transaction."""
        ...

    async def keys(self) -> Sequence[KeyRecord]:
        """Every key ever made, revoked and expired ones too, by (created_at, key_id)."""
        ...

    async def revoke_key(self, key_id: str, at: int, audit: AuditEntry) -> KeyRecord | None:
        """Revoke a key: the first `at` stays. The key as it is then; None, and no audit row, where there is
        none.
        """
        ...

    async def note_key_uses(self, used: Mapping[str, int]) -> None:
        """Raise `last_used_at` of these keys to these times; it never falls."""
        ...

    # -- tickets and logins

    async def add_grant(self, grant: Grant) -> None:
        """Keep a grant, and forget those that expired before it was made."""
        ...

    async def take_grant(self, kind: GrantKind, digest: bytes) -> Grant | None:
        """Remove the grant and return it: of any number of takers at once, one gets it."""
        ...

    async def grant(self, kind: GrantKind, digest: bytes) -> Grant | None:
        """The grant, left where it is; expired ones too."""
        ...

    # -- audit

    async def append_audit(self, entry: AuditEntry) -> None:
        """Append one row, numbered on from the last."""
        ...

    async def audit(
        self, *, after: int = 0, limit: int = 100, owner: str | None = None, action: str | None = None
    ) -> Sequence[tuple[int, AuditEntry]]:
        """Rows with a number above `after`, ascending, with their numbers; of `owner` or `action` only where
        given.
        """
        ...

    # -- usage

    async def usage(
        self,
        first_day: str,
        last_day: str,
        *,
        owner: str | None = None,
        key_id: str | None = None,
        limit: int | None = None,
    ) -> Sequence[UsageRow]:
        """What was used on these UTC days, both included, by (day, owner, key_id); the first `limit` rows
        only, where given.
        """
        ...

    async def usage_of_payer(self, session_id: str, day: str, *, owner: str, key_id: str) -> UsageRow:
        """What was used on `day` by whom the session's audio counts for; where there is no such session yet,
        by these. Zeros are left out.
        """
        ...

    async def reserve(self, reservation: Reservation, limit: int, now: int) -> bool:
        """Reserve usage of an owner on a day, unless used and reserved amounts would pass `limit` together;
        whether it did. Forgets reservations that expired before `now`.
        """
        ...

    async def settle(self, reservation_id: str) -> None:
        """Count what was reserved as used, in one transaction. Idempotent: a second call finds nothing."""
        ...

    async def cancel(self, reservation_id: str) -> None:
        """Forget a reservation. Idempotent."""
        ...
