"""The chunk dialect: messages of a WebSocket to typed frames and back. Pure functions, no I/O.

Source of every rule: contract ingest.md, WebSocket. A message that breaks one raises `EdgeError` with the
contract's detail, for the first broken rule in the contract's order; nothing else is ever raised, whatever
the bytes.

Where the contract leaves a choice:
- JSON is msgspec's: UTF-8, no NaN or Infinity, no BOM, no lone surrogates (I-JSON, RFC 7493); of a repeated
  key the last counts. What can't be represented (a number over a double, nesting over the recursion limit) is
  not valid JSON.
- An integer may be spelled as a float (`1.0`), as in JavaScript; `true` is not a number.
- base64 is the standard alphabet, padded, without white space.
- Times are whole milliseconds inside; a fraction is cut off.
"""

from __future__ import annotations

import binascii
import re
import struct
from typing import Any, get_args

import msgspec
import pybase64
from msgspec import UNSET, UnsetType

from interview_edge.core.pcm import CHUNK_BYTES, FORMAT, SAMPLE_BYTES, SAMPLE_RATE
from interview_edge.errors import (
    CHUNK_LENGTH,
    CONTENT_REQUIRED,
    FRAME_NOT_TEXT,
    INVALID_BASE64,
    INVALID_CHANNELS,
    INVALID_FIELD,
    INVALID_FORMAT,
    INVALID_HEADER,
    INVALID_SAMPLE_RATE,
    INVALID_SEQ,
    INVALID_TIMESTAMP,
    MEETING_MISMATCH,
    MEETING_REQUIRED,
    UNSUPPORTED_TYPE,
    EdgeError,
    ErrorKind,
)
from interview_edge.wire.frames import (
    CHANNELS,
    ChunkFrame,
    ClientFrame,
    Close,
    Finalize,
    Hello,
    Ping,
    ServerFrame,
    Status,
)
from interview_edge.wire.json_objects import parse_object

BytesLike = bytes | bytearray | memoryview

MAX_SEQ = 2**31 - 1
# What a JSON number carries exactly (and, far above it, what SQLite's integers hold).
MAX_TIMESTAMP_MS = 2**53 - 1
MAX_TYPE_ECHOED = 100  # characters of an unknown type: an answer must not grow with the frame

MAGIC = b"IE"
BINARY_VERSION = 1
FLAG_FINAL = 0x01
HEADER = struct.Struct("<2sBBIQ")  # magic, version, flags, seq, timestamp_ms


class _Fields(msgspec.Struct, gc=False):
    """A JSON object's known fields, not yet judged; others are skipped unread."""

    type: Any = UNSET
    meeting_id: Any = UNSET
    seq: Any = UNSET
    timestamp_ms: Any = UNSET
    sample_rate: Any = UNSET
    channels: Any = UNSET
    format: Any = UNSET
    content_b64: Any = UNSET
    final: Any = UNSET
    events: Any = UNSET
    resolve: Any = UNSET
    last_seq: Any = UNSET
    metadata: Any = UNSET
    reason: Any = UNSET


_fields_decoder = msgspec.json.Decoder(_Fields)
_server_decoder: msgspec.json.Decoder[ServerFrame] = msgspec.json.Decoder(ServerFrame)
_SERVER_TYPES = frozenset(frame.__struct_config__.tag for frame in get_args(ServerFrame))
_encoder = msgspec.json.Encoder()


# -- reading what a client sent


def decode(message: str | BytesLike, *, session_id: str) -> ClientFrame:
    """The frame in one WebSocket message: text as `str`, binary as bytes.

    Raises `EdgeError`; `fields["seq"]` is set from the moment the chunk's seq is known to be valid.
    """
    if isinstance(message, str):
        return decode_text(message, session_id=session_id)
    return decode_binary(message)


