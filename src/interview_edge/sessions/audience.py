"""Who listens to something, and is told at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

Word = TypeVar("Word")


class Audience(Generic[Word]):
    """Listeners, who must not wait nor fail."""

    def __init__(self) -> None:
        self._listeners: set[Callable[[Word], None]] = set()

    def __bool__(self) -> bool:
        """Whether anybody listens."""
        return bool(self._listeners)

    def subscribe(self, listener: Callable[[Word], None]) -> Callable[[], None]:
        """Tell `listener` from here on; the answer ends that."""
        self._listeners.add(listener)
        return partial(self._listeners.discard, listener)

    def tell(self, word: Word) -> None:
        """Tell everybody who listens now."""
        for listener in tuple(self._listeners):
            listener(word)
