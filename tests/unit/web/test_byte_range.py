"""Range headers as RFC 9110 reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interview_edge.web.byte_range import UnsatisfiableRangeError, parse_range


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("", None),
        ("bytes", None),
        ("bytes=", None),
        ("bytes=-", None),
        ("bytes=0", None),
        ("bytes=1-0", None),
        ("bytes=0-1,3-4", None),
        ("bytes=0x1-", None),
        ("bytes=٣-", None),
        ("items=0-1", None),
        ("bytes=0-0", (0, 1)),
        ("bytes=9-", (9, 10)),
        ("bytes= 2-4 ", (2, 5)),
        ("bytes=2-99", (2, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-99", (0, 10)),
    ],
)
def test_one_range_of_ten_bytes(header: str | None, expected: tuple[int, int] | None) -> None:
    assert parse_range(header, 10) == expected


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-20", "bytes=-0"])
def test_a_range_without_a_byte_is_refused(header: str) -> None:
    with pytest.raises(UnsatisfiableRangeError):
        parse_range(header, 10)


def test_nothing_has_no_range() -> None:
    with pytest.raises(UnsatisfiableRangeError):
        parse_range("bytes=-1", 0)


@given(header=st.text(), size=st.integers(0, 2**32))
def test_no_header_is_a_fault(header: str, size: int) -> None:
    for text in (header, f"bytes={header}"):
        try:
            found = parse_range(text, size)
        except UnsatisfiableRangeError:
            continue
        assert found is None or 0 <= found[0] < found[1] <= size