def decode_text(data: str | BytesLike, *, session_id: str) -> ClientFrame:
    """The frame in a text message, given as `str` or as its UTF-8 bytes. Raises `EdgeError`."""
    text = bytes(data) if isinstance(data, (bytearray, memoryview)) else data
    chunk = _scan_chunk(text, session_id)
    return _parse_text(text, session_id) if chunk is None else chunk


def decode_binary(data: BytesLike) -> ChunkFrame:
    """The chunk in a binary message: 16 bytes of header, then PCM (a view of `data`). Raises `EdgeError`."""
    if bytes(data[:2]) != MAGIC:
        raise EdgeError(FRAME_NOT_TEXT)
    if len(data) < HEADER.size:
        raise EdgeError(INVALID_HEADER, f"binary frame header must be {HEADER.size} bytes, got {len(data)}")
    _, version, flags, seq, timestamp_ms = HEADER.unpack_from(data)
    if version != BINARY_VERSION:
        raise EdgeError(INVALID_HEADER, f"binary frame version must be {BINARY_VERSION}, got {version}")
    if flags & ~FLAG_FINAL:
        raise EdgeError(INVALID_HEADER, f"binary frame flags must be 0 or 1, got {flags}")
    if not 1 <= seq <= MAX_SEQ:
        raise EdgeError(INVALID_SEQ)
    if not 1 <= timestamp_ms <= MAX_TIMESTAMP_MS:
        raise _refused(INVALID_TIMESTAMP, seq)
    final = flags == FLAG_FINAL
    _check_length(len(data) - HEADER.size, seq, final=final)
    # Bytes can't change under a view; anything else is copied.
    whole = data if type(data) is bytes else bytes(data)
    return ChunkFrame(seq, timestamp_ms, final, memoryview(whole)[HEADER.size :])


# `"content_b64": "` as text and as bytes, and the key alone.
_CONTENT = re.compile(r'"content_b64"[ \t\r\n]*:[ \t\r\n]*"')
_CONTENT_BYTES = re.compile(rb'"content_b64"[ \t\r\n]*:[ \t\r\n]*"')


def _scan_chunk(text: str | bytes, session_id: str) -> ChunkFrame | None:
    """The way of nearly every message: cut the base64 out and parse the small rest, for a third of the time.

    Answers None where it can't be sure to see what `_parse_text` would: that one decides then. It is sure
    when the rest has no backslash (so every quote in it begins or ends a string, and no key is spelled with
    escapes), names the key once, and parses with the content cut down to `""` as a field of the object
    itself; the base64 alphabet has no character that means anything to JSON.
    """
    match = _CONTENT.search(text) if isinstance(text, str) else _CONTENT_BYTES.search(text)
    if match is None:
        return None
    start = match.end()
    try:
        if isinstance(text, str):
            end = text.index('"', start)
            rest = text[:start] + text[end:]
            odd = "\\" in rest or rest.count('"content_b64"') > 1
            pcm = pybase64.b64decode(text[start:end], validate=True)
        else:
            end = text.index(b'"', start)
            encoded = text[:start] + text[end:]
            odd = b"\\" in encoded or encoded.count(b'"content_b64"') > 1
            pcm = pybase64.b64decode(memoryview(text)[start:end], validate=True)
            rest = encoded.decode()
        if odd or not pcm:
            return None
        fields = _fields_decoder.decode(rest)
    except (ValueError, RecursionError):
        return None
    if fields.type != "chunk" or fields.content_b64 != "":
        return None
    return _chunk(fields, session_id, pcm)


def _parse_text(text: str | bytes, session_id: str) -> ClientFrame:
    """Any text message, by a full parse: the meaning of which `_scan_chunk` is a quicker reading."""
    fields = parse_object(_fields_decoder, text)
    match fields.type:
        case "chunk":
            return _chunk(fields, session_id, None)
        case "hello":
            return _hello(fields, session_id)
        case "status":
            return Status()
        case "ping":
            return Ping()
        case "finalize":
            return _finalize(fields)
        case "close":
            return Close(fields.reason if isinstance(fields.reason, str) else None)
    raise EdgeError(UNSUPPORTED_TYPE, f"unsupported message type: {_shown(fields.type)}")


