"""`Ranges.minus` and `Ranges.covers` against plain sets."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from interview_edge.core.ranges import Ranges

members = st.sets(st.integers(1, 60))


def ranges(found: set[int]) -> Ranges:
    return Ranges((n, n) for n in found)


@settings(max_examples=200)
@given(members, members)
def test_minus_is_the_difference_in_canonical_ranges(a: set[int], b: set[int]) -> None:
    difference = list(ranges(a).minus(ranges(b)))
    assert difference == list(ranges(a - b))


@settings(max_examples=200)
@given(members, st.integers(1, 60), st.integers(0, 10))
def test_covers_asks_for_every_member(a: set[int], first: int, more: int) -> None:
    assert ranges(a).covers(first, first + more) == (set(range(first, first + more + 1)) <= a)
