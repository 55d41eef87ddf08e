"""The frames of the browser dialect as values (contract stream.md).

Names on the wire are the contract's, some of them in camel case. Times are epoch milliseconds where they are
called `timestamp`; where they tell of speech, milliseconds since `audio_stream_start`, counted in samples.
"""

from __future__ import annotations

from typing import Self

from msgspec import UNSET, Struct, UnsetType, field

from interview_edge.core.declared_utterances import Mark
from interview_edge.errors import EdgeError

# -- from the client


class Auth(Struct, frozen=True, tag_field="type", tag="auth"):
    """Who asks, in the first frame. Where nobody has to show anything, or a header does, no `ticket`."""

    ticket: str | UnsetType = UNSET

    def __repr__(self) -> str:
        return "Auth(...)"  # it is a secret


class AudioStreamStart(Struct, frozen=True, tag_field="type", tag="audio_stream_start"):
    """A recording begins, into this session; without one, into this socket's, or else a new one."""

    session_id: str | UnsetType = UNSET


class AudioChunk(Struct, frozen=True, gc=False):
    """Audio of any length up to a second: whole samples of s16le mono at 16 kHz.

    `fault` is what is wrong with `mark` or `prompt`: the audio counts all the same. No tag: on the wire it is
    `audio_chunk {data, vad_state, vad_offset_ms, asr_prompt}`.
    """

    pcm: bytes
    mark: Mark | None = None
    prompt: str | None = None
    fault: EdgeError | None = None


class AudioStreamEnd(Struct, frozen=True, tag_field="type", tag="audio_stream_end"):
    """The recording rests here; asks for `audio_stream_end_ack`."""


class Ping(Struct, frozen=True, tag_field="type", tag="ping"):
    """Asks for `pong`."""


ClientFrame = Auth | AudioStreamStart | AudioChunk | AudioStreamEnd | Ping


# -- from the server


class AuthSuccess(Struct, frozen=True, tag_field="type", tag="auth_success"):
    """The dialect begins."""

    user_id: str = field(name="userId")
    timestamp: int


class AuthError(Struct, frozen=True, tag_field="type", tag="auth_error"):
    """Nobody was let in; a close follows."""

    error: str
    timestamp: int


class AudioStreamStartAck(Struct, frozen=True, tag_field="type", tag="audio_stream_start_ack"):
    """Answers `audio_stream_start`: audio may come, and is stored in this session."""

    timestamp: int
    user_id: str = field(name="userId")
    session_id: str


class VadCacheStart(Struct, frozen=True, tag_field="type", tag="vad_cache_start"):
    """Somebody began to speak."""


class VadCacheEnd(Struct, frozen=True, tag_field="type", tag="vad_cache_end"):
    """Somebody stopped speaking."""

    timestamp: int


class Performance(Struct, frozen=True):
    """What a transcript cost, in milliseconds, and whose it is."""

    total_processing_ms: float
    wav_creation_ms: float
    api_fetch_ms: float
    worker_timestamp: int
    provider: str


class TranscriptionResult(Struct, frozen=True, kw_only=True, tag_field="type", tag="transcription_result"):
    """What was said in one utterance, or, a prefetch, in what there was of it."""

    text: str
    speech_start_ms: int = field(name="speechStartTimeMs")
    speech_end_ms: int = field(name="speechEndTimeMs")
    timestamp: int
    is_prefetch: bool
    performance: Performance
    utterance_id: str
    speaker: str | None = None


class TranscriptionError(Struct, frozen=True, kw_only=True, tag_field="type", tag="transcription_error"):
    """There is no transcript of an utterance; or, where none is named, transcripts are late. The audio is
    stored.
    """

    error: str
    timestamp: int
    utterance_id: str | UnsetType = UNSET
    details: str | UnsetType = UNSET
    is_prefetch: bool | UnsetType = UNSET


class AudioStreamEndAck(Struct, frozen=True, tag_field="type", tag="audio_stream_end_ack"):
    """Answers `audio_stream_end`: everything is safe. Counts the `audio_chunk`s taken since the start."""

    received_chunks: int = field(name="receivedChunks")
    timestamp: int


class Pong(Struct, frozen=True, tag_field="type", tag="pong"):
    """Answers `ping`."""

    timestamp: int


class Error(Struct, frozen=True, tag_field="type", tag="error"):
    """Something was refused. The socket stays open unless a close follows."""

    code: str
    detail: str

    @classmethod
    def of(cls, error: EdgeError) -> Self:
        """The frame that tells a client of `error`."""
        return cls(error.kind.code, error.detail)


ServerFrame = (
    AuthSuccess
    | AuthError
    | AudioStreamStartAck
    | VadCacheStart
    | VadCacheEnd
    | TranscriptionResult
    | TranscriptionError
    | AudioStreamEndAck
    | Pong
    | Error
)
