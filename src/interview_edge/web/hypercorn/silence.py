"""When to ping a silent peer and when to give it up, without I/O.

Hypercorn pings on an interval but never looks for the answer, so a half-open socket stays for ever. Only
whole frames count as life: a peer that trickles bytes of a frame it never finishes is silent.
"""

from __future__ import annotations

import enum

import attrs


class Due(enum.Enum):
    """What the clock asks for."""

    PING = enum.auto()
    DROP = enum.auto()


@attrs.define
class Silence:
    """Times are the caller's clock, in seconds."""

    ping_interval: float
    timeout: float
    _heard: float
    _ping_at: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._ping_at = self._heard + self.ping_interval

    def heard(self, now: float) -> None:
        """A whole frame came, or we were the ones who did not read."""
        self._heard = now
        self._ping_at = now + self.ping_interval

    def deadline(self) -> float:
        """When `due` is worth asking again."""
        return min(self._ping_at, self._heard + self.timeout)

    def due(self, now: float) -> Due | None:
        """What to do now. PING is answered once an interval; DROP stays."""
        if now >= self._heard + self.timeout:
            return Due.DROP
        if now >= self._ping_at:
            self._ping_at = now + self.ping_interval
            return Due.PING
        return None
