"""A circuit breaker: after some failures in a row nothing is asked for a while, then one try decides."""

from __future__ import annotations


class CircuitBreaker:
    """Closed at first. `threshold` failures in a row open it for `cooldown` seconds; then one call is let
    through, whose success closes it and whose failure opens it again. Times are the caller's, any clock's.
    """

    def __init__(self, threshold: int, cooldown: float) -> None:
        self._threshold = threshold
        self._cooldown = cooldown
        self._failures = 0
        self._opened_at: float | None = None
        self._trying = False

    @property
    def is_open(self) -> bool:
        """Whether it holds calls back, or lets one through to see."""
        return self._opened_at is not None

    def wait_left(self, now: float) -> float:
        """Seconds until a call may be made; 0 where one may."""
        if self._opened_at is None:
            return 0.0
        left = self._opened_at + self._cooldown - now
        return max(left, self._cooldown / 10 if self._trying else 0.0)

    def begin(self, now: float) -> bool:
        """Whether a call may be made now. Who hears True tells how it ended."""
        if self._opened_at is None:
            return True
        if self.wait_left(now) > 0:
            return False
        self._trying = True
        return True

    def succeeded(self) -> None:
        """The call was answered, whatever with."""
        self._failures, self._opened_at, self._trying = 0, None, False

    def failed(self, now: float) -> None:
        """The call came to nothing."""
        self._failures += 1
        if self._trying or self._failures >= self._threshold:
            self._opened_at = now
        self._trying = False

    def abandoned(self) -> None:
        """The call was given up before it ended: nothing is known."""
        self._trying = False
