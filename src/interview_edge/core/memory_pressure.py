"""What a node does as its memory fills up (contract storage.md, Emergency): windows are given back first,
then new sessions are refused; what runs goes on.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")

EVICT_SHARE, REFUSE_SHARE = 0.80, 0.95  # of the node's budget


class Pressure(enum.IntEnum):
    """How far it has come; each does what the ones before it do."""

    NONE = 0
    EVICT = 1
    REFUSE = 2


def pressure_of(used: int, budget: int) -> Pressure:
    """By bytes in use: over 80% of the budget windows are evicted, over 95% new sessions refused too."""
    if used > REFUSE_SHARE * budget:
        return Pressure.REFUSE
    return Pressure.EVICT if used > EVICT_SHARE * budget else Pressure.NONE


def excess_bytes(used: int, budget: int) -> int:
    """What has to be given back for evicting to end."""
    return max(0, used - int(EVICT_SHARE * budget))


def choose_windows(windows: Iterable[tuple[int, int, T]], excess: int) -> list[T]:
    """Which of (last written at, bytes held, window) to evict: the oldest first, empty ones never, and no
    more than it takes to free `excess` bytes.
    """
    chosen: list[T] = []
    for _, held, window in sorted(windows, key=lambda each: each[0]):
        if excess <= 0:
            break
        if held:
            chosen.append(window)
            excess -= held
    return chosen
