"""How much of something is under way, and waiting until nothing is."""

from __future__ import annotations

import trio


class Countdown:
    """Counts what was begun and not done yet."""

    def __init__(self) -> None:
        self.count = 0
        self._zero = trio.lowlevel.ParkingLot()

    def add(self) -> None:
        """One more has begun."""
        self.count += 1

    def done(self) -> None:
        """One of them is done."""
        self.count -= 1
        if not self.count:
            self._zero.unpark_all()

    async def wait(self) -> None:
        """Wait until nothing is under way. The caller sets the deadline, by cancellation."""
        while self.count:
            await self._zero.park()
