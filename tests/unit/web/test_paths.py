"""Paths, split before they are decoded."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interview_edge.errors import INVALID_PATH, EdgeError
from interview_edge.web.paths import SegmentConverter, join_path, split_path

SEGMENTS = st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1)


def scope(raw: bytes | None, path: str = "/unused", root: str = "") -> dict[str, Any]:
    return {"raw_path": raw, "path": path, "root_path": root}


@given(SEGMENTS)
def test_what_is_encoded_segment_by_segment_comes_back(segments: list[str]) -> None:
    path = join_path(segments)
    assert path.isascii()
    assert split_path(scope(path.encode())) == segments
    decode = SegmentConverter.to_python
    assert [
        decode(SegmentConverter.__new__(SegmentConverter), part) for part in path.split("/")[1:]
    ] == segments


@given(SEGMENTS)
def test_a_root_is_not_part_of_the_path(segments: list[str]) -> None:
    raw = quote("/我 edge").encode() + join_path(segments).encode()
    assert split_path(scope(raw, root="/我 edge")) == segments


@pytest.mark.parametrize("raw", [b"/%FF", b"/%", b"/a%2", b"/%GG", b"/\xff", b"/%ED%A0%80", b"/%C0%AF"])
def test_what_is_no_utf8_or_no_escape_is_refused(raw: bytes) -> None:
    with pytest.raises(EdgeError) as refused:
        split_path(scope(raw))
    assert refused.value.kind is INVALID_PATH


def test_raw_bytes_of_utf8_are_taken_and_a_query_is_cut() -> None:
    assert split_path(scope("/你/a".encode() + b"?x=%FF")) == ["你", "a"]


@pytest.mark.parametrize(
    ("raw", "segments"),
    [
        (b"http://host:80/v1/a%2Fb?x=/y", ["v1", "a/b"]),
        (b"HTTPS://host/", [""]),
        (b"http://host", []),
        (b"/http://host/a", ["http:", "", "host", "a"]),
    ],
)
def test_an_absolute_target_is_read_without_its_origin(raw: bytes, segments: list[str]) -> None:
    assert split_path(scope(raw)) == segments


def test_without_a_raw_path_the_decoded_one_serves() -> None:
    assert split_path(scope(None, "/v1/你 %41")) == ["v1", "你 %41"]
