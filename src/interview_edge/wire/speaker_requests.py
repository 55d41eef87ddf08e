"""What the speaker inference API is asked (contract inference.md), as typed requests."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

MAX_AUDIO_BYTES = 5 * 1024 * 1024  # decoded from base64
MAX_BODY_BYTES = 6 * 1024 * 1024


class AudioPayload(msgspec.Struct, frozen=True):
    """Audio in a request. `sample_rate` and `channels` say what `pcm_s16le` is; files say it themselves."""

    content_b64: Annotated[str, Meta(min_length=1)]
    format: Literal["wav", "pcm_s16le", "mp3", "m4a", "ogg", "flac"]
    sample_rate: Annotated[int, Meta(ge=8_000, le=96_000)] | None = None
    channels: Annotated[int, Meta(ge=1, le=2)] | None = None


SessionId = Annotated[str, Meta(min_length=1, max_length=128)]


class ResolveSpeaker(msgspec.Struct, frozen=True):
    """`POST /speaker/resolve`. `state` as core/state_json.py reads it."""

    session_id: SessionId
    audio: AudioPayload
    asr_text: Annotated[str, Meta(max_length=10_000)] | None = None
    state: dict[str, Any] = {}


class EnrollSpeaker(msgspec.Struct, frozen=True):
    """`POST /speaker/enroll`."""

    session_id: SessionId
    participant_name: Annotated[str, Meta(min_length=1, max_length=200)]
    audio: AudioPayload
    state: dict[str, Any] = {}


class ExtractEmbedding(msgspec.Struct, frozen=True):
    """`POST /sv/extract_embedding`."""

    audio: AudioPayload


class ScoreSpeakers(msgspec.Struct, frozen=True):
    """`POST /sv/score`."""

    audio_a: AudioPayload
    audio_b: AudioPayload


SpeakerRequest = TypeVar("SpeakerRequest", ResolveSpeaker, EnrollSpeaker, ExtractEmbedding, ScoreSpeakers)


def decode_request(body: bytes, kind: type[SpeakerRequest]) -> SpeakerRequest:
    """A request's JSON. Raises ValueError: what is wrong, and where."""
    try:
        return msgspec.json.decode(body, type=kind)
    except RecursionError as error:
        raise ValueError("the body is nested too deeply") from error
