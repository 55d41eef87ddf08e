"""From where a request really comes, behind proxies that are trusted and no others.

A proxy appends the address of its own peer to `X-Forwarded-For`, so the list is true from its right end up to
the first address that isn't a trusted proxy's; whatever stands left of that, anybody may have written.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from interview_edge.access.limits import network_of

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

CLIENT = "interview_edge.client"  # in the scope, set by the dispatcher


@attrs.frozen
class Client:
    """Who is at the other end. `address` is None where the server gives none (a Unix socket).

    `secure`: the client's own leg is TLS. `forwarded`: a trusted proxy stands between.
    """

    address: Address | None
    secure: bool
    forwarded: bool

    @property
    def is_loopback(self) -> bool:
        return self.address is not None and self.address.is_loopback

    @property
    def network(self) -> str | None:
        """Under what limits count: the address, or the network that one customer has."""
        return None if self.address is None else network_of(self.address)

    def __str__(self) -> str:
        return "unknown" if self.address is None else str(self.address)


def find_client(scope: Mapping[str, Any], trusted: Sequence[Network]) -> Client:
    """The client of an ASGI scope."""
    peer = _parse((scope.get("client") or ("",))[0])
    secure = scope.get("scheme") in ("https", "wss")
    if peer is None or not _is_in(peer, trusted):
        return Client(peer, secure, forwarded=False)
    headers = [(name.lower(), value.decode("latin-1")) for name, value in scope["headers"]]
    hops = [hop.strip() for name, value in headers if name == b"x-forwarded-for" for hop in value.split(",")]
    schemes = [value.strip().lower() for name, value in headers if name == b"x-forwarded-proto"]
    secure = schemes[-1].rpartition(",")[2].strip() == "https" if schemes else secure
    found = peer
    for hop in reversed(hops):
        address = _parse(hop)
        if address is None:
            break
        found = address
        if not _is_in(address, trusted):
            break
    return Client(found, secure, forwarded=bool(hops))


def client_of(scope: Mapping[str, Any]) -> Client:
    """What the dispatcher found."""
    found: Client = scope[CLIENT]
    return found


def counted_peer(host: str, trusted: Sequence[Network]) -> str | None:
    """What the connections of a peer are counted as; None for a trusted proxy, which brings those of many
    clients, and for this machine.
    """
    address = _parse(host)
    if address is None or address.is_loopback or _is_in(address, trusted):
        return None
    return network_of(address)


def _parse(text: str) -> Address | None:
    """An address, also with a port (`1.2.3.4:5`, `[::1]:5`) or a zone; IPv4 mapped into IPv6 is IPv4."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks if network.version == address.version)
