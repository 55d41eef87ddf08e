"""The parts of this room, put together for one node."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import attrs
import trio

from interview_edge.access.authenticator import Authenticator
from interview_edge.access.grants import Grants
from interview_edge.access.json_web_tokens import SharedSecret, SigningKeys, TokenVerifier
from interview_edge.access.jwks import open_key_set
from interview_edge.access.keyring import KeyRing
from interview_edge.access.limits import Limits
from interview_edge.access.quotas import Quotas, default_quotas
from interview_edge.catalog.access import AccessRecords
from interview_edge.settings import Settings


@attrs.frozen
class Access:
    """Who may do what on one node."""

    records: AccessRecords
    ring: KeyRing
    grants: Grants
    authenticator: Authenticator
    limits: Limits
    quotas: Quotas


@asynccontextmanager
async def open_access(
    records: AccessRecords, settings: Settings, now_ms: Callable[[], int]
) -> AsyncIterator[Access]:
    """Read the keys, and be ready for JWTs where settings name a secret or a JWKS. Raises
    CatalogUnavailable. `ring.run` is the owner's to start.
    """
    async with AsyncExitStack() as stack:
        ring = KeyRing(records, interval=settings.key_poll_interval, now_ms=now_ms)
        await ring.load()
        grants = Grants(records, key_stands=ring.is_valid, now_ms=now_ms)
        tokens = await _open_tokens(stack, settings)
        limits = Limits(settings, now=trio.current_time, find_key=ring.get)
        quotas = Quotas(records, ring, default_quotas(settings), now_ms, settings.storage_timeout)
        authenticator = Authenticator(ring, grants, tokens)
        yield Access(records, ring, grants, authenticator, limits, quotas)


async def _open_tokens(stack: AsyncExitStack, settings: Settings) -> TokenVerifier | None:
    if settings.jwt_audience is None or settings.jwt_issuer is None:
        return None  # settings.py sees to it that there is no secret and no URL then
    keys: SigningKeys
    if settings.jwt_secret is not None:
        keys = SharedSecret(settings.jwt_secret)
    elif settings.jwt_jwks_url is not None:
        keys = await stack.enter_async_context(open_key_set(settings.jwt_jwks_url))
    else:
        return None
    return TokenVerifier(keys, audience=settings.jwt_audience, issuer=settings.jwt_issuer)
