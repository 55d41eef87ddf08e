"""From what a request shows to who it is: the one place that says yes (contract gateway.md, Auth)."""

from __future__ import annotations

from interview_edge.access.api_keys import PresentedKey, parse_key
from interview_edge.access.credentials import Bearer, Credential, LoginCookie, Ticket
from interview_edge.access.grants import Grants
from interview_edge.access.json_web_tokens import TokenVerifier
from interview_edge.access.keyring import KeyRing
from interview_edge.access.principal import Principal, Scope, Via
from interview_edge.errors import INVALID_KEY, INVALID_TICKET, EdgeError


class Authenticator:
    """Recognises callers. Never says why a credential is refused: that would help who guesses."""

    def __init__(self, ring: KeyRing, grants: Grants, tokens: TokenVerifier | None) -> None:
        self._ring = ring
        self._grants = grants
        self._tokens = tokens

    @property
    def guarded(self) -> bool:
        """Whether callers must show something: from the first key on for ever, or where JWTs are taken."""
        return self._tokens is not None or not self._ring.empty

    async def recognise(self, credential: Credential) -> Principal:
        """Whose the credential is; a ticket is used up by it.

        Raises EdgeError: invalid_key, invalid_ticket; jwks_unavailable. CatalogUnavailable.
        """
        match credential:
            case Bearer(text):
                presented = parse_key(text)
                found = await self._by_token(text) if presented is None else self._by_key(presented)
            case Ticket(text):
                found = await self._grants.redeem_ticket(text)
            case LoginCookie(text):
                found = await self._grants.find_login(text)
        if found is None:
            raise EdgeError(INVALID_TICKET if isinstance(credential, Ticket) else INVALID_KEY)
        return found

    async def _by_token(self, text: str) -> Principal | None:
        return None if self._tokens is None else await self._tokens.verify(text)

    def _by_key(self, presented: PresentedKey) -> Principal | None:
        key = self._ring.find(presented)
        if key is None:
            return None
        scopes = frozenset(Scope(scope) for scope in key.scopes)
        return Principal(key.owner, scopes, Via.KEY, key.key_id, key.expires_at)

    def still_stands(self, principal: Principal, now: int) -> bool:
        """Whether what was recognised before would be again: asked about open sockets, now and then."""
        if principal.expires_at is not None and now >= principal.expires_at:
            return False
        return principal.key_id is None or self._ring.is_valid(principal.key_id)
