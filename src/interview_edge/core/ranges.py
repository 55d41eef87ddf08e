"""Sorted, disjoint, inclusive ranges of positive integers: how a ledger remembers seqs."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class Ranges:
    """A grow-only set of positive integers kept as inclusive ranges.

    Adding next to the end is O(1), elsewhere O(log n) plus a list insert; memory is that of the ranges, never
    of the members. `in` and `len` are of the members; iteration gives the ranges, ascending.
    """

    __slots__ = ("_count", "_firsts", "_lasts")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        self._count = 0
        for first, last in ranges:
            self.add_range(first, last)

    def add(self, n: int) -> bool:
        """Add one member; answers whether it is new."""
        return self.add_range(n, n) == 1

    def add_range(self, first: int, last: int) -> int:
        """Add `first..last`; answers how many of them are new. Raises ValueError unless 1 ≤ first ≤ last."""
        if not 1 <= first <= last:
            raise ValueError(f"not a range of positive integers: {first}..{last}")
        firsts, lasts = self._firsts, self._lasts
        if lasts and first == lasts[-1] + 1:
            # The way of nearly every chunk: it continues the last range.
            lasts[-1] = last
            self._count += last - first + 1
            return last - first + 1
        # [low, high) are the ranges that overlap or touch first..last.
        low = bisect_right(lasts, first - 2)
        high = bisect_right(firsts, last + 1)
        swallowed = sum(lasts[i] - firsts[i] + 1 for i in range(low, high))
        if low < high:
            first = min(first, firsts[low])
            last = max(last, lasts[high - 1])
        firsts[low:high] = [first]
        lasts[low:high] = [last]
        new = last - first + 1 - swallowed
        self._count += new
        return new

    def update(self, other: Iterable[tuple[int, int]]) -> None:
        """Add every range of `other`."""
        for first, last in other:
            self.add_range(first, last)

    def __contains__(self, n: int) -> bool:
        i = bisect_right(self._firsts, n) - 1
        return i >= 0 and n <= self._lasts[i]

    def covers(self, first: int, last: int) -> bool:
        """Whether every one of `first..last` is a member."""
        i = bisect_right(self._firsts, first) - 1
        return i >= 0 and last <= self._lasts[i]

    def minus(self, other: Ranges) -> Iterator[tuple[int, int]]:
        """The ranges of what is in here and not in `other`, ascending."""
        firsts, lasts = other._firsts, other._lasts
        for first, last in self:
            i = bisect_left(lasts, first)
            while i < len(firsts) and firsts[i] <= last:
                if firsts[i] > first:
                    yield first, firsts[i] - 1
                first = lasts[i] + 1
                i += 1
            if first <= last:
                yield first, last

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._firsts, self._lasts, strict=True)

    def __len__(self) -> int:
        """How many members (not ranges)."""
        return self._count

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ranges):
            return NotImplemented
        return self._firsts == other._firsts and self._lasts == other._lasts

    __hash__ = None  # type: ignore[assignment]  # mutable, so not hashable

    def __repr__(self) -> str:
        return f"Ranges({list(self)!r})"

    @property
    def last(self) -> int:
        """The highest member, 0 when empty."""
        return self._lasts[-1] if self._lasts else 0

    @property
    def first_missing(self) -> int:
        """The lowest positive integer that is not a member."""
        return self._lasts[0] + 1 if self._firsts and self._firsts[0] == 1 else 1

    def missing(self, upto: int | None = None) -> Iterator[tuple[int, int]]:
        """The ranges of 1..upto (default: 1..last) that are not held, ascending."""
        end = self.last if upto is None else upto
        expected = 1
        for first, last in self:
            if first > end:
                break
            if first > expected:
                yield expected, first - 1
            expected = last + 1
        if expected <= end:
            yield expected, end
