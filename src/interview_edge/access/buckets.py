"""Token buckets: how often something may be done. No clock: the time comes in, in seconds.

A bucket holds up to `burst` tokens and gains `rate` a second; what is done takes one. Only buckets that are
not full are kept: memory is that of the clients of the last `burst / rate` seconds, `max_buckets` at most.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable

import attrs


@attrs.frozen
class Verdict:
    """What a bucket says. `remaining`: whole tokens left; `reset`: seconds until it is full; `retry_after`:
    seconds until the next token, 0 where this one was granted.
    """

    granted: bool
    limit: int
    remaining: int
    reset: float
    retry_after: float = 0.0


class Buckets:
    """One bucket a key."""

    def __init__(self, rate: float, burst: int, *, max_buckets: int = 100_000) -> None:
        """`rate` over 0, tokens a second; `burst` at least 1."""
        self._rate = rate
        self._burst = burst
        self._max = max_buckets
        # By the time of their last use; (tokens, as of when).
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: Hashable, now: float) -> Verdict:
        """Take a token of this key's bucket, if there is one. `now` must not go back."""
        tokens = self._tokens(key, now)
        if tokens < 1:
            return self._say(False, tokens)
        self._keep(key, tokens - 1, now)
        return self._say(True, tokens - 1)

    def look(self, key: Hashable, now: float) -> Verdict:
        """What `take` would say; nothing is taken."""
        tokens = self._tokens(key, now)
        return self._say(tokens >= 1, tokens)

    def _tokens(self, key: Hashable, now: float) -> float:
        found = self._buckets.get(key)
        if found is None:
            return float(self._burst)
        tokens, at = found
        return min(float(self._burst), tokens + (now - at) * self._rate)

    def _keep(self, key: Hashable, tokens: float, now: float) -> None:
        self._buckets[key] = (tokens, now)
        self._buckets.move_to_end(key)
        self._forget(now)

    def _forget(self, now: float) -> None:
        """Drop the buckets that are full again: each use drops at most two, so that none pays for many. Over
        the bound the one that rested longest goes, full or not: it is the one nearest to being full.
        """
        for _ in range(2):
            oldest, (tokens, at) = next(iter(self._buckets.items()))
            full = tokens + (now - at) * self._rate >= self._burst
            if not full and len(self._buckets) <= self._max:
                return
            del self._buckets[oldest]
            if not self._buckets:
                return

    def _say(self, granted: bool, tokens: float) -> Verdict:
        return Verdict(
            granted,
            limit=self._burst,
            remaining=math.floor(tokens),
            reset=(self._burst - tokens) / self._rate,
            retry_after=0.0 if granted else (1 - tokens) / self._rate,
        )
