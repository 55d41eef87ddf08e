from __future__ import annotations

import hashlib

import pytest

from interview_edge.core.keys import (
    beginning_of_cut,
    check_session_id,
    check_stream,
    chunk_key,
    conflict_key,
    result_key,
    segment_key,
    session_component,
    session_prefix,
)
from interview_edge.core.models import SegmentFormat, StreamKey
from interview_edge.errors import EdgeError


@pytest.mark.parametrize(
    "session_id", ["a", "A-b_c.9", "x" * 128, "会" * 128, "a/b", " ", "\0", "..", "😀" * 128]
)
def test_any_unicode_of_1_to_128_characters_is_a_session_id(session_id: str) -> None:
    assert check_session_id(session_id) == session_id


@pytest.mark.parametrize(
    ("session_id", "code"),
    [("", "invalid_session_id"), ("x" * 129, "invalid_session_id"), ("a\ud800", "invalid_path")],
)
def test_other_session_ids_are_refused(session_id: str, code: str) -> None:
    with pytest.raises(EdgeError) as caught:
        check_session_id(session_id)
    assert caught.value.kind.code == code


@pytest.mark.parametrize("name", ["mixed", "teacher", "a", "0_-", "x" * 32])
def test_streams(name: str) -> None:
    assert check_stream(name) == name


@pytest.mark.parametrize("name", ["", "x" * 33, "Mixed", "a/b", "..", "a\n", "é", "٣"])
def test_other_streams_are_refused(name: str) -> None:
    with pytest.raises(EdgeError, match="invalid_stream"):
        check_stream(name)


@pytest.mark.parametrize(
    ("session_id", "component"),
    [
        ("plain-ID_1.x", "plain-ID_1.x"),
        ("...", "..."),
        (".", "%2E"),
        ("..", "%2E%2E"),
        ("../x", "..%2Fx"),
        ("a/b", "a%2Fb"),
        ("a_b", "a_b"),
        ("%2E", "%252E"),
        ("a~b", "a%7Eb"),
        ("é", "%C3%A9"),
        ("a b\0", "a%20b%00"),
    ],
)
def test_the_component_percent_encodes_all_but_plain_characters(session_id: str, component: str) -> None:
    assert session_component(session_id) == component


def test_a_long_encoding_is_cut_and_told_apart_by_its_hash() -> None:
    just_fits = "/" * 66 + "ab"
    assert session_component(just_fits) == "%2F" * 66 + "ab"
    too_long = "/" * 66 + "abc"
    digest = hashlib.sha256(too_long.encode()).hexdigest()
    assert session_component(too_long) == "%2F" * 50 + "~" + digest[:40]
    assert session_component(too_long) != session_component(too_long + "d")
    assert beginning_of_cut(session_component(too_long)) == "/" * 50
    for other in ("~", f"~{digest[:40]}", f"a~{digest[:40]}", session_component(too_long)[1:]):
        assert beginning_of_cut(other) is None  # else far too many ids would be looked at


def test_keys_are_the_contracts() -> None:
    mixed, teacher = StreamKey("a/b"), StreamKey("a/b", "teacher")
    assert session_prefix("a/b") == "sessions/a%2Fb/"
    assert result_key("a/b") == "sessions/a%2Fb/result.json"
    assert chunk_key(mixed, 7) == "sessions/a%2Fb/chunks/00000007.pcm"
    assert chunk_key(teacher, 7) == "sessions/a%2Fb/chunks/teacher/00000007.pcm"
    assert segment_key(mixed, 1, 60, SegmentFormat.FLAC) == "sessions/a%2Fb/segments/00000001-00000060.flac"
    assert (
        segment_key(teacher, 61, 61, SegmentFormat.WAV)
        == "sessions/a%2Fb/segments/teacher/00000061-00000061.wav"
    )
    assert conflict_key(mixed, 7, b"\x01\xff") == "sessions/a%2Fb/conflicts/00000007-01ff.pcm"
    assert conflict_key(teacher, 7, b"\x01") == "sessions/a%2Fb/conflicts/teacher/00000007-01.pcm"
