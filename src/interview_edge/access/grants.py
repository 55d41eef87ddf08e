"""What stands for somebody who has shown a key or a JWT: one-use tickets for sockets, logins of pages.

Each is 256 random bits, of which only the SHA-256 is kept; each ends when what it stands for ends.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import NamedTuple

from interview_edge.access.api_keys import SECRET_BYTES, digest
from interview_edge.access.principal import Principal, Scope, Via
from interview_edge.catalog.access import AccessRecords, Grant, GrantKind

_VIA = {GrantKind.TICKET: Via.TICKET, GrantKind.LOGIN: Via.LOGIN}


class Given(NamedTuple):
    """A grant that was made: its text, shown once, and when it ends (epoch ms)."""

    text: str
    expires_at: int


class Grants:
    """Makes and redeems them. `key_stands(key_id)` says whether a key is still valid."""

    def __init__(
        self, records: AccessRecords, *, key_stands: Callable[[str], bool], now_ms: Callable[[], int]
    ) -> None:
        self._records = records
        self._key_stands = key_stands
        self._now_ms = now_ms

    async def give(self, kind: GrantKind, principal: Principal, seconds: float) -> Given:
        """A grant for `principal`, for `seconds` or as long as its own credential. Raises
        CatalogUnavailable.
        """
        text = secrets.token_urlsafe(SECRET_BYTES)
        # While nobody is asked, everybody may do everything; a grant of that time must not carry it on beyond
        # the first key.
        scopes = () if principal.via is Via.OPEN else principal.scopes
        now = self._now_ms()
        expires_at = now + int(seconds * 1000)
        if principal.expires_at is not None:
            expires_at = min(expires_at, principal.expires_at)
        await self._records.add_grant(
            Grant(
                kind=kind,
                digest=digest(text),
                owner=principal.user,
                key_id=principal.key_id,
                scopes=frozenset(scope.value for scope in scopes),
                created_at=now,
                expires_at=expires_at,
                until=principal.expires_at,
            )
        )
        return Given(text, expires_at)

    async def redeem_ticket(self, text: str) -> Principal | None:
        """Whose ticket it is, now used up; None for one that is unknown, used or expired. Of any number of
        callers with one ticket, one gets it. Raises CatalogUnavailable.
        """
        return self._principal(await self._records.take_grant(GrantKind.TICKET, digest(text)))

    async def find_login(self, text: str) -> Principal | None:
        """Whose login it is; None where it is unknown, ended or expired. Raises CatalogUnavailable."""
        return self._principal(await self._records.grant(GrantKind.LOGIN, digest(text)))

    async def end_login(self, text: str) -> None:
        """End a login. Idempotent. Raises CatalogUnavailable."""
        await self._records.take_grant(GrantKind.LOGIN, digest(text))

    def _principal(self, grant: Grant | None) -> Principal | None:
        if grant is None or self._now_ms() >= grant.expires_at:
            return None
        if grant.key_id is not None and not self._key_stands(grant.key_id):
            return None
        scopes = frozenset(Scope(scope) for scope in grant.scopes)
        # A ticket opens a socket, which may outlive it, but not the credential that it stands for.
        ends = grant.expires_at if grant.kind is GrantKind.LOGIN else grant.until
        return Principal(grant.owner, scopes, _VIA[grant.kind], grant.key_id, ends)
