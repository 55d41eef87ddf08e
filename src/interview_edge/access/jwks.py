"""The public keys of an identity provider, by URL (RFC 7517): cached, fetched anew when it rotates them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import jwt
import msgspec
import structlog
import trio

from interview_edge.errors import JWKS_UNAVAILABLE, EdgeError

log = structlog.get_logger(__name__)

FETCH_TIMEOUT = 10.0  # seconds, the whole exchange
MAX_BYTES = 256 * 1024
# An unknown `kid` is either a rotation or garbage: looked up at most so often, or garbage would make us fetch
# without end.
REFETCH_AFTER = 30.0
STALE_AFTER = 3600.0  # a key that the provider withdrew is forgotten within the hour
# Asymmetric only: with an HMAC, whoever knows the public key could sign (RFC 8725, 2.1).
ALGORITHMS = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)


class KeySet:
    """`SigningKeys` from a URL. Keys that were fetched once stand while the provider doesn't answer."""

    def __init__(self, client: httpx.AsyncClient, url: str, *, refetch_after: float = REFETCH_AFTER) -> None:
        self._client = client
        self._url = url
        self._refetch_after = refetch_after
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._tried_at = -float("inf")
        self._fetched_at = -float("inf")
        self._fetching = trio.Lock()

    async def find(self, header: dict[str, Any]) -> tuple[Any, str] | None:
        """See `SigningKeys`. Raises EdgeError(jwks_unavailable) where no key was ever fetched. Waits at most
        for one fetch, its own or another's.
        """
        kid, algorithm = header.get("kid"), header.get("alg")
        if algorithm not in ALGORITHMS:
            return None
        if self._lookup(kid) is None or trio.current_time() > self._fetched_at + STALE_AFTER:
            await self._refresh()
        found = self._lookup(kid)
        if found is None and not self._keys:
            raise EdgeError(JWKS_UNAVAILABLE)
        if found is None or not _fits(found, algorithm):
            return None
        return found.key, algorithm

    def _lookup(self, kid: str | None) -> jwt.PyJWK | None:
        if kid is None and len(self._keys) == 1:  # a provider with one key need not name it
            return next(iter(self._keys.values()))
        return self._keys.get(kid)

    async def _refresh(self) -> None:
        async with self._fetching:
            if trio.current_time() < self._tried_at + self._refetch_after:
                return  # somebody has just looked, maybe while we waited
            self._tried_at = trio.current_time()
            try:
                with trio.fail_after(FETCH_TIMEOUT):
                    self._keys = await self._fetch()
            except (trio.TooSlowError, httpx.HTTPError, jwt.PyJWTError, ValueError) as error:
                log.warning("the JWKS can't be fetched; the keys known stand", error=type(error).__name__)
            else:
                self._fetched_at = trio.current_time()

    async def _fetch(self) -> dict[str | None, jwt.PyJWK]:
        async with self._client.stream("GET", self._url) as response:
            response.raise_for_status()
            body = bytearray()
            # Read to its end, within the deadline: httpx leaves a generator behind where reading stops early.
            async for part in response.aiter_bytes():
                body += part[: MAX_BYTES + 1 - len(body)]
        if len(body) > MAX_BYTES:
            raise ValueError(f"a JWKS of over {MAX_BYTES} bytes")
        document = msgspec.json.decode(bytes(body), type=dict[str, Any])
        found = jwt.PyJWKSet.from_dict(document)
        return {key.key_id: key for key in found.keys if key.key_type != "oct" and _is_for_signing(key)}


def _is_for_signing(key: jwt.PyJWK) -> bool:
    return key.public_key_use in (None, "sig")


_FAMILIES = {"RSA": ("RS", "PS"), "EC": ("ES",), "OKP": ("Ed",)}


def _fits(key: jwt.PyJWK, algorithm: str) -> bool:
    """Whether the key may be used so: its own `alg` where it names one, else any of its type."""
    named = key._jwk_data.get("alg")
    if named is not None:
        return bool(named == algorithm)
    if key.key_type == "EC":
        return bool(key.algorithm_name == algorithm)  # the curve's
    return algorithm.startswith(_FAMILIES.get(key.key_type or "", ()))


@asynccontextmanager
async def open_key_set(url: str) -> AsyncIterator[KeySet]:
    """The key set of a URL. Nothing is fetched before the first token."""
    async with httpx.AsyncClient(timeout=FETCH_TIMEOUT, trust_env=False) as client:
        yield KeySet(client, url)
