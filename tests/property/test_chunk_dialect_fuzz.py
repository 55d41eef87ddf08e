"""The decoder under any input: a frame or an `EdgeError`; the quick way never differs from the full parse."""

from __future__ import annotations

import base64
import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from interview_edge.errors import EdgeError
from interview_edge.wire import chunk_dialect
from interview_edge.wire.chunk_dialect import HEADER, MAGIC, decode, decode_text, encode_chunk_binary
from interview_edge.wire.frames import ChunkFrame

SESSION = "s-1"
PCM = bytes(range(250)) * 128

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
contents = st.sampled_from(
    [base64.b64encode(PCM).decode(), "AAA=", "AA==", "AAAA", "", "A", "AA/+", "A\\u0041AA", "é", "\x01AAA"]
)


def known_or(good: Any) -> st.SearchStrategy[Any]:
    return st.just(good) | json_values


chunks = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["chunk", "chunk", "chunk", "hello", "close", "finalize", "ping"]),
        "meeting_id": known_or(SESSION),
        "seq": known_or(5) | st.integers(-1, 2**31),
        "timestamp_ms": known_or(1.5),
        "sample_rate": known_or(16_000),
        "channels": known_or(1),
        "format": known_or("pcm_s16le"),
        "content_b64": contents | json_values,
    },
    optional={
        "final": known_or(True),
        "last_seq": json_values,
        "metadata": json_values,
        "reason": json_values,
        "events": json_values,
        "nested": st.fixed_dictionaries({"content_b64": contents}),
        "content": st.just('"content_b64":"AAAA"'),
    },
)


@st.composite
def spelled(draw: st.DrawFn) -> str:
    """A frame's fields in any order and spacing, some keys twice or spelled with escapes."""
    items = draw(st.permutations(sorted(draw(chunks).items())))
    if draw(st.booleans()):
        items = [*items, draw(st.sampled_from(items))]
    ascii_ = draw(st.booleans())
    colon, comma = draw(st.sampled_from([(":", ","), (" : ", ",\n"), (":\t", ", ")]))
    text = (
        "{"
        + comma.join(f"{json.dumps(k)}{colon}{json.dumps(v, ensure_ascii=ascii_)}" for k, v in items)
        + "}"
    )
    if draw(st.booleans()):
        text = text.replace('"content_b64"', '"content\\u005fb64"', 1)
    return text


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A spelled frame with a few characters put in, taken out or exchanged."""
    text = draw(spelled())
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)) | st.integers(0, min(len(text), 150)))
        cut = draw(st.integers(0, 3))
        put = draw(
            st.sampled_from(['"', "\\", "{", "}", ",", ":", "[", '"content_b64":"', "\ud800", "é", "0", ""])
        )
        text = text[:at] + put + text[at + cut :]
    return text


def outcome(read: Any, *args: Any, **kwargs: Any) -> Any:
    """The frame, or what the error tells."""
    try:
        return read(*args, **kwargs)
    except EdgeError as error:
        return error.kind.code, error.detail, dict(error.fields)


def around(*fields: str) -> str:
    """A whole chunk's frame with these fields around, as written."""
    head = '"type":"chunk","meeting_id":"s-1","seq":5,"timestamp_ms":1'
    kind = '"sample_rate":16000,"channels":1,"format":"pcm_s16le","final":true'
    return "{" + ",".join((head, *fields, kind)) + "}"


@example(around('"content_b64":"AAA="'))
@example(around('"content_b64":"AAA="', '"content_b64":""'))
@example(around('"content_b64":"AAA="', r'"content\u005fb64":""'))
@example(around('"other":{"content_b64":"AAA="}', '"content_b64":""'))
@example(around('"other":{"content_b64":"AAA="}', r'"content\u005fb64":""'))
@example(around(r'"other":"\"content_b64\":\"AAA="', '"content_b64":""'))
@example(around('"content_b64":"AAA="', r'"other":"\\"'))
@given(spelled() | damaged())
def test_the_quick_way_is_the_full_parse(text: str) -> None:
    assert outcome(decode_text, text, session_id=SESSION) == outcome(chunk_dialect._parse_text, text, SESSION)


@given(spelled() | damaged().filter(lambda text: "\ud800" not in text))
def test_utf8_bytes_mean_what_their_text_means(text: str) -> None:
    as_text = outcome(decode_text, text, session_id=SESSION)

    assert outcome(decode_text, text.encode(), session_id=SESSION) == as_text
    assert outcome(decode_text, memoryview(text.encode()), session_id=SESSION) == as_text


def test_the_quick_way_is_taken() -> None:
    """Else the equivalence above would hold by doing nothing."""
    chunk = ChunkFrame(5, 6, False, PCM)
    text = chunk_dialect.encode_chunk_text(chunk, session_id=SESSION)

    assert chunk_dialect._scan_chunk(text, SESSION) == chunk
    assert chunk_dialect._scan_chunk(text.encode(), SESSION) == chunk
    assert chunk_dialect._scan_chunk(json.dumps(json.loads(text), indent=1), SESSION) == chunk


@given(st.text() | st.binary() | json_values.map(json.dumps))
def test_anything_is_a_frame_or_an_edge_error(message: str | bytes) -> None:
    outcome(decode, message, session_id=SESSION)
    if isinstance(message, bytes):
        outcome(decode_text, message, session_id=SESSION)


@given(st.binary(max_size=40), st.integers(0, 2))
def test_any_bytes_behind_the_magic(rest: bytes, cut: int) -> None:
    outcome(decode, (MAGIC + rest)[cut:], session_id=SESSION)


@given(st.integers(0, HEADER.size * 8 - 1), st.booleans())
def test_a_flipped_bit_in_a_binary_header_is_refused_or_another_number(bit: int, final: bool) -> None:
    message = bytearray(encode_chunk_binary(ChunkFrame(5, 6, final, PCM)))
    message[bit // 8] ^= 1 << bit % 8

    result = outcome(decode, bytes(message), session_id=SESSION)

    if isinstance(result, ChunkFrame):
        assert result.pcm == PCM
        assert (result.seq, result.timestamp_ms, result.final) != (5, 6, final)


@given(st.integers(0, HEADER.size + len(PCM) - 1))
def test_a_truncated_binary_chunk_is_refused(length: int) -> None:
    message = encode_chunk_binary(ChunkFrame(5, 6, False, PCM))[:length]

    assert isinstance(outcome(decode, message, session_id=SESSION), tuple)


@given(
    st.integers(1, 2**31 - 1),
    st.integers(1, 2**53 - 1),
    st.binary(min_size=1, max_size=100).map(lambda data: data * 2),
    st.text(min_size=1, max_size=128),
)
def test_both_spellings_bring_a_chunk_over(seq: int, timestamp_ms: int, pcm: bytes, session_id: str) -> None:
    chunk = ChunkFrame(seq, timestamp_ms, True, pcm)

    text = chunk_dialect.encode_chunk_text(chunk, session_id=session_id)
    assert decode(text, session_id=session_id) == chunk
    assert decode(encode_chunk_binary(chunk), session_id=session_id) == chunk
