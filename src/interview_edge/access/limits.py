"""How much one client may ask for: requests, wrong credentials, open sockets (contract gateway.md, Auth).

Nothing here waits, hashes or asks the catalog: what is refused costs a look into a dictionary. While nobody
is asked for a key (`Via.OPEN`) nothing is limited either: the web room then doesn't call.

Clients are counted by the network that one customer has: an IPv4 address, or the /64 of an IPv6 address, in
which a client picks the rest as it likes.
"""

from __future__ import annotations

import ipaddress
import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs

from interview_edge.access.api_keys import parse_key
from interview_edge.access.buckets import Buckets, Level
from interview_edge.access.credentials import Bearer, Credential, LoginCookie
from interview_edge.access.principal import Principal, Via
from interview_edge.errors import INVALID_KEY, INVALID_TICKET, RATE_LIMITED, TOO_MANY_SOCKETS, EdgeError
from interview_edge.settings import Settings

SOCKET_RETRY = 5.0  # seconds: nobody knows when a socket of the client will close
_CUSTOMER_PREFIX = 64


def network_of(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """What an address is counted as."""
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((int(address), _CUSTOMER_PREFIX), strict=False))


@attrs.frozen
class Allowance:
    """What is left of a limit, as answers show it. `reset`: seconds until all of it is there again."""

    limit: int
    remaining: int
    reset: int

    @property
    def headers(self) -> dict[str, str]:
        """The fields of draft-ietf-httpapi-ratelimit-headers-06."""
        return {
            "ratelimit-limit": str(self.limit),
            "ratelimit-remaining": str(self.remaining),
            "ratelimit-reset": str(self.reset),
        }


def tighter(one: Allowance | None, other: Allowance | None) -> Allowance | None:
    """The allowance that ends first."""
    return min((each for each in (one, other) if each), key=lambda each: each.remaining, default=None)


class Limits:
    """The limits of one node. `now` is in seconds; `find_key(key_id)` answers None where there is none."""

    def __init__(
        self, settings: Settings, *, now: Callable[[], float], find_key: Callable[[str], object | None]
    ) -> None:
        self._now = now
        self._find_key = find_key
        self._addresses = _buckets(settings.ip_rate, settings.ip_burst)
        self._keys = _buckets(settings.key_rate, settings.key_burst)
        self._failures = Buckets(settings.max_failed_auth / 60, settings.max_failed_auth)
        self._sockets_of_address = _Held(settings.max_sockets_per_ip)
        self._sockets_of_key = _Held(settings.max_sockets_per_key)

    # -- requests

    def take_of_address(self, network: str | None) -> Allowance | None:
        """Count a request of the network; None where nothing limits it. Raises EdgeError(rate_limited)."""
        return None if network is None else self._take(self._addresses, network)

    def take_of_key(self, principal: Principal) -> Allowance | None:
        """Count a request of the key or the user; None where nothing limits it.

        Raises EdgeError(rate_limited).
        """
        return self._take(self._keys, principal.counted_as) if _is_limited(principal) else None

    def _take(self, buckets: Buckets | None, client: str) -> Allowance | None:
        return None if buckets is None else _granted(buckets.take(client, self._now()))

    # -- wrong credentials

    @contextmanager
    def attempt(self, network: str | None, credential: Credential) -> Iterator[None]:
        """Recognise the credential in the block: invalid_key and invalid_ticket are counted.

        Raises EdgeError(rate_limited) instead of the block where this network has tried the same key, or the
        same kind of credential, wrongly too often. Several attempts at the same moment may all be let try.
        """
        client = f"{network} {self._target(credential)}"
        _granted(self._failures.look(client, self._now()))
        try:
            yield
        except EdgeError as error:
            if error.kind in (INVALID_KEY, INVALID_TICKET):
                self._failures.take(client, self._now())
            raise

    def _target(self, credential: Credential) -> str:
        """What the credential tries to open. Ids that no key has are one target: whoever makes them up gets
        no further attempts by that, and a right key has another.
        """
        match credential:
            case Bearer(text):
                presented = parse_key(text)
                if presented is not None:
                    return "other" if self._find_key(presented.key_id) is None else presented.key_id
                return "jwt" if text.count(".") == 2 else "other"
            case LoginCookie():
                return "login"
            case _:
                return "ticket"

    # -- sockets

    @contextmanager
    def socket_of_address(self, network: str | None) -> Iterator[None]:
        """Count an open socket of the network for the block. Raises EdgeError(too_many_sockets)."""
        with self._sockets_of_address.hold(network):
            yield

    @contextmanager
    def socket_of_key(self, principal: Principal) -> Iterator[None]:
        """Count an open socket of the key or user for the block. Raises EdgeError(too_many_sockets)."""
        with self._sockets_of_key.hold(principal.counted_as if _is_limited(principal) else None):
            yield

    @property
    def size(self) -> int:
        """How many clients are remembered, over all limits."""
        requests = sum(len(buckets) for buckets in (self._addresses, self._keys) if buckets is not None)
        return requests + len(self._failures) + len(self._sockets_of_address) + len(self._sockets_of_key)


class _Held:
    """How many of something each client has at this moment."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._held)

    @contextmanager
    def hold(self, client: str | None) -> Iterator[None]:
        """One more for the block; None is nobody, whom nothing limits."""
        if client is None:
            yield
            return
        if self._held[client] >= self._most:
            raise EdgeError(TOO_MANY_SOCKETS, retry_after=SOCKET_RETRY)
        self._held[client] += 1
        try:
            yield
        finally:
            self._held[client] -= 1
            if not self._held[client]:
                del self._held[client]


def _buckets(rate: float, burst: int) -> Buckets | None:
    return Buckets(rate, burst) if rate else None


def _is_limited(principal: Principal) -> bool:
    return principal.via not in (Via.OPEN, Via.NOTHING)


def _granted(level: Level) -> Allowance:
    """What is left. Raises EdgeError(rate_limited) where what was asked for wasn't there."""
    allowance = Allowance(level.burst, level.whole, math.ceil(level.full_in))
    if not level.granted:
        raise EdgeError(RATE_LIMITED, retry_after=level.wait, headers=allowance.headers)
    return allowance
