"""By which name a request reaches us, and from whose page: `Host`, `Origin`, `Sec-Fetch-Site`.

A browser lets any page send requests to any address, with the cookies of that address. What it doesn't let a
page do is lie in these headers; that is what the checks here stand on. Who isn't a browser can lie in them,
and gains nothing by it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from interview_edge.access.credentials import LoginCookie
from interview_edge.access.csrf import matches
from interview_edge.access.exposure import is_loopback_name
from interview_edge.errors import CSRF_REFUSED, LOCAL_ONLY, ORIGIN_REFUSED, EdgeError
from interview_edge.web.client_address import client_of

CSRF_HEADER = b"x-csrf-token"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})  # they change nothing
_OWN_PAGE = frozenset({"same-origin", "none"})  # `none`: the person at the browser, not a page
_PORTS = {"http": "80", "https": "443"}
# What a proxy adds: the peer may be of this machine, whom it speaks for is not known to be.
_ADDED_BY_PROXIES = frozenset(
    {b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip"}
)
_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/?#@\[\]]+))(?::([0-9]*))?")


def check_local(scope: Mapping[str, Any], listed: Collection[str]) -> None:
    """Raise EdgeError(local_only) unless a client of this machine asks, not through a proxy, and not for a
    page of another site: one whose name was made to point here (DNS rebinding) shows it in `Host`, any other
    in `Origin`. `listed` are origins that may.
    """
    client, headers = scope.get("client"), _headers(scope)
    # Without an address it is a Unix socket, or the program that this application is embedded in.
    here = client is None or client_of(scope).is_loopback
    if not here or not headers.keys().isdisjoint(_ADDED_BY_PROXIES):
        raise EdgeError(LOCAL_ONLY)
    host = _split(_single(headers, b"host") or "")
    if host is None or not is_loopback_name(host[0]):
        raise EdgeError(LOCAL_ONLY)
    if b"origin" in headers and not _is_local_origin(_single(headers, b"origin"), listed):
        raise EdgeError(LOCAL_ONLY)


def check_page(scope: Mapping[str, Any], login: LoginCookie, listed: Collection[str]) -> None:
    """A request that shows the session cookie must come from a page of ours, or of an origin in `listed`: the
    browser adds the cookie for whoever asks.

    Raises EdgeError: csrf_refused for a request that may change something, unless `x-csrf-token` proves that
    the page could read our answers; origin_refused for a WebSocket, which needs an `Origin`.
    """
    headers = _headers(scope)
    if scope["type"] == "websocket":
        if not _is_ours(_single(headers, b"origin"), headers, listed):
            raise EdgeError(ORIGIN_REFUSED)
    elif scope["method"] not in _SAFE_METHODS:
        shown = _single(headers, CSRF_HEADER)
        if shown is None or not matches(login.text, shown) or not _comes_from_ours(headers, listed):
            raise EdgeError(CSRF_REFUSED)


def check_listed(scope: Mapping[str, Any], listed: Collection[str]) -> None:
    """Where origins are listed, a page must be of one of them, or of ours. Who shows no `Origin` is no page.

    Raises EdgeError(origin_refused).
    """
    headers = _headers(scope)
    if listed and b"origin" in headers and not _is_ours(_single(headers, b"origin"), headers, listed):
        raise EdgeError(ORIGIN_REFUSED)


def _comes_from_ours(headers: Mapping[bytes, list[str]], listed: Collection[str]) -> bool:
    if b"origin" in headers:
        return _is_ours(_single(headers, b"origin"), headers, listed)
    return all(site in _OWN_PAGE for site in headers.get(b"sec-fetch-site", ()))


def _is_ours(origin: str | None, headers: Mapping[bytes, list[str]], listed: Collection[str]) -> bool:
    """Whether an origin is the one that the request goes to, or in `listed`.

    The scheme isn't compared: behind a proxy that isn't trusted ours can't be known, and the cookie is for
    one scheme alone (SameSite).
    """
    if origin is None:
        return False
    if origin in listed:
        return True
    scheme, _, authority = origin.partition("://")
    asked, own = _split(authority), _split(_single(headers, b"host") or "")
    if scheme not in _PORTS or asked is None or own is None:
        return False
    default = _PORTS[scheme]
    return (asked[0], asked[1] or default) == (own[0], own[1] or default)


def _is_local_origin(origin: str | None, listed: Collection[str]) -> bool:
    if origin is None:
        return False
    if origin in listed:
        return True
    scheme, _, authority = origin.partition("://")
    host = _split(authority)
    return scheme in _PORTS and host is not None and is_loopback_name(host[0])


def _split(authority: str) -> tuple[str, str] | None:
    """`name:port` as lower-case name (an IPv6 address without its brackets) and port (may be empty)."""
    found = _AUTHORITY.fullmatch(authority)
    return None if found is None else ((found[1] or found[2]).lower(), found[3] or "")


def _headers(scope: Mapping[str, Any]) -> Mapping[bytes, list[str]]:
    found: dict[bytes, list[str]] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.lower(), []).append(value.decode("latin-1").strip())
    return found


def _single(headers: Mapping[bytes, list[str]], name: bytes) -> str | None:
    """The header's value where it is there once: of two, nobody knows which one counted elsewhere."""
    values = headers.get(name, [])
    return values[0] if len(values) == 1 else None
