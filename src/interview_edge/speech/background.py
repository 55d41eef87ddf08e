"""Native threads that work behind everybody else's back: a model's, which must not hold up the acks."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import trio

Made = TypeVar("Made")
NICENESS = 10  # a tenth of the weight of what isn't nice, and nothing lost where nobody else wants the core


def in_background(make: Callable[[], Made]) -> Made:
    """What `make` answers or raises; the native threads that it starts, and those that they start, yield to
    others. Blocking.

    A thread inherits its niceness from the one that starts it, and only an administrator's gets rid of it: so
    `make` runs in a thread of its own, which is over when this returns. On Linux only, where niceness is a
    thread's and not the process's.
    """
    if sys.platform != "linux":
        return make()
    with ThreadPoolExecutor(1, initializer=partial(os.setpriority, os.PRIO_PROCESS, 0, NICENESS)) as thread:
        return thread.submit(make).result()


async def let_threads_end(limiter: trio.CapacityLimiter, seconds: float) -> None:
    """Wait until no thread works under `limiter`, `seconds` at most and also when cancelled. None will any
    more: its places are taken for good.

    A thread that was abandoned goes on, and one that is in native code when the interpreter ends takes the
    process down with an abort.
    """
    with trio.move_on_after(seconds, shield=True):
        for _ in range(int(limiter.total_tokens)):
            await limiter.acquire_on_behalf_of(object())
