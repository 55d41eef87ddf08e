"""Token buckets for many clients, bounded in number. No I/O and no clock: the time is passed in.

A bucket holds up to `burst` tokens and gains `rate` of them a second. It is kept as one number, the time at
which it will be full again, and a full one isn't kept at all: it is the same as one that never was. So only
clients that have spent something cost memory.

What holds whatever anybody does, also somebody with any number of addresses:

- A client is granted at most `burst + rate * t` in any t seconds.
- At most `limit` buckets are kept.
- None is dropped before it is full, so that nobody gets a fresh bucket for an empty one.

Who has no bucket when there is no room for another takes from one that all such clients share, and later
begins with as much as is left in that. The price is theirs: while `limit` clients are spending at the same
time, newcomers get by on one bucket together.
"""

from __future__ import annotations

from collections import OrderedDict

import attrs

LIMIT = 65_536
_LOOKED_AT = 2  # by each taking: more are found full than can come
_TOLERANCE = 1e-6  # tokens: what adding up floats may cost


@attrs.frozen
class Level:
    """What a bucket holds. `granted`: whether what was asked of it was in it.

    `left` is in tokens; `wait` and `full_in` are the seconds until one is there, and until all are.
    """

    granted: bool
    burst: int
    left: float
    wait: float
    full_in: float

    @property
    def whole(self) -> int:
        """The tokens that could be taken."""
        return int(self.left + _TOLERANCE)


class Buckets:
    """One bucket a client. The time (seconds, from any start) must never go back."""

    def __init__(self, rate: float, burst: int, limit: int = LIMIT) -> None:
        """`rate` above 0 in tokens a second."""
        self._rate = rate
        self._burst = burst
        self._limit = limit
        self._full_at: OrderedDict[str, float] = OrderedDict()
        self._shared_full_at = float("-inf")

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, client: str, now: float) -> Level:
        """Take one token, if it is there."""
        own = self._full_at.get(client)  # before the next line, which may forget it
        self._drop_full(now)
        if own is None and len(self._full_at) >= self._limit:
            level = self._level(self._shared_full_at, now)
            if level.granted:
                self._shared_full_at = self._spent(self._shared_full_at, now)
                level = self._after(self._shared_full_at, now)
            return level
        full_at = self._shared_full_at if own is None else own
        level = self._level(full_at, now)
        if level.granted:
            self._full_at[client] = self._spent(full_at, now)
            level = self._after(self._full_at[client], now)
        return level

    def look(self, client: str, now: float) -> Level:
        """What `take` of its own bucket would find; a client that has none finds a full one."""
        return self._level(self._full_at.get(client, now), now)

    def _drop_full(self, now: float) -> None:
        """Look at the next few in turn, and forget the full ones among them: no taking pays for a sweep over
        all of them.
        """
        for _ in range(min(_LOOKED_AT, len(self._full_at))):
            client, full_at = self._full_at.popitem(last=False)
            if full_at > now:
                self._full_at[client] = full_at

    def _spent(self, full_at: float, now: float) -> float:
        return max(full_at, now) + 1 / self._rate

    def _level(self, full_at: float, now: float) -> Level:
        full_in = max(0.0, full_at - now)
        left = max(0.0, self._burst - full_in * self._rate)
        wait = max(0.0, (1 - left) / self._rate)
        return Level(left + _TOLERANCE >= 1, self._burst, left, wait, full_in)

    def _after(self, full_at: float, now: float) -> Level:
        """The level after a token was taken."""
        return attrs.evolve(self._level(full_at, now), granted=True)
