"""Memory that was freed, given back to the system.

glibc gives back only the end of its heaps. Audio passes through by the 32 kB, so after a burst of uploads
they are mostly holes: 10 MB behind 50 sessions' full windows. The resident set has them, and by that a node
evicts windows and refuses sessions (contract storage.md, Emergency).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import trio

INTERVAL = 2.0  # seconds; with 10 to 29 MB free a call took 0.3 to 2.6 ms


async def give_back_freed_memory(stop: trio.Event, interval: float = INTERVAL) -> None:
    """Have glibc give back every whole free page, every `interval` seconds, until `stop` is set.

    Returns at once where the C library can't (musl, macOS): theirs do it by themselves or not at all.
    """
    trim = _malloc_trim()
    while trim is not None and not stop.is_set():
        with trio.move_on_after(interval):
            await stop.wait()
        trim(0)  # keep no free space at the heap's end; malloc_trim(3)


def _malloc_trim() -> Callable[[int], int] | None:
    found: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return found
