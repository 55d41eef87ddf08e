"""Ranges against a plain set."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interview_edge.core.ranges import Ranges

TOP = 60
ADDED = st.lists(st.tuples(st.integers(1, TOP), st.integers(0, 8)), max_size=25)


def check(ranges: Ranges, members: set[int]) -> None:
    assert len(ranges) == len(members)
    assert {n for n in range(-1, TOP + 20) if n in ranges} == members
    listed = list(ranges)
    assert all(first <= last for first, last in listed)
    # Ascending, disjoint, and not adjacent: the shortest way to say it.
    assert all(a[1] + 1 < b[0] for a, b in pairwise(listed))
    assert ranges.last == max(members, default=0)
    assert ranges.first_missing == min(set(range(1, TOP + 20)) - members)
    assert ranges == Ranges((n, n) for n in members)


@settings(max_examples=200)
@given(added=ADDED, upto=st.none() | st.integers(0, TOP + 15))
def test_ranges_are_a_set(added: list[tuple[int, int]], upto: int | None) -> None:
    ranges, members = Ranges(), set[int]()
    for first, more in added:
        span = set(range(first, first + more + 1))
        assert ranges.add_range(first, first + more) == len(span - members)
        members |= span
        check(ranges, members)
    gaps = {n for first, last in ranges.missing(upto) for n in range(first, last + 1)}
    end = ranges.last if upto is None else upto
    assert gaps == set(range(1, end + 1)) - members
    assert sum(last - first + 1 for first, last in ranges.missing(upto)) == len(gaps)


@settings(max_examples=100)
@given(left=ADDED, right=ADDED)
def test_update_is_union(left: list[tuple[int, int]], right: list[tuple[int, int]]) -> None:
    a, b = (Ranges((first, first + more) for first, more in side) for side in (left, right))
    both = Ranges([*a, *b])
    a.update(b)
    assert a == both
    a.update(a)
    assert a == both


@pytest.mark.parametrize(("first", "last"), [(0, 1), (-1, -1), (2, 1)])
def test_only_ranges_of_positive_integers(first: int, last: int) -> None:
    ranges = Ranges([(5, 6)])
    with pytest.raises(ValueError, match="not a range"):
        ranges.add_range(first, last)
    assert list(ranges) == [(5, 6)]
