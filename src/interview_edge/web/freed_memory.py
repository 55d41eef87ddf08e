"""Memory that was freed, given back to the system.

glibc gives back only the end of its heaps. Audio passes through by the 32 kB, so after a burst of uploads
they are mostly holes: 10 MB behind 50 sessions' full windows. The resident set has them, and by that a node
evicts windows and refuses sessions (contract storage.md, Emergency).
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from typing import Protocol

import trio

# Each closed session leaves some hundred objects in reference cycles; a full collection takes 130 ms beside
# 500 live sessions, so it is made for many of them at once, or when none is live.
ENDED_A_COLLECTION = 100
INTERVAL = 2.0  # seconds; with 10 to 29 MB free a call took 0.3 to 2.6 ms


class Sessions(Protocol):
    """The registry: how many sessions are live (its length), and how many have ended."""

    @property
    def ended(self) -> int: ...

    def __len__(self) -> int: ...


async def give_back_freed_memory(stop: trio.Event, sessions: Sessions, interval: float = INTERVAL) -> None:
    """Every `interval` seconds, until `stop` is set: collect what ended sessions left in cycles, where that
    is worth its pause, and have glibc give back every whole free page.

    The latter not where the C library can't (musl, macOS): theirs do it by themselves or not at all.
    """
    trim = _malloc_trim()
    collected = 0
    while not stop.is_set():
        with trio.move_on_after(interval):
            await stop.wait()
        waiting = sessions.ended - collected
        if waiting >= ENDED_A_COLLECTION or (waiting and not len(sessions)):
            collected = sessions.ended
            gc.collect()
        if trim is not None:
            trim(0)  # keep no free space at the heap's end; malloc_trim(3)


def _malloc_trim() -> Callable[[int], int] | None:
    found: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return found
