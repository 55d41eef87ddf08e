"""What a request shows of itself, as it is written in its headers. No I/O: whether it is right is
authenticator.py's to say.
"""

from __future__ import annotations

from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie

import attrs

LOGIN_COOKIE = "ie_login"
TICKET_PROTOCOL = "ie.ticket."  # Sec-WebSocket-Protocol: ie.ticket.<ticket>


@attrs.frozen
class Bearer:
    """An API key or a JWT."""

    text: str = attrs.field(repr=False)


@attrs.frozen
class LoginCookie:
    """The session cookie of a page."""

    text: str = attrs.field(repr=False)


@attrs.frozen
class Ticket:
    """A one-use ticket for a WebSocket."""

    text: str = attrs.field(repr=False)


Credential = Bearer | LoginCookie | Ticket


def find_credential(headers: Iterable[tuple[bytes, bytes]]) -> Credential | None:
    """The credential of an HTTP request or a handshake, by ASGI's headers; None where there is none.

    In this order: `Authorization: Bearer`, `x-api-key`, a ticket among `Sec-WebSocket-Protocol`, the cookie.
    """
    shown = [(name.lower(), value.decode("latin-1")) for name, value in headers]
    for name, value in shown:
        scheme, _, rest = value.partition(" ")
        if name == b"authorization" and scheme.lower() == "bearer" and rest.strip():
            return Bearer(rest.strip())
    for name, value in shown:
        if name == b"x-api-key" and value.strip():
            return Bearer(value.strip())
    for protocol in offered_protocols(shown):
        if protocol.startswith(TICKET_PROTOCOL):
            return Ticket(protocol.removeprefix(TICKET_PROTOCOL))
    for name, value in shown:
        if name == b"cookie" and (login := _cookie(value)):
            return LoginCookie(login)
    return None


def offered_protocols(headers: Iterable[tuple[bytes, str]]) -> list[str]:
    """The subprotocols that a handshake offers, in order."""
    offers = [value for name, value in headers if name == b"sec-websocket-protocol"]
    return [part.strip() for value in offers for part in value.split(",")]


def _cookie(header: str) -> str | None:
    try:
        found = SimpleCookie(header).get(LOGIN_COOKIE)
    except CookieError:
        return None
    return None if found is None else found.value
