"""The AsyncAPI 3 document of the audio socket, made of the frames' own classes."""

from __future__ import annotations

from typing import Any

import msgspec

from interview_edge.errors import ERRORS
from interview_edge.wire import frames

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
    frames.ErrorFrame,
)
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
_BINARY = (
    "One second of audio as a binary message: a little-endian header (magic `IE`, version u8 = 1, flags u8 "
    "with bit 0 = final, seq u32, timestamp_ms u64), then the PCM."
)


def make_asyncapi(version: str) -> dict[str, Any]:
    """The document. Directions are the server's: it receives client frames and sends server frames."""
    _, schemas = msgspec.json.schema_components(
        (*CLIENT_FRAMES, *SERVER_FRAMES), ref_template="#/components/schemas/{name}"
    )
    schemas["ChunkText"] = _CHUNK
    received = ["ChunkText", "ChunkBinary", *(frame.__name__ for frame in CLIENT_FRAMES)]
    sent = [frame.__name__ for frame in SERVER_FRAMES]
    messages: dict[str, Any] = {
        name: {"contentType": "application/json", "payload": {"$ref": f"#/components/schemas/{name}"}}
        for name in (*received, *sent)
        if name != "ChunkBinary"
    }
    messages["ChunkBinary"] = {"contentType": "application/octet-stream", "summary": _BINARY}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "interview-edge audio socket",
            "version": version,
            "description": "Error codes: " + ", ".join(sorted(ERRORS)),
        },
        "channels": {
            "mixed": _channel("/v1/audio/ws/{session_id}", ["session_id"], [*received, *sent]),
            "stream": _channel(
                "/v1/audio/ws/{session_id}/{stream}", ["session_id", "stream"], [*received, *sent]
            ),
        },
        "operations": {
            f"{action}_{channel}": {
                "action": action,
                "channel": {"$ref": f"#/channels/{channel}"},
                "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in names],
            }
            for channel in ("mixed", "stream")
            for action, names in (("receive", received), ("send", sent))
        },
        "components": {"messages": messages, "schemas": schemas},
    }


def _channel(address: str, parameters: list[str], names: list[str]) -> dict[str, Any]:
    return {
        "address": address,
        "parameters": {name: {} for name in parameters},
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
    }
