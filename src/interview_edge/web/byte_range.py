"""The Range header of one representation (RFC 9110, section 14)."""

from __future__ import annotations

import re

# Eighteen digits: more than any size has, and nothing that int() could refuse.
_ONE_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*", re.IGNORECASE)


class UnsatisfiableRangeError(ValueError):
    """The range lies wholly outside: answer 416."""


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """The (start, stop) that `header` asks of `size` bytes, stop exclusive; None where the whole is to be
    sent.

    A header that is malformed, of another unit or of several ranges is ignored, as the RFC allows. Raises
    UnsatisfiableRangeError for a range with no byte in it.
    """
    found = None if header is None else _ONE_RANGE.fullmatch(header)
    if found is None:
        return None
    start, end = found.groups()
    if not start:
        if not end:
            return None
        if int(end) == 0 or size == 0:
            raise UnsatisfiableRangeError
        return max(0, size - int(end)), size
    if end and int(end) < int(start):
        return None
    if int(start) >= size:
        raise UnsatisfiableRangeError
    return int(start), min(size, int(end) + 1) if end else size
