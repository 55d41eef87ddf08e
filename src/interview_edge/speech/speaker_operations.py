"""What the speaker inference API does with a request (contract inference.md): audio to embedding to answer.

Everything here blocks, for 20 to 600 ms: speaker_work.py runs it in threads.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from typing import Any, Protocol

import attrs
import numpy as np
import numpy.typing as npt
import pybase64

from interview_edge.core.models import SessionState
from interview_edge.core.pcm import SAMPLE_RATE
from interview_edge.core.speaker_rules import SpeakerThresholds, Utterance, resolve_speaker
from interview_edge.core.state_json import state_from_json, state_to_json
from interview_edge.core.voice_profiles import cosine, direction, enrol
from interview_edge.errors import (
    AUDIO_UNDECODABLE,
    CLIP_TOO_LARGE,
    CLIP_TOO_LONG,
    NO_SPEECH,
    SPEAKER_MODEL_FAILED,
    UNPROCESSABLE,
    EdgeError,
)
from interview_edge.speech.clips import Clip, ClipTooLong, Samples, UndecodableClip, decode_clip
from interview_edge.speech.model_files import ModelError
from interview_edge.speech.voiced import speech_in
from interview_edge.wire.speaker_requests import (
    MAX_AUDIO_BYTES,
    AudioPayload,
    EnrollSpeaker,
    ExtractEmbedding,
    ResolveSpeaker,
    ScoreSpeakers,
)


class SpeakerEmbedder(Protocol):
    """A model that tells voices apart. Any number of threads may call it at once."""

    @property
    def model_id(self) -> str: ...

    @property
    def model_revision(self) -> str: ...

    def embed(self, samples: Samples) -> npt.NDArray[np.float32]:
        """The voice in 16 kHz mono samples (-1 to 1, at least a quarter of a second), as a unit vector.

        Raises ModelError where the model fails.
        """
        ...


@attrs.frozen
class _Voice:
    """What was made of a request's audio."""

    embedding: npt.NDArray[np.float32]
    seconds: float
    segments: int


@attrs.frozen
class SpeakerOperations:
    """The API's four operations, each a request in and the answer's JSON object out.

    All raise EdgeError: audio_undecodable, clip_too_large, clip_too_long, no_speech, speaker_model_failed;
    those with a state also unprocessable.
    """

    embedder: SpeakerEmbedder
    thresholds: SpeakerThresholds = attrs.field(factory=SpeakerThresholds)

    def resolve(self, request: ResolveSpeaker) -> dict[str, Any]:
        """Who is speaking, and the state with it."""
        state = _state(request.state)
        voice = self._voice(request.audio)
        utterance = Utterance(voice.embedding, voice.seconds, voice.segments, request.asr_text)
        try:
            found = resolve_speaker(state, utterance, self.thresholds)
        except ValueError as error:
            raise EdgeError(UNPROCESSABLE, str(error)) from error
        return {
            "session_id": request.session_id,
            "cluster_id": found.cluster_id,
            "speaker_name": found.speaker_name,
            "decision": found.decision.value,
            "evidence": found.evidence.to_wire(),
            "updated_state": state_to_json(found.state),
        }

    def enroll(self, request: EnrollSpeaker) -> dict[str, Any]:
        """A sample of a participant's voice, taken into their profile."""
        state = _state(request.state)
        voice = self._voice(request.audio)
        try:
            found = enrol(state, request.participant_name, voice.embedding, voice.seconds)
        except ValueError as error:
            raise EdgeError(UNPROCESSABLE, str(error)) from error
        return {
            "session_id": request.session_id,
            "participant_name": request.participant_name,
            "embedding_dim": len(voice.embedding),
            "sample_seconds": round(voice.seconds, 3),
            "profile_updated": found.updated,
            "updated_state": state_to_json(found.state),
        }

    def extract_embedding(self, request: ExtractEmbedding) -> dict[str, Any]:
        embedding = self._voice(request.audio).embedding
        return {**self._model(), "embedding_dim": len(embedding), "embedding": embedding.tolist()}

    def score(self, request: ScoreSpeakers) -> dict[str, Any]:
        """How near two voices are: their cosine, -1 to 1."""
        one, other = (self._voice(audio).embedding for audio in (request.audio_a, request.audio_b))
        return {**self._model(), "score": cosine(one.tolist(), direction(other))}

    def _model(self) -> dict[str, str]:
        return {"model_id": self.embedder.model_id, "model_revision": self.embedder.model_revision}

    def _voice(self, audio: AudioPayload) -> _Voice:
        """The speech in the audio, as one voice."""
        speech = speech_in(_samples(audio))
        if not speech.segments:
            raise EdgeError(NO_SPEECH)
        try:
            return _Voice(self.embedder.embed(speech.samples), speech.seconds, speech.segments)
        except ModelError as error:
            raise EdgeError(SPEAKER_MODEL_FAILED, f"{SPEAKER_MODEL_FAILED.detail}: {error}") from error


def _samples(audio: AudioPayload) -> Samples:
    if len(audio.content_b64) > -(-MAX_AUDIO_BYTES // 3) * 4:
        raise EdgeError(CLIP_TOO_LARGE)
    try:
        content = pybase64.b64decode(audio.content_b64, validate=True)
    except (binascii.Error, ValueError) as error:
        raise EdgeError(AUDIO_UNDECODABLE, "audio.content_b64 is not valid base64") from error
    if len(content) > MAX_AUDIO_BYTES:
        raise EdgeError(CLIP_TOO_LARGE)
    try:
        return decode_clip(Clip(content, audio.format, audio.sample_rate or SAMPLE_RATE, audio.channels or 1))
    except ClipTooLong as error:
        raise EdgeError(CLIP_TOO_LONG) from error
    except UndecodableClip as error:
        raise EdgeError(AUDIO_UNDECODABLE, f"{AUDIO_UNDECODABLE.detail}: {error}") from error


def _state(data: Mapping[str, Any]) -> SessionState:
    try:
        return state_from_json(data)
    except ValueError as error:
        raise EdgeError(UNPROCESSABLE, f"state: {error}") from error
