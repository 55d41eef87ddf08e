"""How much memory this process has and may have."""

from __future__ import annotations

import os
from pathlib import Path

BUDGET_SHARE = 0.8  # of the machine's or the cgroup's memory, where no setting says (settings.py)

_STATM = Path("/proc/self/statm")
_CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),  # version 2
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),  # version 1
)


def resident_bytes() -> int:
    """The process's resident set. Reads one line of /proc."""
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def memory_budget(budget_mb: int | None, limits: tuple[Path, ...] = _CGROUP_LIMITS) -> int:
    """The node's budget in bytes: the setting, else 80% of the machine's memory or of the cgroup's where
    less.
    """
    if budget_mb is not None:
        return budget_mb * 10**6
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for path in limits:
        try:
            total = min(total, int(path.read_text()))
        except (OSError, ValueError):  # not this version, or "max": no limit
            continue
    return int(total * BUDGET_SHARE)
