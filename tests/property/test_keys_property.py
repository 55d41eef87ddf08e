"""Keys: two sessions never share one, and none leaves its place."""

from __future__ import annotations

import string

from hypothesis import example, given, settings
from hypothesis import strategies as st

from interview_edge.core.keys import (
    check_session_id,
    chunk_key,
    conflict_key,
    result_key,
    segment_key,
    session_component,
    session_prefix,
)
from interview_edge.core.models import SegmentFormat, StreamKey

SAFE = set(string.ascii_letters + string.digits + "._-%~")
# Ids that look like encodings, cuts and paths, beside any others; long ones reach the cut.
TRICKY = st.text(st.sampled_from("./%~aA2EF_-é会"), min_size=1, max_size=128)
IDS = TRICKY | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=128)
STREAMS = st.from_regex(r"[a-z0-9_-]{1,32}", fullmatch=True) | st.sampled_from(["mixed", "chunks"])
MAX_SEQ = 2**31 - 1


@settings(max_examples=200, deadline=None)
@given(one=IDS, other=IDS)
@example(one=".", other="%2E")
@example(one="/" * 100, other="/" * 101)
@example(one="a/b", other="a_b")
@example(one="/" * 100, other=session_component("/" * 100))
def test_two_ids_never_share_a_component(one: str, other: str) -> None:
    assert (session_component(one) == session_component(other)) == (one == other)
    if one != other:
        assert not session_prefix(one).startswith(session_prefix(other))


@settings(max_examples=200, deadline=None)
@given(
    session_id=IDS, stream=STREAMS, seq=st.integers(1, MAX_SEQ), identity=st.binary(min_size=16, max_size=16)
)
def test_every_key_is_a_safe_path_below_its_session(
    session_id: str, stream: str, seq: int, identity: bytes
) -> None:
    key = StreamKey(check_session_id(session_id), stream)
    keys = [
        result_key(session_id),
        chunk_key(key, seq),
        segment_key(key, seq, seq, SegmentFormat.FLAC),
        conflict_key(key, seq, identity),
    ]
    assert len(set(keys)) == len(keys)
    for name in keys:
        parts = name.split("/")
        assert name.startswith(session_prefix(session_id))
        assert parts[:2] == ["sessions", session_component(session_id)]
        assert all(set(part) <= SAFE and part not in ("", ".", "..") and len(part) <= 255 for part in parts)
        assert len(name) < 1024


@settings(max_examples=100, deadline=None)
@given(session_id=IDS, streams=st.tuples(STREAMS, STREAMS), seqs=st.tuples(*[st.integers(1, MAX_SEQ)] * 2))
def test_two_chunks_never_share_a_key(
    session_id: str, streams: tuple[str, str], seqs: tuple[int, int]
) -> None:
    one, other = ((StreamKey(session_id, stream), seq) for stream, seq in zip(streams, seqs, strict=True))
    assert (chunk_key(*one) == chunk_key(*other)) == (one == other)
