"""What one connection has received and its handler has not taken yet: bounded, and deaf to nobody leaving.

Hypercorn's own queue counts messages, not bytes, and a full one also blocks the disconnect: a handler that
answers without reading its body, or whose send fails, then waits for ever on its own queue. Here the bound
is in bytes, the reader of the socket waits for room (so TCP pushes back on the peer), and neither the end of
the input nor the end of the handler ever waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

import trio

_OVERHEAD = 200  # bytes charged an item beside its payload: the objects that carry it

T = TypeVar("T")


class Inbox(Generic[T]):
    """A byte-bounded queue with one putter (the socket's reader) and one taker (the handler)."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._items: deque[tuple[T, int]] = deque()
        self._ended = False
        self._changed = trio.lowlevel.ParkingLot()

    async def put(self, item: T, size: int) -> None:
        """`put_all` of one item of `size` bytes."""
        await self.put_all(((item, size),))

    async def put_all(self, items: Sequence[tuple[T, int]]) -> None:
        """Wait for room for all of `items` (each with its bytes), then add them; dropped once either side has
        ended. What is more than the limit by itself waits for an empty inbox.

        Not a checkpoint while there is room: the reader's receive is one.
        """
        size = sum([size for _, size in items]) + _OVERHEAD * len(items)
        while self._held and self._held + size > self._limit and not self._ended:
            await self._changed.park()
        if not self._ended:
            self._items += items
            self._held += size
            self._changed.unpark_all()

    async def take_all(self) -> list[T]:
        """Everything that is there, at least one item; empty only after the end.

        Not a checkpoint while items are there: a taker that loops runs dry, as the putter is another task.
        """
        await self._wait_for_items()
        taken = [item for item, _ in self._items]
        self._items.clear()
        self._held = 0
        self._changed.unpark_all()
        return taken

    async def take(self) -> T | None:
        """The next item, None after the end. A checkpoint where `take_all` is one."""
        await self._wait_for_items()
        if not self._items:
            return None
        item, size = self._items.popleft()
        self._held -= size + _OVERHEAD
        self._changed.unpark_all()
        return item

    async def _wait_for_items(self) -> None:
        while not self._items:
            if self._ended:
                await trio.lowlevel.checkpoint()  # a taker that loops on past the end mustn't stop the world
                return
            await self._changed.park()

    def end(self) -> None:
        """No more input will come; what is there can still be taken. Never waits."""
        self._ended = True
        self._changed.unpark_all()

    def close(self) -> None:
        """The handler is gone: drop what is there and what comes. Never waits."""
        self._items.clear()
        self._held = 0
        self.end()
