"""Resolve: ask the inference API who is speaking, keep its updated state, append one event (contract
ingest.md).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import attrs
import trio

from interview_edge.catalog.protocol import IdempotentAnswer
from interview_edge.core.models import (
    DEFAULT_STREAM,
    NewEvent,
    Participant,
    SessionState,
    StreamKey,
    Utterance,
)
from interview_edge.core.state_json import state_from_json, state_to_json
from interview_edge.core.wav import encode_wav
from interview_edge.errors import (
    IDEMPOTENCY_MISMATCH,
    INFERENCE_SHAPE,
    INFERENCE_UNSET,
    WINDOW_EMPTY,
    EdgeError,
)
from interview_edge.sessions.loading import reread
from interview_edge.sessions.node_parts import NodeParts
from interview_edge.sessions.recent_audio import read_recent
from interview_edge.sessions.session import Session
from interview_edge.sessions.utterance_audio import read_utterance

DECISIONS = frozenset({"auto", "confirm", "unknown"})


@attrs.frozen
class LastAudio:
    """The last `ms` of a stream's window, instead of audio in the request."""

    ms: int
    stream: str = DEFAULT_STREAM


@attrs.frozen
class ResolveRequest:
    """A resolve as asked. `audio` is the contract's object, verbatim, a reach into the window, or an
    utterance of the session: then the event says which, with a client's own name of it, where it has one.

    `body_digest` is the SHA-256 of the request body: what an idempotency key is bound to.
    """

    audio: Mapping[str, Any] | LastAudio | Utterance
    asr_text: str | None
    roster: tuple[Participant, ...]
    body_digest: bytes
    utterance_id: str | None = None


@attrs.frozen
class ResolveAnswer:
    """The inference API's answer as JSON; `replayed` where an idempotency key gave the first one again."""

    body: bytes
    replayed: bool


async def resolve(
    session: Session, request: ResolveRequest, parts: NodeParts, *, idempotency_key: str | None = None
) -> ResolveAnswer:
    """Run one resolve in the session's state lane. State, event and idempotent answer are one transaction.

    Raises EdgeError: resolve_busy, idempotency_mismatch, inference_*, window_empty. A failure changes
    nothing and is not remembered under the key. Cancelled, everything of it happened or nothing; the next
    one finds out.
    """
    if parts.inference is None:
        raise EdgeError(INFERENCE_UNSET)
    async with session.state_lane():
        if session.state_in_doubt:
            session.state = (await reread(session, parts)).state
            session.state_in_doubt = False
        at = parts.wall_ms()
        if idempotency_key is not None:
            kept = await _kept_answer(session, request, parts, idempotency_key, at)
            if kept is not None:
                return ResolveAnswer(kept, replayed=True)
        state = attrs.evolve(session.state, roster=request.roster) if request.roster else session.state
        answer = await parts.inference.resolve(
            {
                "session_id": session.session_id,
                "audio": await _audio_for(session, request.audio, parts),
                "asr_text": request.asr_text,
                "state": state_to_json(state),
            }
        )
        updated, event = read_answer(answer, parts.wall_ms())
        if isinstance(request.audio, Utterance):
            event = _event_of(event, request.audio, request.utterance_id)
        body = json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode()
        remembered = None
        if idempotency_key is not None:
            remembered = IdempotentAnswer(idempotency_key, request.body_digest, body, at)
        try:
            committed = await parts.catalog.append_events(
                session.session_id, [event], at=event.ts, state=updated, answer=remembered
            )
        except trio.Cancelled:
            session.state_in_doubt = True
            raise
        session.state, session.updated_at = updated, event.ts
        session.published(committed)
        return ResolveAnswer(body, replayed=False)


async def _kept_answer(
    session: Session, request: ResolveRequest, parts: NodeParts, key: str, at: int
) -> bytes | None:
    oldest = at - int(parts.settings.idempotency_hours * 3_600_000)
    kept = await parts.catalog.idempotent_answer(session.session_id, key, not_before=oldest)
    if kept is None:
        return None
    if kept.body_digest != request.body_digest:
        raise EdgeError(IDEMPOTENCY_MISMATCH)
    return kept.answer


async def _audio_for(
    session: Session, audio: Mapping[str, Any] | LastAudio | Utterance, parts: NodeParts
) -> Mapping[str, Any]:
    if not isinstance(audio, LastAudio | Utterance):
        return audio
    stream = session.streams.get(audio.stream)
    with trio.fail_after(parts.settings.storage_timeout):
        if isinstance(audio, Utterance):
            key = StreamKey(session.session_id, audio.stream)
            pcm = await read_utterance(key, audio, stream, parts.reader)
        else:
            pcm = b"" if stream is None else await read_recent(stream, audio.ms, parts.reader)
    if not pcm:
        raise EdgeError(WINDOW_EMPTY)
    return {"content_b64": base64.b64encode(encode_wav(pcm)).decode("ascii"), "format": "wav"}


def _event_of(event: NewEvent, utterance: Utterance, utterance_id: str | None) -> NewEvent:
    which: dict[str, object] = {"utterance": utterance.number}
    if utterance_id is not None:
        which["utterance_id"] = utterance_id
    return attrs.evolve(event, body={**event.body, **which}, stream=utterance.stream)


def read_answer(answer: Mapping[str, Any], at: int) -> tuple[SessionState, NewEvent]:
    """The updated state and the event of an inference answer; EdgeError(inference_shape) for any other
    shape.
    """
    decision, evidence = answer.get("decision"), answer.get("evidence")
    cluster_id, name = answer.get("cluster_id"), answer.get("speaker_name")
    if decision not in DECISIONS or not isinstance(evidence, dict):
        raise EdgeError(INFERENCE_SHAPE)
    if not isinstance(cluster_id, str) or not (name is None or isinstance(name, str)):
        raise EdgeError(INFERENCE_SHAPE)
    try:
        updated = state_from_json(answer["updated_state"])
    except (KeyError, ValueError) as error:
        raise EdgeError(INFERENCE_SHAPE) from error
    body = {"cluster_id": cluster_id, "speaker_name": name, "decision": decision, "evidence": evidence}
    return updated, NewEvent(at, "resolve", body)


def digest_body(body: bytes) -> bytes:
    """What binds an idempotency key to its request."""
    return hashlib.sha256(body).digest()
