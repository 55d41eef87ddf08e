"""The browser dialect, byte for byte: files in tests/golden/browser_dialect, written without the code under
test.

client/ and server/ hold frames as they are sent, refused/ what must be refused, refused.json how.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec import UNSET

from interview_edge.core.declared_utterances import Mark, VadState
from interview_edge.errors import FRAME_NOT_JSON, INVALID_FIELD, MISSING_AUTH, EdgeError
from interview_edge.wire import browser_dialect
from interview_edge.wire.auth_frame import MAX_AUTH_BYTES
from interview_edge.wire.browser_frames import (
    AudioChunk,
    AudioStreamEnd,
    AudioStreamEndAck,
    AudioStreamStart,
    AudioStreamStartAck,
    Auth,
    AuthError,
    AuthSuccess,
    ClientFrame,
    Error,
    Performance,
    Ping,
    Pong,
    ServerFrame,
    TranscriptionError,
    TranscriptionResult,
    VadCacheEnd,
    VadCacheStart,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "browser_dialect"
PCM = b"\x00\x01\x02\x03"
AT = 1_700_000_009_000

CLIENT_FRAMES: dict[str, ClientFrame] = {
    "auth.json": Auth("3vVQ"),
    "auth_bare.json": Auth(),
    "start.json": AudioStreamStart(),
    "start_named.json": AudioStreamStart("interview-42"),
    "audio.json": AudioChunk(PCM),
    "audio_empty.json": AudioChunk(b""),
    "audio_start.json": AudioChunk(PCM, Mark(VadState.START, -300)),
    "audio_end.json": AudioChunk(PCM, Mark(VadState.END, 40)),
    "audio_trigger.json": AudioChunk(PCM, Mark(VadState.CACHE_ASR_TRIGGER), "面试"),
    "audio_drop.json": AudioChunk(b"", Mark(VadState.CACHE_ASR_DROP)),
    "end.json": AudioStreamEnd(),
    "ping.json": Ping(),
}
# Read, but not how we write it: other clients' spellings.
OTHER_SPELLINGS: dict[str, ClientFrame] = {
    "auth_null.json": Auth(),
    "start_null.json": AudioStreamStart(),
    "audio_nulls.json": AudioChunk(PCM),
    "audio_fraction.json": AudioChunk(PCM, Mark(VadState.START, 12)),
}
SERVER_FRAMES: dict[str, ServerFrame] = {
    "auth_success.json": AuthSuccess("alice", AT),
    "auth_error.json": AuthError("Authentication required", AT),
    "start_ack.json": AudioStreamStartAck(AT, "alice", "interview-42"),
    "vad_cache_start.json": VadCacheStart(),
    "vad_cache_end.json": VadCacheEnd(AT),
    "result.json": TranscriptionResult(
        text="你好",
        speech_start_ms=1_200,
        speech_end_ms=3_400,
        timestamp=AT,
        is_prefetch=False,
        performance=Performance(512.5, 1.5, 511.0, AT - 1, "openai"),
        utterance_id="mixed-7",
    ),
    "transcription_error.json": TranscriptionError(
        error="no transcription provider is configured; audio is stored",
        timestamp=AT,
        utterance_id="mixed-7",
    ),
    "transcription_error_prefetch.json": TranscriptionError(
        error="the provider failed", timestamp=AT, utterance_id="mixed-7", details="503", is_prefetch=True
    ),
    "end_ack.json": AudioStreamEndAck(128, AT),
    "pong.json": Pong(AT),
    "error.json": Error.of(EdgeError(FRAME_NOT_JSON)),
}
REFUSED: dict[str, dict[str, str]] = json.loads((GOLDEN / "refused.json").read_text())


def read(folder: str, name: str) -> bytes:
    return (GOLDEN / folder / name).read_bytes()


def encode_client(frame: ClientFrame) -> bytes:
    if isinstance(frame, AudioChunk):
        return browser_dialect.encode_audio(frame.pcm, frame.mark, frame.prompt)
    return browser_dialect.encode_client(frame)


def test_every_golden_file_has_its_row() -> None:
    def names(folder: str) -> set[str]:
        return {path.name for path in (GOLDEN / folder).iterdir()}

    assert names("client") == {*CLIENT_FRAMES, *OTHER_SPELLINGS}
    assert names("server") == set(SERVER_FRAMES)
    assert names("refused") == set(REFUSED)


@pytest.mark.parametrize("name", [*CLIENT_FRAMES, *OTHER_SPELLINGS])
def test_client_frame_is_read(name: str) -> None:
    frame = browser_dialect.decode(read("client", name), text=True)
    assert frame == (CLIENT_FRAMES | OTHER_SPELLINGS)[name]


@pytest.mark.parametrize("name", CLIENT_FRAMES)
def test_client_frame_is_written(name: str) -> None:
    assert encode_client(CLIENT_FRAMES[name]) == read("client", name)


@pytest.mark.parametrize("name", SERVER_FRAMES)
def test_server_frame_is_written_and_read(name: str) -> None:
    assert browser_dialect.encode_utf8(SERVER_FRAMES[name]) == read("server", name)
    assert browser_dialect.decode_server(read("server", name)) == SERVER_FRAMES[name]


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    with pytest.raises(EdgeError) as caught:
        browser_dialect.decode(read("refused", name), text=not name.endswith(".bin"))
    error = caught.value
    assert {"code": error.kind.code, "detail": error.detail} == REFUSED[name]
    assert error.kind.close is None, "the socket stays open for a bad frame"


MARKS = "frame.vad_state must be one of start, end, cache_asr_trigger, cache_asr_drop"
OFFSETS = "frame.vad_offset_ms must be a number, -30000..1000"
PROMPTS = "frame.asr_prompt must be a string of at most 2000 characters"


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"vad_state": "secret"}, MARKS),
        ({"vad_state": ["start"]}, MARKS),
        ({"vad_state": "start", "vad_offset_ms": "5"}, OFFSETS),
        ({"vad_state": "start", "vad_offset_ms": True}, OFFSETS),
        ({"vad_state": "start", "vad_offset_ms": -30_001}, OFFSETS),
        ({"vad_state": "end", "vad_offset_ms": 1_001}, OFFSETS),
        ({"asr_prompt": 7}, PROMPTS),
        ({"asr_prompt": "x" * 2_001}, PROMPTS),
    ],
)
def test_audio_counts_whatever_is_said_of_it(fields: dict[str, object], detail: str) -> None:
    message = json.dumps({"type": "audio_chunk", "data": "AAECAw=="} | fields).encode()
    frame = browser_dialect.decode(message, text=True)
    assert isinstance(frame, AudioChunk)
    assert (frame.pcm, frame.mark, frame.prompt) == (PCM, None, None)
    assert frame.fault is not None
    assert (frame.fault.kind, frame.fault.detail) == (INVALID_FIELD, detail)


def test_a_ticket_is_not_shown() -> None:
    assert "3vVQ" not in repr(Auth("3vVQ"))


@pytest.mark.parametrize(
    "message",
    [
        b'{"type":"ping"}',
        b"{",
        b'{"type":"auth","ticket":7}',
        b'{"type":"auth","ticket":"' + b"x" * MAX_AUTH_BYTES + b'"}',
    ],
)
def test_anything_but_auth_is_no_first_frame(message: bytes) -> None:
    with pytest.raises(EdgeError) as refused:
        browser_dialect.decode_auth(message, text=True)
    assert refused.value.kind is MISSING_AUTH


def test_the_first_frame_is_read() -> None:
    assert browser_dialect.decode_auth(b'{"type":"auth","ticket":"t"}', text=True) == Auth("t")
    assert browser_dialect.decode_auth(b'{"type":"auth"}', text=True).ticket is UNSET
