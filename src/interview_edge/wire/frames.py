"""The frames of the chunk dialect as values (contract ingest.md, WebSocket).

Client frames are what a server reads, server frames what it writes; both sides share these classes. They are
frozen msgspec Structs whose tag is the wire's `type`, so a frame encodes to exactly its fields, without those
that are `UNSET`. Validation is `chunk_dialect`'s: a value made here is taken at its word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from msgspec import UNSET, Struct, UnsetType

from interview_edge.core.models import IngestStatus, SeqRanges
from interview_edge.core.pcm import FORMAT, SAMPLE_RATE, Pcm
from interview_edge.errors import EdgeError

CHANNELS = 1
MAX_CLOSE_REASON = 120  # characters (contract)
# A close frame's payload is at most 125 bytes, two of which are the code (RFC 6455, 5.5).
MAX_CLOSE_REASON_BYTES = 123
DEFAULT_CLOSE_REASON = "client-close"


# -- from the client


class Auth(Struct, frozen=True, tag_field="type", tag="auth"):
    """Who asks, in the first frame of a socket that was opened with `?auth=first-frame`: one of an API key, a
    JWT and a ticket. Nowhere else is it a frame of the dialect.
    """

    key: str | UnsetType = UNSET
    token: str | UnsetType = UNSET
    ticket: str | UnsetType = UNSET

    def __repr__(self) -> str:
        return "Auth(...)"  # these are secrets


class Hello(Struct, frozen=True, tag_field="type", tag="hello"):
    """Asks for `ready`. `events`: the client wants the session's events on this socket; `resolve`: who speaks
    is to be found out for each utterance, from here on in this session.
    """

    meeting_id: str | UnsetType = UNSET
    sample_rate: int | UnsetType = UNSET
    channels: int | UnsetType = UNSET
    format: str | UnsetType = UNSET
    events: bool = False
    resolve: bool = False


class ChunkFrame(Struct, frozen=True, gc=False):
    """One second of audio: `pcm` is 32,000 bytes of s16le mono at 16 kHz, or 2..32,000 where `final`.

    No tag: it has two spellings, JSON and binary, see `chunk_dialect.encode_chunk_text` and `_binary`.
    """

    seq: int
    timestamp_ms: int
    final: bool
    pcm: Pcm


class Status(Struct, frozen=True, tag_field="type", tag="status"):
    """Asks for the stream's status."""


class Ping(Struct, frozen=True, tag_field="type", tag="ping"):
    """Asks for `pong`."""


class Finalize(Struct, frozen=True, tag_field="type", tag="finalize"):
    """Ends this socket's stream at `last_seq` (None: where it stands) and finalizes the session."""

    last_seq: int | None = None
    metadata: Mapping[str, Any] | None = None


class Close(Struct, frozen=True, tag_field="type", tag="close"):
    """Asks for `closing` and a close 1000 with this reason."""

    reason: str | None = None


ClientFrame = ChunkFrame | Hello | Status | Ping | Finalize | Close


# -- from the server


class AuthOk(Struct, frozen=True, tag_field="type", tag="auth_ok"):
    """Answers `auth`: the dialect goes on."""


class StreamStatus(Struct, frozen=True, kw_only=True):
    """A stream's status as JSON shows it: `ingest` of `ready`, and the body of `status`.

    Times are ISO 8601.
    """

    session_id: str
    meeting_id: str
    last_seq: int
    received_chunks: int
    duplicate_chunks: int
    missing_chunks: int
    bytes_stored: int
    started_at: str
    updated_at: str
    missing: SeqRanges
    missing_truncated: bool | UnsetType = UNSET

    @classmethod
    def of(cls, status: IngestStatus) -> Self:
        """The frame that shows `status`."""
        return cls(
            session_id=status.session_id,
            meeting_id=status.meeting_id,
            last_seq=status.last_seq,
            received_chunks=status.received_chunks,
            duplicate_chunks=status.duplicate_chunks,
            missing_chunks=status.missing_chunks,
            bytes_stored=status.bytes_stored,
            started_at=status.started_at,
            updated_at=status.updated_at,
            missing=status.missing,
            missing_truncated=status.missing_truncated or UNSET,
        )


