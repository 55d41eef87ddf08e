"""How many connections are open, in all and of one client: the bounds, the answer over them, and the wait for
all of them to go.

Over a bound a connection is answered 503 rather than left in the backlog: a proxy then tries its next node
at once. What the refusing itself holds is bounded too.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Protocol

import trio

_REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
)
_MAX_REFUSING = 64
_RECEIVE = 16 * 1024


class Resettable(Protocol):
    """An open connection, as the roster sees it."""

    def reset(self) -> None:
        """Close at once, never waiting."""


class Roster:
    """The open connections of one server."""

    def __init__(self, limit: int, limit_of_one: int, linger: float) -> None:
        self._limit = limit
        self._limit_of_one = limit_of_one
        self._linger = linger
        self._open: dict[Resettable, str | None] = {}
        self._of_client: Counter[str] = Counter()
        self._refusing = 0
        self._left = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, connection: Resettable, client: str | None) -> bool:
        """Count the connection in; False where the server is full, or the client has its share.

        `client` is None for one that may have them all.
        """
        if len(self._open) >= self._limit:
            return False
        if client is not None:
            if self._of_client[client] >= self._limit_of_one:
                return False
            self._of_client[client] += 1
        self._open[connection] = client
        return True

    def leave(self, connection: Resettable) -> None:
        """Count the connection out; one that was never admitted may leave, too."""
        client = self._open.pop(connection, None)
        if client is not None:
            self._of_client[client] -= 1
            if not self._of_client[client]:
                del self._of_client[client]
        self._left.unpark_all()

    async def refuse(self, stream: trio.SocketStream) -> None:
        """Answer 503 and close; reads what the client sent first, so that the close doesn't reset the
        answer."""
        if self._refusing < _MAX_REFUSING:
            self._refusing += 1
            try:
                with (
                    trio.move_on_after(self._linger),
                    contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError),
                ):
                    await stream.send_all(_REFUSAL)
                    await stream.send_eof()
                    while await stream.receive_some(_RECEIVE):
                        pass
            finally:
                self._refusing -= 1
        stream.socket.close()

    async def wait_empty(self) -> None:
        """Wait until no connection is open."""
        while self._open:
            await self._left.park()

    def reset_all(self) -> None:
        """Close every open connection at once; their tasks see it as the peer's going."""
        for connection in list(self._open):
            connection.reset()
