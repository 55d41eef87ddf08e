"""The AsyncAPI 3 document of the sockets of both dialects, made of the frames' own classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import msgspec

from interview_edge.core.declared_utterances import VadState
from interview_edge.errors import ERRORS
from interview_edge.wire import browser_dialect, browser_frames, frames

CLIENT_FRAMES = (frames.Auth, frames.Hello, frames.Status, frames.Ping, frames.Finalize, frames.Close)
SERVER_FRAMES = (
    frames.AuthOk,
    frames.Ready,
    frames.Ack,
    frames.StatusReply,
    frames.Pong,
    frames.Finalized,
    frames.Closing,
    frames.GoingAway,
    frames.EventFrame,
    frames.PartialFrame,
    frames.ErrorFrame,
)
BROWSER_CLIENT_FRAMES = (
    browser_frames.Auth,
    browser_frames.AudioStreamStart,
    browser_frames.AudioStreamEnd,
    browser_frames.Ping,
)
BROWSER_SERVER_FRAMES = get_args(browser_frames.ServerFrame)
_BROWSER = "Browser"  # before the names of its frames: some are those of the other dialect too
_CHUNK = {
    "type": "object",
    "required": [
        "type",
        "meeting_id",
        "seq",
        "timestamp_ms",
        "sample_rate",
        "channels",
        "format",
        "content_b64",
    ],
    "properties": {
        "type": {"const": "chunk"},
        "meeting_id": {"type": "string", "description": "the session id"},
        "seq": {"type": "integer", "minimum": 1, "maximum": 2**31 - 1},
        "timestamp_ms": {"type": "number", "exclusiveMinimum": 0},
        "sample_rate": {"const": 16_000},
        "channels": {"const": 1},
        "format": {"const": "pcm_s16le"},
        "content_b64": {"type": "string", "contentEncoding": "base64"},
        "final": {
            "type": "boolean",
            "default": False,
            "description": "ends the stream; may be shorter than a second",
        },
    },
}
_AUDIO = {
    "type": "object",
    "required": ["type", "data"],
    "properties": {
        "type": {"const": "audio_chunk"},
        "data": {
            "type": "string",
            "contentEncoding": "base64",
            "description": "s16le mono at 16 kHz, whole samples, 0 to 32,000 bytes",
        },
        "vad_state": {"enum": [state.value for state in VadState]},
        "vad_offset_ms": {
            "type": "number",
            "minimum": browser_dialect.MIN_OFFSET_MS,
            "maximum": browser_dialect.MAX_OFFSET_MS,
        },
        "asr_prompt": {"type": "string", "maxLength": browser_dialect.MAX_PROMPT},
    },
}
_BINARY = (
    "One second of audio as a binary message: a little-endian header (magic `IE`, version u8 = 1, flags u8 "
    "with bit 0 = final, seq u32, timestamp_ms u64), then the PCM."
)


def make_asyncapi(version: str) -> dict[str, Any]:
    """The document. Directions are the server's: it receives client frames and sends server frames."""
    schemas = _schemas((*CLIENT_FRAMES, *SERVER_FRAMES), "") | {"ChunkText": _CHUNK}
    schemas |= _schemas((*BROWSER_CLIENT_FRAMES, *BROWSER_SERVER_FRAMES), _BROWSER)
    schemas[f"{_BROWSER}AudioChunk"] = _AUDIO
    received = ["ChunkText", "ChunkBinary", *_names(CLIENT_FRAMES, "")]
    sent = _names(SERVER_FRAMES, "")
    from_browser = [f"{_BROWSER}AudioChunk", *_names(BROWSER_CLIENT_FRAMES, _BROWSER)]
    to_browser = _names(BROWSER_SERVER_FRAMES, _BROWSER)
    messages: dict[str, Any] = {
        name: {"contentType": "application/json", "payload": {"$ref": f"#/components/schemas/{name}"}}
        for name in (*received, *sent, *from_browser, *to_browser)
        if name != "ChunkBinary"
    }
    messages["ChunkBinary"] = {"contentType": "application/octet-stream", "summary": _BINARY}
    channels = {
        "mixed": ("/v1/audio/ws/{session_id}", ["session_id"], received, sent),
        "stream": ("/v1/audio/ws/{session_id}/{stream}", ["session_id", "stream"], received, sent),
        "browser": ("/api/ws", [], from_browser, to_browser),
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "interview-edge audio sockets",
            "version": version,
            "description": "Error codes: " + ", ".join(sorted(ERRORS)),
        },
        "channels": {
            channel: _channel(address, parameters, [*taken, *told])
            for channel, (address, parameters, taken, told) in channels.items()
        },
        "operations": {
            f"{action}_{channel}": {
                "action": action,
                "channel": {"$ref": f"#/channels/{channel}"},
                "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in names],
            }
            for channel, (_, _, taken, told) in channels.items()
            for action, names in (("receive", taken), ("send", told))
        },
        "components": {"messages": messages, "schemas": schemas},
    }


def _schemas(structs: Sequence[type[msgspec.Struct]], prefix: str) -> dict[str, Any]:
    _, found = msgspec.json.schema_components(structs, ref_template=f"#/components/schemas/{prefix}{{name}}")
    return {prefix + name: schema for name, schema in found.items()}


def _names(structs: Sequence[type[msgspec.Struct]], prefix: str) -> list[str]:
    return [prefix + frame.__name__ for frame in structs]


def _channel(address: str, parameters: list[str], names: list[str]) -> dict[str, Any]:
    return {
        "address": address,
        "parameters": {name: {} for name in parameters},
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
    }
