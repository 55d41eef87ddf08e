"""Headers that every HTTP answer has, whoever made it: one place, so that none is forgotten or doubled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from interview_edge.web.client_address import Client

Send = Callable[[Any], Awaitable[None]]

# What an API answers is never a page: nothing in it may load or run, wherever it ends up (CSP 3).
_SECURITY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(), geolocation=(), microphone=(self)",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}
_ONE_YEAR = "max-age=31536000"


def security_headers(client: Client, *, shared: bool) -> dict[str, str]:
    """The browser's protections. `shared`: an origin of the CORS list reads this answer."""
    transport = {"strict-transport-security": _ONE_YEAR} if client.secure else {}
    policy = {"cross-origin-resource-policy": "cross-origin" if shared else "same-origin"}
    return _SECURITY | policy | transport


class AnswerHeaders:
    """An ASGI `send` that adds headers to the answer's start, those apart that it has already."""

    def __init__(self, send: Send, headers: Mapping[str, str]) -> None:
        self._send = send
        self._headers = dict(headers)
        self.status: int | None = None  # once the answer has begun

    def add(self, headers: Mapping[str, str]) -> None:
        """More headers, for an answer that hasn't begun."""
        self._headers |= headers

    async def __call__(self, message: Any) -> None:
        if message["type"].endswith("http.response.start"):
            self.status = message["status"]
            given = list(message["headers"])
            there = {name.lower() for name, _ in given}
            given += [
                (name.encode("ascii"), value.encode("latin-1"))
                for name, value in self._headers.items()
                if name.encode("ascii") not in there
            ]
            message = {**message, "headers": given}
        await self._send(message)
