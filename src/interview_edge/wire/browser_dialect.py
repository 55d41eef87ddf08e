"""The browser dialect: text messages to typed frames and back (contract stream.md). No I/O.

A message that breaks a rule raises `EdgeError`, whatever the bytes, and its detail never repeats what came.
How JSON, numbers and base64 are read: as in the chunk dialect (chunk_dialect.py); null counts as absent.
"""

from __future__ import annotations

import binascii
from typing import Any

import msgspec
import pybase64
from msgspec import UNSET, UnsetType

from interview_edge.core.declared_utterances import Mark, VadState
from interview_edge.core.keys import MAX_SESSION_ID
from interview_edge.core.pcm import CHUNK_BYTES, SAMPLE_BYTES
from interview_edge.errors import (
    CHUNK_LENGTH,
    CONTENT_REQUIRED,
    FRAME_NOT_TEXT,
    INVALID_BASE64,
    INVALID_FIELD,
    MISSING_AUTH,
    UNSUPPORTED_TYPE,
    EdgeError,
)
from interview_edge.wire.auth_frame import MAX_AUTH_BYTES
from interview_edge.wire.browser_frames import (
    AudioChunk,
    AudioStreamEnd,
    AudioStreamStart,
    Auth,
    ClientFrame,
    Ping,
    ServerFrame,
)
from interview_edge.wire.json_objects import parse_object

# A piece is a second at most; pre-roll is an utterance at most.
MIN_OFFSET_MS, MAX_OFFSET_MS = -30_000, 1_000
MAX_PROMPT = 2_000  # characters; Whisper reads the last 224 tokens of a prompt

_STATES = {state.value: state for state in VadState}


class _Fields(msgspec.Struct, gc=False):
    """A JSON object's known fields, not yet judged; others are skipped unread."""

    type: Any = UNSET
    ticket: Any = UNSET
    session_id: Any = UNSET
    data: Any = UNSET
    vad_state: Any = UNSET
    vad_offset_ms: Any = UNSET
    asr_prompt: Any = UNSET


_fields_decoder = msgspec.json.Decoder(_Fields)
_server_decoder: msgspec.json.Decoder[ServerFrame] = msgspec.json.Decoder(ServerFrame)
_encoder = msgspec.json.Encoder()


# -- reading what a client sent


def decode(data: bytes, *, text: bool) -> ClientFrame:
    """The frame in one message; `data` of a text one is its UTF-8.

    Raises EdgeError: frame_not_text, frame_not_json, frame_not_object, unsupported_type, content_required,
    invalid_base64, chunk_length, invalid_field.
    """
    if not text:
        raise EdgeError(FRAME_NOT_TEXT)
    fields = parse_object(_fields_decoder, data)
    match fields.type:
        case "audio_chunk":
            return _audio_chunk(fields)
        case "ping":
            return Ping()
        case "audio_stream_start":
            return AudioStreamStart(_session_id(fields.session_id))
        case "audio_stream_end":
            return AudioStreamEnd()
        case "auth":
            return _auth(fields.ticket)
    raise EdgeError(UNSUPPORTED_TYPE, "unsupported message type")


def decode_auth(data: bytes, *, text: bool) -> Auth:
    """The first frame. Raises EdgeError(missing_auth) for any other."""
    if len(data) <= MAX_AUTH_BYTES:
        try:
            frame = decode(data, text=text)
        except EdgeError:
            raise EdgeError(MISSING_AUTH) from None
        if isinstance(frame, Auth):
            return frame
    raise EdgeError(MISSING_AUTH)


def _auth(ticket: Any) -> Auth:
    if _absent(ticket):
        return Auth()
    if not isinstance(ticket, str) or not ticket:
        raise EdgeError(INVALID_FIELD, "frame.ticket must be a string that isn't empty")
    return Auth(ticket)


def _session_id(value: Any) -> str | UnsetType:
    if _absent(value):
        return UNSET
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_SESSION_ID:
        raise EdgeError(INVALID_FIELD, f"frame.session_id must be a string of 1..{MAX_SESSION_ID} characters")
    return value


def _audio_chunk(fields: _Fields) -> AudioChunk:
    pcm = _pcm(fields.data)
    try:
        return AudioChunk(pcm, _mark(fields.vad_state, fields.vad_offset_ms), _prompt(fields.asr_prompt))
    except EdgeError as error:
        # Without its traceback, whose frames hold the audio.
        return AudioChunk(pcm, fault=error.with_traceback(None))


def _pcm(data: Any) -> bytes:
    if not isinstance(data, str):
        raise EdgeError(CONTENT_REQUIRED, "frame.data is required")
    try:
        pcm = pybase64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise EdgeError(INVALID_BASE64, "frame.data is not valid base64") from None
    if len(pcm) > CHUNK_BYTES or len(pcm) % SAMPLE_BYTES:
        detail = f"frame.data must be an even number of bytes, 0..{CHUNK_BYTES}, got {len(pcm)}"
        raise EdgeError(CHUNK_LENGTH, detail)
    return pcm


def _mark(state: Any, offset_ms: Any) -> Mark | None:
    if _absent(state):
        return None
    if not isinstance(state, str) or state not in _STATES:
        raise EdgeError(INVALID_FIELD, f"frame.vad_state must be one of {', '.join(_STATES)}")
    if _absent(offset_ms):
        return Mark(_STATES[state])
    if type(offset_ms) not in (int, float) or not MIN_OFFSET_MS <= offset_ms <= MAX_OFFSET_MS:
        raise EdgeError(
            INVALID_FIELD, f"frame.vad_offset_ms must be a number, {MIN_OFFSET_MS}..{MAX_OFFSET_MS}"
        )
    return Mark(_STATES[state], int(offset_ms))


def _prompt(value: Any) -> str | None:
    if _absent(value):
        return None
    if not isinstance(value, str) or len(value) > MAX_PROMPT:
        raise EdgeError(
            INVALID_FIELD, f"frame.asr_prompt must be a string of at most {MAX_PROMPT} characters"
        )
    return value


def _absent(value: Any) -> bool:
    return value is UNSET or value is None


# -- writing what a server sends


def encode_utf8(frame: ServerFrame) -> bytes:
    """The text message of a server frame, as the UTF-8 that goes on the wire."""
    return _encoder.encode(frame)


# -- the client's side


def encode_client(frame: Auth | AudioStreamStart | AudioStreamEnd | Ping) -> bytes:
    """The text message of a client frame other than audio."""
    return _encoder.encode(frame)


def encode_audio(pcm: bytes, mark: Mark | None = None, prompt: str | None = None) -> bytes:
    """The text message of audio, at most a second of whole samples."""
    fields: dict[str, Any] = {"type": "audio_chunk", "data": pybase64.b64encode(pcm).decode()}
    if mark is not None:
        fields["vad_state"] = mark.state.value
        if mark.offset_ms is not None:
            fields["vad_offset_ms"] = mark.offset_ms
    if prompt is not None:
        fields["asr_prompt"] = prompt
    return _encoder.encode(fields)


def decode_server(text: str | bytes) -> ServerFrame:
    """The frame that a server sent. Raises msgspec.DecodeError for what is none."""
    return _server_decoder.decode(text)
