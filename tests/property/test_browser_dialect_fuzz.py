"""The browser dialect's decoder under any input: a frame or an `EdgeError` that shows nothing of it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from interview_edge.core.declared_utterances import Mark, VadState
from interview_edge.core.pcm import CHUNK_BYTES
from interview_edge.errors import EdgeError
from interview_edge.wire.browser_dialect import decode, encode_audio
from interview_edge.wire.browser_frames import AudioChunk, ClientFrame

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
MARKER = "PAYLOAD"
contents = st.sampled_from(["", "AAAA", "AAA=", "AAECAw==", "A", "AA/+", "é", "\x01AAA", f"{MARKER}="])
frames = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            ["audio_chunk", "audio_chunk", "audio_stream_start", "audio_stream_end", "auth", "ping", MARKER]
        )
        | json_values
    },
    optional={
        "ticket": json_values,
        "session_id": json_values | st.just(MARKER * 30),
        "data": contents | json_values,
        "vad_state": st.sampled_from([*(state.value for state in VadState), MARKER]) | json_values,
        "vad_offset_ms": st.integers(-40_000, 2_000) | json_values,
        "asr_prompt": st.just(MARKER * 300) | json_values,
        "nested": st.fixed_dictionaries({"data": contents}),
    },
)


def outcome(data: bytes, *, text: bool = True) -> ClientFrame | EdgeError:
    try:
        return decode(data, text=text)
    except EdgeError as error:
        return error


def check(found: ClientFrame | EdgeError) -> None:
    """What is refused leaves the socket open and repeats nothing; audio is what the contract allows."""
    error = found.fault if isinstance(found, AudioChunk) else found
    if isinstance(error, EdgeError):
        assert error.kind.close is None
        assert MARKER not in str(error)
    if isinstance(found, AudioChunk):
        assert len(found.pcm) <= CHUNK_BYTES
        assert len(found.pcm) % 2 == 0


@given(frames.map(json.dumps))
def test_frames_of_any_fields(text: str) -> None:
    check(outcome(text.encode()))


@given(frames.map(json.dumps), st.data())
def test_damaged_frames(text: str, data: st.DataObject) -> None:
    damaged = bytearray(text.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged)))
        damaged[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    check(outcome(bytes(damaged)))


@given(st.binary() | st.text().map(str.encode) | json_values.map(lambda value: json.dumps(value).encode()))
def test_anything_at_all(data: bytes) -> None:
    check(outcome(data))
    assert isinstance(outcome(data, text=False), EdgeError)


@given(
    st.binary(max_size=64).map(lambda data: data * 2),
    st.none() | st.builds(Mark, st.sampled_from(VadState), st.none() | st.integers(-30_000, 1_000)),
    st.none() | st.text(max_size=100),
)
def test_audio_comes_over(pcm: bytes, mark: Mark | None, prompt: str | None) -> None:
    assert decode(encode_audio(pcm, mark, prompt), text=True) == AudioChunk(pcm, mark, prompt)


def test_the_longest_piece_comes_over() -> None:
    pcm: Any = bytes(range(250)) * 128
    assert decode(encode_audio(pcm), text=True) == AudioChunk(pcm)
