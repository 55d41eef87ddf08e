"""Memory pressure: by the contract's shares, the oldest first, and no more than it takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interview_edge.core.memory_pressure import Pressure, choose_windows, excess_bytes, pressure_of

WINDOWS = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 4_000), st.integers()), max_size=30)


@pytest.mark.parametrize(
    ("used", "pressure"),
    [
        (0, Pressure.NONE),
        (800, Pressure.NONE),
        (801, Pressure.EVICT),
        (950, Pressure.EVICT),
        (951, Pressure.REFUSE),
    ],
)
def test_the_contracts_shares(used: int, pressure: Pressure) -> None:
    assert pressure_of(used, 1_000) is pressure
    assert (excess_bytes(used, 1_000) > 0) == (pressure is not Pressure.NONE)


@given(windows=WINDOWS, excess=st.integers(-5, 60_000))
def test_the_oldest_go_first_and_only_as_many_as_it_takes(
    windows: list[tuple[int, int, int]], excess: int
) -> None:
    held = {index: bytes_ for index, (_, bytes_, _) in enumerate(windows)}
    written = {index: at for index, (at, _, _) in enumerate(windows)}
    chosen = choose_windows([(at, bytes_, index) for index, (at, bytes_, _) in enumerate(windows)], excess)
    assert len(set(chosen)) == len(chosen)
    assert all(held[index] for index in chosen)
    freed = [held[index] for index in chosen]
    assert sum(freed[:-1]) < max(excess, 1)  # without the last it would not have been enough
    kept = [index for index in held if index not in chosen and held[index]]
    if kept:
        assert sum(freed) >= excess
        assert all(written[one] <= written[other] for one in chosen for other in kept)
