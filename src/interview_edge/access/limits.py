"""How much one client may ask: by its address before anything is read, by its key once that is known.

Nothing of it holds while the node is open (Via.OPEN): there is one user, on this machine.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

import trio

from interview_edge.access.api_keys import parse_key
from interview_edge.access.buckets import Buckets, Verdict
from interview_edge.access.credentials import Bearer, Credential, LoginCookie
from interview_edge.access.principal import Principal
from interview_edge.errors import RATE_LIMITED, TOO_MANY_SOCKETS, EdgeError
from interview_edge.settings import Settings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_MINUTE = 60.0


class Limits:
    """One node's limits."""

    def __init__(self, settings: Settings) -> None:
        self._by_ip = Buckets(settings.ip_rate, settings.ip_burst) if settings.ip_rate else None
        self._by_key = Buckets(settings.key_rate, settings.key_burst) if settings.key_rate else None
        self._failed = Buckets(settings.max_failed_auth / _MINUTE, settings.max_failed_auth)
        self._max_sockets_per_ip = settings.max_sockets_per_ip
        self._max_sockets_per_key = settings.max_sockets_per_key
        self._sockets: Counter[Hashable] = Counter()

    def check_address(self, address: Address | None) -> Verdict | None:
        """Before anything of the request is read. None: no limit. Raises EdgeError(rate_limited)."""
        return _take(self._by_ip, network_of(address))

    def check_principal(self, principal: Principal) -> Verdict | None:
        """Once it is known who asks. None: no limit. Raises EdgeError(rate_limited)."""
        return _take(self._by_key, principal.counted_as)

    def check_attempt(self, address: Address | None, credential: Credential) -> None:
        """Before a credential is looked at: who tried too many wrong ones against this key waits, and costs
        neither a hash nor a query. Raises EdgeError(rate_limited).
        """
        verdict = self._failed.look(_attempt(address, credential), trio.current_time())
        if not verdict.granted:
            raise _limited(verdict)

    def note_failure(self, address: Address | None, credential: Credential) -> None:
        """The credential was wrong."""
        self._failed.take(_attempt(address, credential), trio.current_time())

    @contextmanager
    def hold_socket(self, address: Address | None, principal: Principal) -> Iterator[None]:
        """Count a socket for the block. Raises EdgeError(too_many_sockets)."""
        held = {
            network_of(address): self._max_sockets_per_ip,
            principal.counted_as: self._max_sockets_per_key,
        }
        if any(self._sockets[counted] >= most for counted, most in held.items()):
            raise EdgeError(TOO_MANY_SOCKETS, retry_after=1)
        for counted in held:
            self._sockets[counted] += 1
        try:
            yield
        finally:
            for counted in held:
                self._sockets[counted] -= 1
                if not self._sockets[counted]:
                    del self._sockets[counted]


def network_of(address: Address | None) -> str:
    """What an address counts as: itself, or its /64, which is what one IPv6 subscriber has."""
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def _attempt(address: Address | None, credential: Credential) -> Hashable:
    """What a wrong credential counts against: this address, and the key that it claims to be. So neither a
    right key from the same address nor the attacked key from another one waits.
    """
    match credential:
        case Bearer(text):
            presented = parse_key(text)
            kind = "jwt" if presented is None else presented.key_id
        case LoginCookie():
            kind = "login"
        case _:
            kind = "ticket"
    return network_of(address), kind


def _take(buckets: Buckets | None, key: Hashable) -> Verdict | None:
    if buckets is None:
        return None
    verdict = buckets.take(key, trio.current_time())
    if not verdict.granted:
        raise _limited(verdict)
    return verdict


def _limited(verdict: Verdict) -> EdgeError:
    return EdgeError(RATE_LIMITED, headers=limit_headers(verdict), retry_after=verdict.retry_after)


def limit_headers(verdict: Verdict) -> dict[str, str]:
    """`RateLimit-*` as draft-ietf-httpapi-ratelimit-headers-06 has them; times in whole seconds."""
    return {
        "ratelimit-limit": str(verdict.limit),
        "ratelimit-remaining": str(verdict.remaining),
        "ratelimit-reset": str(int(verdict.reset + 0.999)),
    }
