"""From what a request shows to who it is: the one place that says yes (contract gateway.md, Auth)."""

from __future__ import annotations

from interview_edge.access.api_keys import PresentedKey, parse_key
from interview_edge.access.credentials import Bearer, Credential
from interview_edge.access.keyring import KeyRing
from interview_edge.access.principal import Principal, Scope, Via
from interview_edge.errors import INVALID_KEY, EdgeError


class Authenticator:
    """Recognises callers. Never says why a credential is refused: that would help who guesses."""

    def __init__(self, ring: KeyRing, *, takes_jwt: bool) -> None:
        self._ring = ring
        self._takes_jwt = takes_jwt

    @property
    def guarded(self) -> bool:
        """Whether callers must show something: from the first key on for ever, or where JWTs are taken."""
        return self._takes_jwt or not self._ring.empty

    async def recognise(self, credential: Credential) -> Principal:
        """Whose the credential is. Raises EdgeError(invalid_key, invalid_ticket), CatalogUnavailable."""
        match credential:
            case Bearer(text) if (presented := parse_key(text)) is not None:
                return self._by_key(presented)
            case _:
                raise EdgeError(INVALID_KEY)

    def _by_key(self, presented: PresentedKey) -> Principal:
        key = self._ring.find(presented)
        if key is None:
            raise EdgeError(INVALID_KEY)
        return Principal(
            key.owner, frozenset(Scope(s) for s in key.scopes), Via.KEY, key.key_id, key.expires_at
        )

    def still_stands(self, principal: Principal, now: int) -> bool:
        """Whether what was recognised before would be again: asked about open sockets, now and then."""
        if principal.expires_at is not None and now >= principal.expires_at:
            return False
        return principal.key_id is None or self._ring.is_valid(principal.key_id)
