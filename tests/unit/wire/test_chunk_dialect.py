"""What the golden files can't show: the order of checks, kinds of buffers, the limits' inner edges."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from interview_edge.errors import EdgeError
from interview_edge.wire.chunk_dialect import (
    MAX_SEQ,
    MAX_TIMESTAMP_MS,
    decode,
    decode_binary,
    decode_server,
    decode_text,
    encode_chunk_binary,
    encode_chunk_text,
)
from interview_edge.wire.frames import ChunkFrame, Close, Closing, fit_close_reason

PCM = bytes(32_000)

# The contract's order; each value breaks exactly the rule of its field.
BROKEN: dict[str, tuple[Any, str]] = {
    "meeting_id": (None, "meeting_required"),
    "seq": (0, "invalid_seq"),
    "timestamp_ms": (0, "invalid_timestamp"),
    "sample_rate": (8_000, "invalid_sample_rate"),
    "channels": (2, "invalid_channels"),
    "format": ("wav", "invalid_format"),
    "content_b64": (None, "content_required"),
}


def whole_chunk(**changes: Any) -> dict[str, Any]:
    return json.loads(encode_chunk_text(ChunkFrame(1, 1, False, PCM), session_id="s")) | changes


def code_of(message: dict[str, Any]) -> str:
    with pytest.raises(EdgeError) as caught:
        decode(json.dumps(message), session_id="s")
    return caught.value.kind.code


@pytest.mark.parametrize(("first", "second"), [*itertools.combinations(BROKEN, 2)])
def test_first_broken_rule_is_the_one_told(first: str, second: str) -> None:
    message = whole_chunk(**{first: BROKEN[first][0], second: BROKEN[second][0]})

    assert code_of(message) == BROKEN[first][1]


def test_order_of_the_last_four_rules() -> None:
    wrong = {"meeting_id": "t", "final": 1, "content_b64": "A"}

    assert code_of(whole_chunk(**wrong, format="wav")) == "invalid_format"
    assert code_of(whole_chunk(**wrong)) == "meeting_mismatch"
    assert code_of(whole_chunk(**wrong | {"meeting_id": "s"})) == "invalid_field"
    assert code_of(whole_chunk(content_b64="A")) == "invalid_base64"
    assert code_of(whole_chunk(content_b64="AAAA")) == "chunk_length"


@pytest.mark.parametrize("buffer", [bytes, bytearray, lambda data: memoryview(bytearray(data))])
def test_any_buffer_is_read_and_not_kept(buffer: Any) -> None:
    chunk = ChunkFrame(3, 4, False, PCM)
    text = buffer(encode_chunk_text(chunk, session_id="s").encode())
    binary = buffer(encode_chunk_binary(chunk))

    for read in (decode_text(text, session_id="s"), decode_binary(binary)):
        assert read == chunk
        assert isinstance(read, ChunkFrame)
        assert memoryview(read.pcm).readonly


@pytest.mark.parametrize(
    "chunk", [ChunkFrame(MAX_SEQ, MAX_TIMESTAMP_MS, True, b"\1\2"), ChunkFrame(1, 1, True, PCM)]
)
def test_limits_are_inside(chunk: ChunkFrame) -> None:
    assert decode(encode_chunk_text(chunk, session_id="s"), session_id="s") == chunk
    assert decode(encode_chunk_binary(chunk), session_id="s") == chunk


def test_session_id_of_any_unicode() -> None:
    session_id = '面试 "1"\\/\n\U0001f399'
    chunk = ChunkFrame(1, 1, False, PCM)

    assert decode(encode_chunk_text(chunk, session_id=session_id), session_id=session_id) == chunk


def test_content_of_a_nested_object_is_not_the_chunk() -> None:
    message = whole_chunk()
    nested = {"other": {"content_b64": message.pop("content_b64")}} | message

    assert code_of(nested) == "content_required"
    assert code_of(nested | {"content_b64": ""}) == "content_required"


def test_bytes_that_are_not_utf8_are_not_json() -> None:
    for text in (b'{"type":"ping","x":"\xff"}', b'{"type":"\xed\xa0\x80"}'):
        with pytest.raises(EdgeError, match="frame_not_json"):
            decode_text(text, session_id="s")


def test_server_frame_of_a_newer_server_is_none() -> None:
    assert decode_server('{"type":"weather","sun":true}') is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"type":"ack"}', '{"type":5}', '{"type":' + "[" * 20_000])
def test_what_is_no_server_frame_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="not a frame"):
        decode_server(text)


def test_closing_reason() -> None:
    assert Closing.of(Close("")).reason == "client-close"
    assert Closing.of(Close("x" * 121)).reason == "x" * 120


def test_close_reason_fits_a_close_frame() -> None:
    assert fit_close_reason("bye") == "bye"
    assert fit_close_reason("再" * 120) == "再" * 41