class Ready(Struct, frozen=True, kw_only=True, tag_field="type", tag="ready"):
    """Answers `hello`: where the stream stands and what an ack will mean. `ack` is an `AckLevel` value."""

    session_id: str
    target_sample_rate: int = SAMPLE_RATE
    target_channels: int = CHANNELS
    target_format: str = FORMAT
    ingest: StreamStatus
    next_seq: int
    missing: SeqRanges
    missing_truncated: bool | UnsetType = UNSET
    max_in_flight: int
    ack: str
    epoch: int


class Ack(Struct, frozen=True, gc=False, tag_field="type", tag="ack"):
    """One chunk is `stored` (durable at the level `ready.ack` named) or a `duplicate`.

    `key` only when stored, and only with layout `chunks`. Counters are as of the chunk's commit.
    """

    seq: int
    status: str
    last_seq: int
    missing_count: int
    duplicate_count: int
    next_seq: int
    key: str | UnsetType = UNSET


class StatusReply(StreamStatus, frozen=True, kw_only=True, tag_field="type", tag="status"):
    """Answers `status`."""


class Pong(Struct, frozen=True, tag_field="type", tag="pong"):
    """Answers `ping`. `ts` is the server's clock in epoch ms."""

    ts: int


class Finalized(Struct, frozen=True, tag_field="type", tag="finalized"):
    """Answers `finalize`: result.json is written. `missing` is of this socket's stream, and what
    `missing_truncated` is about; `missing_by_stream` has all streams of the session, as `complete` is of all.
    """

    result_key: str
    complete: bool
    missing: SeqRanges
    missing_truncated: bool | UnsetType = UNSET
    missing_by_stream: Mapping[str, SeqRanges] | UnsetType = UNSET


class Closing(Struct, frozen=True, tag_field="type", tag="closing"):
    """Answers `close`; the close frame follows."""

    reason: str

    @classmethod
    def of(cls, close: Close) -> Closing:
        """The reply to `close`: its reason cut to 120 characters, `client-close` where it gave none."""
        return cls((close.reason or DEFAULT_CLOSE_REASON)[:MAX_CLOSE_REASON])


class ErrorFrame(Struct, frozen=True, tag_field="type", tag="error"):
    """Something was refused. The socket stays open unless a close follows. `seq` where one is concerned."""

    detail: str
    code: str
    seq: int | UnsetType = UNSET

    @classmethod
    def of(cls, error: EdgeError) -> ErrorFrame:
        """The frame that tells a client of `error`."""
        seq = error.fields.get("seq", UNSET)
        return cls(error.detail, error.kind.code, seq)


class GoingAway(Struct, frozen=True, tag_field="type", tag="going_away"):
    """The server drains: it closes with 1012 in `time_left_ms` at the latest. Resume at `next_seq`."""

    next_seq: int
    time_left_ms: int


class EventFrame(Struct, frozen=True, tag_field="type", tag="event"):
    """One of the session's events, for a client whose `hello` asked for them. `event` is `Event.to_wire()`.

    Nested, since an event has a `type` of its own.
    """

    event: Mapping[str, Any]


class PartialFrame(Struct, frozen=True, kw_only=True, tag_field="type", tag="partial"):
    """What was said so far of an utterance that goes on, for a client whose `hello` asked for events. It is
    none itself: it isn't kept, the next one takes its place, and in the end the `transcript`.
    """

    stream: str
    utterance: int
    start_ms: int
    end_ms: int
    text: str
    language: str | None = None


ServerFrame = (
    AuthOk
    | Ack
    | Ready
    | StatusReply
    | Pong
    | Finalized
    | Closing
    | ErrorFrame
    | GoingAway
    | EventFrame
    | PartialFrame
)


def fit_close_reason(reason: str) -> str:
    """`reason` cut to what a close frame can carry: 123 bytes of UTF-8, never inside a character."""
    return reason.encode()[:MAX_CLOSE_REASON_BYTES].decode(errors="ignore")
