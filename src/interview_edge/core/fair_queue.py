"""A queue that is fair between owners: who has little waits for one turn of each of the others at most."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class FairQueue(Generic[K, T]):
    """Items in order for each owner, owners in turns, at most one item of an owner out at a time.

    `take` hands out an item, and none of its owner's others until `done` (the item is over) or `put_back` (it
    comes first again, when its owner's turn comes). Owners who were put behind have turns among themselves,
    when nothing of anybody else can be taken.
    """

    def __init__(self) -> None:
        self._waiting: OrderedDict[K, deque[T]] = OrderedDict()  # the next turn is the first owner's
        self._out: dict[K, T] = {}
        self._behind: set[K] = set()
        self._count = 0

    def __len__(self) -> int:
        """Items that wait or are out."""
        return self._count

    def of(self, owner: K) -> int:
        """The same of one owner."""
        return len(self._waiting.get(owner, ())) + (owner in self._out)

    def put(self, owner: K, item: T) -> None:
        """Behind the owner's other items."""
        self._waiting.setdefault(owner, deque()).append(item)
        self._count += 1

    def take(self) -> tuple[K, T] | None:
        """The next item, None where all that waits is of owners who have one out."""
        owner = self._next_owner()
        if owner is None:
            return None
        items = self._waiting[owner]
        item = items.popleft()
        if items:
            self._waiting.move_to_end(owner)
        else:
            del self._waiting[owner]
        self._out[owner] = item
        return owner, item

    def _next_owner(self) -> K | None:
        behind = None
        for owner in self._waiting:
            if owner in self._out:
                continue
            if owner not in self._behind:
                return owner
            behind = owner if behind is None else behind
        return behind

    def put_behind(self, owner: K) -> None:
        """Let everybody else come first, until `bring_back`. Idempotent."""
        self._behind.add(owner)

    def bring_back(self, owner: K) -> None:
        """Let the owner have turns as everybody. Idempotent."""
        self._behind.discard(owner)

    def done(self, owner: K) -> None:
        """The owner's item that is out is over."""
        del self._out[owner]
        self._count -= 1

    def put_back(self, owner: K) -> None:
        """The owner's item that is out has to be taken again, before the owner's others."""
        self._waiting.setdefault(owner, deque()).appendleft(self._out.pop(owner))

    def drop(self, owner: K) -> int:
        """Forget what waits of an owner; how many. An item that is out stays out."""
        dropped = len(self._waiting.pop(owner, ()))
        self._count -= dropped
        return dropped
