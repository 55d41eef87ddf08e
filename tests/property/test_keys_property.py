"""Keys: two sessions never share one, and none leaves its place."""

from __future__ import annotations

import string

from hypothesis import example, given, settings
from hypothesis import strategies as st

from interview_edge.core.keys import (
    AudioKey,
    beginning_of_cut,
    check_session_id,
    chunk_key,
    conflict_key,
    parse_audio_key,
    result_key,
    segment_key,
    session_component,
    session_id_of,
    session_prefix,
)
from interview_edge.core.models import SegmentFormat, StreamKey

SAFE = set(string.ascii_letters + string.digits + "._-%~")
# Ids that look like encodings, cuts and paths, beside any others; long ones reach the cut.
TRICKY = st.text(st.sampled_from("./%~aA2EF_-é会"), min_size=1, max_size=128)
IDS = TRICKY | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=128)
STREAMS = st.from_regex(r"[a-z0-9_-]{1,32}", fullmatch=True) | st.sampled_from(["mixed", "chunks"])
MAX_SEQ = 2**31 - 1


@settings(max_examples=200)
@given(one=IDS, other=IDS)
@example(one=".", other="%2E")
@example(one="/" * 100, other="/" * 101)
@example(one="a/b", other="a_b")
@example(one="/" * 100, other=session_component("/" * 100))
def test_two_ids_never_share_a_component(one: str, other: str) -> None:
    assert (session_component(one) == session_component(other)) == (one == other)
    if one != other:
        assert not session_prefix(one).startswith(session_prefix(other))


@settings(max_examples=200)
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


@settings(max_examples=100)
@given(session_id=IDS, streams=st.tuples(STREAMS, STREAMS), seqs=st.tuples(*[st.integers(1, MAX_SEQ)] * 2))
def test_two_chunks_never_share_a_key(
    session_id: str, streams: tuple[str, str], seqs: tuple[int, int]
) -> None:
    one, other = ((StreamKey(session_id, stream), seq) for stream, seq in zip(streams, seqs, strict=True))
    assert (chunk_key(*one) == chunk_key(*other)) == (one == other)


@settings(max_examples=200)
@given(
    session_id=IDS,
    stream=STREAMS,
    seqs=st.tuples(*[st.integers(1, MAX_SEQ)] * 2),
    segment_format=st.sampled_from(SegmentFormat),
    identity=st.binary(min_size=16, max_size=16),
    distinct=st.sampled_from(["", "~0123abcd"]),
)
def test_a_key_says_what_it_was_made_of(
    session_id: str,
    stream: str,
    seqs: tuple[int, int],
    segment_format: SegmentFormat,
    identity: bytes,
    distinct: str,
) -> None:
    key = StreamKey(session_id, stream)
    first, last = sorted(seqs)
    for kind, name, end in (
        ("chunks", chunk_key(key, first), first),
        ("segments", segment_key(key, first, last, segment_format), last),
        ("conflicts", conflict_key(key, first, identity), first),
    ):
        stem, _, extension = name.rpartition(".")
        wanted = AudioKey(session_component(session_id), kind, stream, first, end, extension)
        assert parse_audio_key(f"{stem}{distinct}.{extension}") == wanted
    assert parse_audio_key(result_key(session_id)) is None


@settings(max_examples=200)
@given(session_id=IDS)
@example(session_id="会" * 128)
@example(session_id="/" * 49 + "é" * 79)
def test_a_component_leads_back_to_its_session(session_id: str) -> None:
    component = session_component(session_id)
    beginning = beginning_of_cut(component)
    if beginning is None:
        assert session_id_of(component) == session_id
    else:
        assert session_id_of(component) is None
        assert session_id.startswith(beginning)
        assert len(beginning) > 10


@given(component=TRICKY)
def test_what_no_session_has_for_a_component_is_nobodys(component: str) -> None:
    found = session_id_of(component)
    assert found is None or session_component(found) == component
