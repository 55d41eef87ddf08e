"""Request bodies: a limit for each route, a limit for their sum on the node, and a least pace.

Quart gathers a request's body as fast as it comes, whatever its size: 187 MB became resident. This ASGI
wrapper stands before it. A body's whole size (its Content-Length, or the route's limit where it is chunked)
is reserved before the application runs, so that bodies half received never wait for each other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from interview_edge.errors import BODIES_BUSY, BODY_TOO_LARGE, BODY_TOO_SLOW, EdgeError, ErrorKind

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Refuse = Callable[[EdgeError, Scope, Send], Awaitable[None]]

_GONE: Message = {"type": "http.disconnect"}


class BodyBudget:
    """Bytes that the bodies of all requests under way may take together."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._held = 0
        self._turn = trio.Lock()  # first come, first served, so that a large body isn't starved by small ones
        self._released = trio.lowlevel.ParkingLot()

    @property
    def held(self) -> int:
        """Bytes reserved now."""
        return self._held

    @asynccontextmanager
    async def reserve(self, size: int, timeout: float) -> AsyncIterator[None]:
        """Hold `size` bytes inside the block (a body over the whole budget is let in alone).

        Raises EdgeError(BODIES_BUSY) when there is no room within `timeout` seconds.
        """
        size = min(size, self._total)
        with trio.move_on_after(timeout) as scope:
            async with self._turn:
                while self._held + size > self._total:
                    await self._released.park()
                self._held += size
        if scope.cancelled_caught:
            raise EdgeError(BODIES_BUSY, retry_after=1.0)
        try:
            yield
        finally:
            self._held -= size
            self._released.unpark_all()


@attrs.frozen(kw_only=True)
class BodyLimit:
    """An ASGI application that answers for bodies before `app` sees them; anything but HTTP goes straight
    through.

    - over `limit_for(scope)` bytes: BODY_TOO_LARGE, by Content-Length before anything is read
    - no room in `budget` within `budget_timeout`: BODIES_BUSY
    - slower than `min_rate` bytes a second, after `grace` seconds: BODY_TOO_SLOW (only waiting for the peer
      counts)

    `refuse(error, scope, send)` writes the answer. If `app` is running then, it is told `http.disconnect`
    and what it still sends is dropped; where its own answer has begun, that answer is cut short instead.
    """

    app: App
    limit_for: Callable[[Scope], int]
    budget: BodyBudget
    refuse: Refuse
    budget_timeout: float = 10.0
    grace: float = 10.0
    min_rate: float = 16_000.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.limit_for(scope)
        size = _body_size(scope)
        exchange = _Exchange(self, limit, scope, receive, send)
        if size is not None and size > limit:
            await exchange.refuse(BODY_TOO_LARGE)
            return
        if size == 0:
            await self.app(scope, receive, send)
            return
        try:
            async with self.budget.reserve(limit if size is None else size, self.budget_timeout):
                await self.app(scope, exchange.receive, exchange.send)
        except EdgeError as error:
            if error.kind is not BODIES_BUSY or exchange.started:
                raise
            await exchange.refuse(BODIES_BUSY, retry_after=error.retry_after)


def _body_size(scope: Scope) -> int | None:
    """Bytes to come: 0 without a body, None where it is chunked. (h11 has checked the headers.)"""
    headers = dict(scope["headers"])
    if b"transfer-encoding" in headers:
        return None
    return int(headers.get(b"content-length", 0))


@attrs.define
class _Exchange:
    """One request's receive and send, as `app` gets them."""

    rules: BodyLimit
    limit: int
    scope: Scope
    _receive: Receive
    _send: Send
    started: bool = False
    _refused: bool = False
    _complete: bool = False
    _seen: int = 0
    _waited: float = 0.0

    async def receive(self) -> Message:
        """ASGI's `receive`; `http.disconnect` once the body was refused."""
        if self._refused:
            return _GONE
        if self._complete:
            return await self._receive()
        message = await self._receive_in_time()
        if message is None:
            await self.refuse(BODY_TOO_SLOW)
            return _GONE
        if message["type"] != "http.request":
            return message
        self._seen += len(message.get("body", b""))
        if self._seen > self.limit:
            await self.refuse(BODY_TOO_LARGE)
            return _GONE
        self._complete = not message.get("more_body", False)
        return message

    async def _receive_in_time(self) -> Message | None:
        began = trio.current_time()
        patience = self.rules.grace + self._seen / self.rules.min_rate - self._waited
        try:
            with trio.move_on_after(max(patience, 0)):
                return await self._receive()
            return None
        finally:
            self._waited += trio.current_time() - began

    async def send(self, message: Message) -> None:
        """ASGI's `send`; nothing more goes out once the body was refused."""
        if not self._refused:
            self.started = True
            await self._send(message)

    async def refuse(self, kind: ErrorKind, *, retry_after: float | None = None) -> None:
        """Answer in the application's place, where it has not begun to."""
        self._refused = True
        if not self.started:
            await self.rules.refuse(EdgeError(kind, retry_after=retry_after), self.scope, self._send_last)

    async def _send_last(self, message: Message) -> None:
        """The rest of the body is not read, so that the connection can't be used again."""
        if message["type"] == "http.response.start":
            headers = [*message.get("headers", ()), (b"connection", b"close")]
            message = {**message, "headers": headers}
        await self._send(message)
