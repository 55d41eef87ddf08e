"""However many sessions are behind, they hold up the loop no longer than one second each and a few more."""

from __future__ import annotations

from collections import Counter

import pytest
import trio

from interview_edge.sessions.hearing_turns import SECONDS_A_ROUND, HearingTurns


class Rounds(trio.abc.Instrument):
    """How often the loop went round."""

    def __init__(self) -> None:
        self.count = 0

    def before_io_wait(self, timeout: float) -> None:
        self.count += 1


@pytest.mark.parametrize("sessions", [1, 3, 50])
async def test_a_round_is_bounded_and_none_goes_hungry(sessions: int) -> None:
    turns, rounds = HearingTurns(), Rounds()
    seconds, heard = 40, Counter[int]()
    ends: list[int] = []

    async def hear() -> None:
        for _ in range(seconds):
            heard[rounds.count] += 1
            if not turns.take():
                await turns.rest()
        ends.append(rounds.count)

    trio.lowlevel.add_instrument(rounds)
    async with trio.open_nursery() as nursery:
        for _ in range(sessions):
            nursery.start_soon(hear)
    trio.lowlevel.remove_instrument(rounds)
    assert heard.total() == sessions * seconds
    assert max(heard.values()) <= sessions + SECONDS_A_ROUND
    # One that is unlucky in every round still hears a second in each.
    assert max(ends) - min(heard) <= seconds
    if sessions == 1:
        assert len(heard) <= seconds // SECONDS_A_ROUND


async def test_a_rest_can_be_cancelled_and_leaves_the_others_their_turns() -> None:
    turns = HearingTurns()
    while turns.take():
        pass
    with trio.CancelScope() as scope:
        scope.cancel()
        await turns.rest()
    assert scope.cancelled_caught
    assert not turns.take()
    await turns.rest()
    assert sum(turns.take() for _ in range(100)) == SECONDS_A_ROUND
