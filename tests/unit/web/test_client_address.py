"""Where a request comes from: only trusted proxies are believed."""

from __future__ import annotations

import ipaddress

import pytest

from interview_edge.web.client_address import counted_peer, find_client

TRUSTED = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1/128")]


def scope(peer: str | None, *forwarded: str, proto: str | None = None) -> dict[str, object]:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    if proto is not None:
        headers.append((b"x-forwarded-proto", proto.encode()))
    return {"client": None if peer is None else (peer, 1), "scheme": "http", "headers": headers}


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("192.0.2.1", (), "192.0.2.1"),
        ("192.0.2.1", ("198.51.100.9",), "192.0.2.1"),
        ("10.1.1.1", ("198.51.100.9",), "198.51.100.9"),
        ("10.1.1.1", ("1.1.1.1, 198.51.100.9, 10.2.2.2",), "198.51.100.9"),
        ("10.1.1.1", ("1.1.1.1", "198.51.100.9"), "198.51.100.9"),
        ("10.1.1.1", ("1.1.1.1, garbage",), "10.1.1.1"),
        ("10.1.1.1", ("10.3.3.3",), "10.3.3.3"),
        ("::1", ("[2001:db8::7]:4711",), "2001:db8::7"),
        ("::ffff:10.1.1.1", ("198.51.100.9:80",), "198.51.100.9"),
        (None, ("198.51.100.9",), "unknown"),
    ],
)
def test_the_client_is_the_first_that_is_no_trusted_proxy(
    peer: str | None, forwarded: tuple[str, ...], found: str
) -> None:
    assert str(find_client(scope(peer, *forwarded), TRUSTED)) == found


@pytest.mark.parametrize(
    ("peer", "proto", "secure"),
    [
        ("10.1.1.1", "https", True),
        ("10.1.1.1", "http, https", True),
        ("10.1.1.1", None, False),
        ("192.0.2.1", "https", False),
    ],
)
def test_only_a_trusted_proxy_says_that_its_client_uses_tls(
    peer: str, proto: str | None, secure: bool
) -> None:
    assert find_client(scope(peer, proto=proto), TRUSTED).secure is secure


@pytest.mark.parametrize(
    ("peer", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("10.1.1.1", None),  # a trusted proxy
        ("127.0.0.2", None),
        ("::1", None),
        ("", None),  # a Unix socket
    ],
)
def test_connections_are_counted_by_address_but_for_proxies_and_this_machine(
    peer: str, counted: str | None
) -> None:
    assert counted_peer(peer, TRUSTED) == counted
