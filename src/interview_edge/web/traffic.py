"""How many requests were answered, by route and status, and in what time: what /metrics shows of HTTP."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping

import attrs

UNMATCHED = "unmatched"
CLIENT_GONE = 499  # the client hung up before there was an answer; nginx's number for it

# Seconds, upper bounds: from a read in memory to a finalize that waits for the store.
BOUNDS = (0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0)
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@attrs.define
class Durations:
    """A histogram: how many took at most each of BOUNDS, and more than the one before."""

    counts: list[int] = attrs.field(factory=lambda: [0] * (len(BOUNDS) + 1))
    total: float = 0.0  # seconds

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds


class Traffic:
    """Counts answers. Routes are patterns, not paths, so that ids don't multiply the series."""

    def __init__(self) -> None:
        self._answers: Counter[tuple[str, str, int]] = Counter()
        self._durations: dict[str, Durations] = {}
        self._refusals: Counter[str] = Counter()

    def count(self, route: str, method: str, status: int, seconds: float | None = None) -> None:
        """One answer. `method` must be one that the router knows: a made-up one is counted as OTHER.
        `seconds` None: a socket, which has no length of its own.
        """
        self._answers[route, method if method in _METHODS else "OTHER", status] += 1
        if seconds is not None:
            self._durations.setdefault(route, Durations()).add(seconds)

    def count_refusal(self, code: str) -> None:
        """One request or socket that was refused for what it showed, or how often: 401, 403, 429."""
        self._refusals[code] += 1

    def __iter__(self) -> Iterator[tuple[str, str, int, int]]:
        """(route, method, status, how many)."""
        for (route, method, status), many in self._answers.items():
            yield route, method, status, many

    @property
    def durations(self) -> Mapping[str, Durations]:
        """By route."""
        return self._durations

    @property
    def refusals(self) -> Mapping[str, int]:
        """By code."""
        return self._refusals