def _chunk(fields: _Fields, session_id: str, pcm: bytes | None) -> ChunkFrame:
    """Check a chunk's fields in the contract's order. `pcm` is the content where it is decoded already."""
    if not isinstance(fields.meeting_id, str) or not fields.meeting_id:
        raise EdgeError(MEETING_REQUIRED)
    seq = _integer(fields.seq)
    if seq is None or not 1 <= seq <= MAX_SEQ:
        raise EdgeError(INVALID_SEQ)
    timestamp_ms = fields.timestamp_ms
    if type(timestamp_ms) not in (int, float) or not 0 < timestamp_ms <= MAX_TIMESTAMP_MS:
        raise _refused(INVALID_TIMESTAMP, seq)
    _check_format(fields.sample_rate, fields.channels, fields.format, seq)
    content = fields.content_b64
    if pcm is None and (not isinstance(content, str) or not content):
        raise _refused(CONTENT_REQUIRED, seq)
    if fields.meeting_id != session_id:
        raise _mismatch(session_id, seq)
    final = _flag("final", fields.final, seq)
    if pcm is None:
        try:
            pcm = pybase64.b64decode(content, validate=True)
        except (binascii.Error, ValueError):
            raise _refused(INVALID_BASE64, seq) from None
    _check_length(len(pcm), seq, final=final)
    return ChunkFrame(seq, int(timestamp_ms), final, pcm)


def _hello(fields: _Fields, session_id: str) -> Hello:
    """`sample_rate`, `channels` and `format` say what the client records; `ready` tells it what to send. So
    whatever stands there is fine; `null` counts as absent.
    """
    if not _absent(fields.meeting_id) and fields.meeting_id != session_id:
        raise _mismatch(session_id)
    return Hello(
        meeting_id=UNSET if _absent(fields.meeting_id) else session_id,
        sample_rate=fields.sample_rate if type(fields.sample_rate) is int else UNSET,
        channels=fields.channels if type(fields.channels) is int else UNSET,
        format=fields.format if isinstance(fields.format, str) else UNSET,
        events=_flag("events", fields.events),
        resolve=_flag("resolve", fields.resolve),
    )


def _finalize(fields: _Fields) -> Finalize:
    last_seq = None
    if not _absent(fields.last_seq):
        last_seq = _integer(fields.last_seq)
        # 0 is what `last_seq` starts at: a client that has sent nothing says so.
        if last_seq is None or not 0 <= last_seq <= MAX_SEQ:
            raise EdgeError(INVALID_FIELD, "frame.last_seq must be a whole number from 0")
    if not _absent(fields.metadata) and not isinstance(fields.metadata, dict):
        raise EdgeError(INVALID_FIELD, "frame.metadata must be an object")
    return Finalize(last_seq, None if _absent(fields.metadata) else fields.metadata)


def _check_format(sample_rate: Any, channels: Any, format_: Any, seq: int | None) -> None:
    if sample_rate != SAMPLE_RATE:
        raise _refused(INVALID_SAMPLE_RATE, seq)
    if channels is True or channels != CHANNELS:  # True == 1 in Python, not in JSON
        raise _refused(INVALID_CHANNELS, seq)
    if format_ != FORMAT:
        raise _refused(INVALID_FORMAT, seq)


def _check_length(length: int, seq: int, *, final: bool) -> None:
    """A chunk is one second; the final one may be shorter, of whole samples."""
    if length == CHUNK_BYTES:
        return
    if not final:
        raise _refused(CHUNK_LENGTH, seq, f"chunk byte length must be {CHUNK_BYTES}, got {length}")
    if not SAMPLE_BYTES <= length < CHUNK_BYTES or length % SAMPLE_BYTES:
        detail = f"final chunk byte length must be even and {SAMPLE_BYTES}..{CHUNK_BYTES}, got {length}"
        raise _refused(CHUNK_LENGTH, seq, detail)


