"""JWTs of the operator's own identity provider (contract gateway.md, Auth; RFC 7519, RFC 8725).

`sub` is the user, `scope` (RFC 8693, 4.2) what may be done; `aud`, `iss` and `exp` must be there and right.
"""

from __future__ import annotations

from typing import Any, Protocol

import jwt

from interview_edge.access.principal import Principal, Scope, Via
from interview_edge.errors import INVALID_KEY, EdgeError

LEEWAY = 30  # seconds that the provider's clock and ours may be apart
MAX_USER = 256  # characters of `sub`
MAX_TOKEN = 8 * 1024  # characters: more isn't parsed


class SigningKeys(Protocol):
    """Where the keys that verify signatures come from."""

    async def find(self, header: dict[str, Any]) -> tuple[Any, str] | None:
        """The key for a token with this header, and the one algorithm that may be used with it; None where
        there is none. Raises EdgeError where that can't be known now.
        """
        ...


class SharedSecret:
    """HS256 with a secret that both sides hold."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    async def find(self, header: dict[str, Any]) -> tuple[Any, str] | None:
        return self._secret, "HS256"


class TokenVerifier:
    """Recognises JWTs. Says nothing of why it refuses one."""

    def __init__(self, keys: SigningKeys, *, audience: str, issuer: str) -> None:
        self._keys = keys
        self._audience = audience
        self._issuer = issuer

    async def verify(self, token: str) -> Principal:
        """Whose token it is. Raises EdgeError: invalid_key; jwks_unavailable where the key to verify it with
        can't be fetched.
        """
        if len(token) > MAX_TOKEN:
            raise EdgeError(INVALID_KEY)
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError as error:
            raise EdgeError(INVALID_KEY) from error
        found = await self._keys.find(header)
        if found is None:
            raise EdgeError(INVALID_KEY)
        key, algorithm = found
        try:
            claims = jwt.decode(
                token,
                key,
                # One algorithm, the key's own: a token can't choose how it is verified (RFC 8725, 3.1).
                algorithms=[algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY,
                options={"require": ["exp", "aud", "iss", "sub"]},
            )
        except jwt.InvalidTokenError as error:
            raise EdgeError(INVALID_KEY) from error
        return _principal(claims)


def _principal(claims: dict[str, Any]) -> Principal:
    user = claims["sub"]
    if not isinstance(user, str) or not 1 <= len(user) <= MAX_USER:
        raise EdgeError(INVALID_KEY)
    given = claims.get("scope", "")
    words = given.split() if isinstance(given, str) else given if isinstance(given, list) else []
    known = {scope.value for scope in Scope}
    # The provider's scopes for other services are none of ours.
    scopes = frozenset(Scope(word) for word in words if isinstance(word, str) and word in known)
    return Principal(user, scopes, Via.JWT, expires_at=int((claims["exp"] + LEEWAY) * 1000))
