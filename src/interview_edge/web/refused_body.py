"""What becomes of a body that nobody reads, since its request was refused.

Many clients send all of it before they look at the answer. A small one is thrown away first, so that the
connection can be used again; for a large one the server answers at once and closes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import trio

SMALL = 64 * 1024  # bytes
PATIENCE = 1.0  # seconds
_CLOSE = {"connection": "close"}

Receive = Callable[[], Awaitable[Any]]


async def dispose_of_body(scope: Mapping[str, Any], receive: Receive) -> Mapping[str, str]:
    """The headers that the refusal needs on account of the body: none where it is gone. Takes `PATIENCE` at
    most, and nothing of a body that is large or doesn't say how large it is.
    """
    if await _throw_away(scope, receive):
        return {}
    return _CLOSE if scope.get("http_version", "1.1").startswith("1") else {}


async def _throw_away(scope: Mapping[str, Any], receive: Receive) -> bool:
    """Whether nothing of it is left."""
    headers = dict(scope["headers"])
    declared = headers.get(b"content-length", b"0")
    if b"transfer-encoding" in headers or not declared.isdigit() or int(declared) > SMALL:
        return False
    if int(declared) == 0:
        return True
    with trio.move_on_after(PATIENCE):
        while (message := await receive())["type"] == "http.request":
            if not message.get("more_body", False):
                return True
    return False