def _refused(kind: ErrorKind, seq: int | None, detail: str | None = None) -> EdgeError:
    return EdgeError(kind, detail, fields=None if seq is None else {"seq": seq})


def _mismatch(session_id: str, seq: int | None = None) -> EdgeError:
    return _refused(MEETING_MISMATCH, seq, f"meeting_id mismatch: expected {session_id}")


def _integer(value: Any) -> int | None:
    """The integer that a JSON number is, `1.0` included; None for everything else."""
    if type(value) is int:  # not bool, which is an int to isinstance
        return value
    return int(value) if type(value) is float and value.is_integer() else None


def _flag(name: str, value: Any, seq: int | None = None) -> bool:
    if isinstance(value, bool):
        return value
    if _absent(value):
        return False
    raise _refused(INVALID_FIELD, seq, f"frame.{name} must be a boolean")


def _absent(value: Any) -> bool:
    return value is UNSET or value is None


def _shown(type_: Any) -> str:
    """An unknown type as the error shows it: a string bare, a number or literal as JSON, else its kind.

    `undefined` for none at all is what the system before this one said; clients may look for it.
    """
    match type_:
        case str():
            return type_[:MAX_TYPE_ECHOED]
        case UnsetType():
            return "undefined"
        case None:
            return "null"
        case bool():
            return "true" if type_ else "false"
        case int() | float():
            return repr(type_)[:MAX_TYPE_ECHOED]
    return "array" if isinstance(type_, list) else "object"


# -- writing what a server sends


def encode_utf8(frame: ServerFrame) -> bytes:
    """The text message of a server frame, as the UTF-8 that goes on the wire."""
    return _encoder.encode(frame)


def encode(frame: ServerFrame) -> str:
    """The text message of a server frame."""
    return encode_utf8(frame).decode()


# -- the client's side


def encode_client(frame: Hello | Status | Ping | Finalize | Close) -> str:
    """The text message of a client frame other than a chunk."""
    return _encoder.encode(frame).decode()


def encode_chunk_text(chunk: ChunkFrame, *, session_id: str) -> str:
    """The chunk as a JSON text message (base64: a third larger than `encode_chunk_binary`)."""
    final = ',"final":true' if chunk.final else ""
    return (
        f'{{"type":"chunk","meeting_id":{_encoder.encode(session_id).decode()},"seq":{chunk.seq},'
        f'"timestamp_ms":{chunk.timestamp_ms},"sample_rate":{SAMPLE_RATE},"channels":{CHANNELS},'
        f'"format":"{FORMAT}"{final},"content_b64":"{pybase64.b64encode(chunk.pcm).decode()}"}}'
    )


def encode_chunk_binary(chunk: ChunkFrame) -> bytes:
    """The chunk as a binary message: header, then PCM."""
    flags = FLAG_FINAL if chunk.final else 0
    return HEADER.pack(MAGIC, BINARY_VERSION, flags, chunk.seq, chunk.timestamp_ms) + chunk.pcm


def decode_server(text: str | bytes) -> ServerFrame | None:
    """The frame that a server sent; None for a type this version doesn't know (a newer server's).

    Raises ValueError for what is no server frame at all.
    """
    try:
        return _server_decoder.decode(text)
    except (ValueError, RecursionError) as error:
        if _is_newer(text):
            return None
        raise ValueError("not a frame of the chunk dialect's server") from error


def _is_newer(text: str | bytes) -> bool:
    try:
        type_ = _fields_decoder.decode(text).type
    except (ValueError, RecursionError):
        return False
    return isinstance(type_, str) and type_ not in _SERVER_TYPES
