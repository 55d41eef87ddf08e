"""How long the sessions of a node may hear before the loop goes round: the acks wait for the same thread."""

from __future__ import annotations

import trio

# A second is heard in 0.1-0.2 ms, so these hold up the loop for at most 2 ms, under its 5; a checkpoint after
# each would cost 3-5 µs a second.
SECONDS_A_ROUND = 8


class HearingTurns:
    """What all sessions together may still hear in this round of the loop.

    Shared, because every session that is behind hears in the same round: eight seconds each would hold up the
    loop for a third of a second at 500 sessions. With nothing left, each still hears one second a round.
    """

    __slots__ = ("_left", "_round")

    def __init__(self) -> None:
        self._left = SECONDS_A_ROUND
        self._round = 0

    def take(self) -> bool:
        """Whether a further second may be heard at once; if not, `rest` comes first."""
        if not self._left:
            return False
        self._left -= 1
        return True

    async def rest(self) -> None:
        """Let the loop go round. The first that is back gives everybody what a round allows."""
        ended = self._round
        await trio.lowlevel.checkpoint()
        if self._round == ended:
            self._round += 1
            self._left = SECONDS_A_ROUND
