"""How many requests were answered, by route and status: what /metrics shows of HTTP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

UNMATCHED = "unmatched"


class Traffic:
    """Counts answers. Routes are patterns, not paths, so that ids don't multiply the series."""

    def __init__(self) -> None:
        self._answers: Counter[tuple[str, str, int]] = Counter()

    def count(self, route: str, method: str, status: int) -> None:
        """One answer. `method` must be one that the router knows: a made-up one is counted as OTHER."""
        known = method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS") else "OTHER"
        self._answers[route, known, status] += 1

    def __iter__(self) -> Iterator[tuple[str, str, int, int]]:
        """(route, method, status, how many)."""
        for (route, method, status), many in self._answers.items():
            yield route, method, status, many
