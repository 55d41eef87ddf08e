"""`POST /v1/sessions/{id}/resolve` and `/finalize`: the two that go through a session's state lane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
from quart import Response, request

from interview_edge.access.principal import Scope
from interview_edge.core.keys import check_stream
from interview_edge.core.models import DEFAULT_STREAM
from interview_edge.core.state_json import roster_from_json
from interview_edge.errors import (
    AUDIO_REQUIRED,
    BODIES_BUSY,
    BODY_NOT_JSON,
    BODY_TOO_LARGE,
    BODY_TOO_SLOW,
    DRAINING,
    FINALIZE_TIMEOUT,
    IDEMPOTENCY_MISMATCH,
    INFERENCE_FAILED,
    INFERENCE_NOT_JSON,
    INFERENCE_SHAPE,
    INFERENCE_STATUS,
    INFERENCE_TIMEOUT,
    INFERENCE_UNSET,
    INVALID_BODY,
    INVALID_STREAM,
    NODE_FULL,
    RESOLVE_BUSY,
    SESSION_LIMIT,
    WINDOW_EMPTY,
    EdgeError,
)
from interview_edge.sessions.finalizer import FinalizeRequest, finalize
from interview_edge.sessions.resolving import LastAudio, ResolveRequest, digest_body, resolve
from interview_edge.web.context import WebContext
from interview_edge.web.door import caller
from interview_edge.web.messages import invalid_field, json_reply, parse_object, read_body, whole_in_json
from interview_edge.web.routes import SESSION_ERRORS, Content, Parameter, Route
from interview_edge.web.schemas import ref

MAX_RESOLVE_BODY = 16 * 1024 * 1024
MAX_FINALIZE_BODY = 1024 * 1024
MAX_IDEMPOTENCY_KEY = 255  # characters
MAX_LAST_MS = 600_000  # the longest window that settings allow
FORMATS = ("wav", "pcm_s16le", "mp3", "m4a", "ogg", "flac")

_JSON = "application/json"
_BODY_ERRORS = (BODY_NOT_JSON, INVALID_BODY, BODY_TOO_LARGE, BODY_TOO_SLOW, BODIES_BUSY)
_OPENING_ERRORS = (DRAINING, SESSION_LIMIT, NODE_FULL, RESOLVE_BUSY, *SESSION_ERRORS)


@attrs.frozen
class StateLaneResource:
    """The views; both open the session where it isn't live."""

    context: WebContext

    def routes(self) -> list[Route]:
        one = "/v1/sessions/<segment:session_id>"
        return [
            Route(
                method="POST",
                path=f"{one}/resolve",
                view=self.resolve,
                access=(Scope.INGEST, Scope.SESSIONS),
                summary="Ask the inference API who is speaking; keeps its updated state, appends one event",
                answers={200: Content(_JSON, ref("ResolveAnswer"), "The inference API's answer.")},
                errors=(
                    AUDIO_REQUIRED,
                    INVALID_STREAM,
                    WINDOW_EMPTY,
                    IDEMPOTENCY_MISMATCH,
                    INFERENCE_UNSET,
                    INFERENCE_FAILED,
                    INFERENCE_TIMEOUT,
                    INFERENCE_STATUS,
                    INFERENCE_NOT_JSON,
                    INFERENCE_SHAPE,
                    *_BODY_ERRORS,
                    *_OPENING_ERRORS,
                ),
                parameters=(
                    Parameter(
                        "x-idempotency-key",
                        {"type": "string", "minLength": 1, "maxLength": MAX_IDEMPOTENCY_KEY},
                        "a repeat with this key gets the first answer, with `x-idempotent-replay: true`",
                        place="header",
                    ),
                ),
                body=Content(_JSON, ref("ResolveRequest"), "The audio, or a reach into the live window."),
                max_body=MAX_RESOLVE_BODY,
            ),
            Route(
                method="POST",
                path=f"{one}/finalize",
                view=self.finalize,
                access=(Scope.INGEST, Scope.SESSIONS),
                summary="Store everything accepted so far, then write result.json; may be repeated",
                answers={
                    200: Content(_JSON, ref("Finalized"), "Where the result lies, and what is missing.")
                },
                errors=(FINALIZE_TIMEOUT, *_BODY_ERRORS, *_OPENING_ERRORS),
                body=Content(_JSON, ref("FinalizeRequest"), "An empty body counts as `{}`.", optional=True),
                max_body=MAX_FINALIZE_BODY,
            ),
        ]

    async def resolve(self, session_id: str) -> Response:
        body = await read_body()
        wanted = parse_resolve(body)
        key = _idempotency_key(request.headers.get("x-idempotency-key"))
        parts = self.context.parts
        if parts.inference is None:
            raise EdgeError(INFERENCE_UNSET)  # before a session is opened for nothing
        async with self.context.registry.use(session_id, caller()) as session:
            answer = await resolve(session, wanted, parts, idempotency_key=key)
        headers = {"x-idempotent-replay": "true"} if answer.replayed else {}
        return json_reply(answer.body, headers=headers, encoded=True)

    async def finalize(self, session_id: str) -> Response:
        body = await read_body()
        metadata = parse_object(body).get("metadata") if body.strip() else None
        if metadata is not None and not isinstance(metadata, dict):
            raise invalid_field("metadata", "must be an object")
        async with self.context.registry.use(session_id, caller()) as session:
            result = await finalize(session, FinalizeRequest(metadata), self.context.parts)
        return json_reply(result.answer["answer"])


def parse_resolve(body: bytes) -> ResolveRequest:
    """The request in a body. EdgeError: body_not_json, audio_required, invalid_body, invalid_stream."""
    data = parse_object(body)
    asr_text = data.get("asr_text")
    if asr_text is not None and not isinstance(asr_text, str):
        raise invalid_field("asr_text", "must be a string")
    audio = _parse_audio(data.get("audio"))
    try:
        roster = roster_from_json(data["roster"]) if data.get("roster") is not None else ()
    except ValueError as error:
        raise EdgeError(INVALID_BODY, str(error), fields={"field": "roster"}) from error
    return ResolveRequest(audio, asr_text, roster, digest_body(body))


def _parse_audio(audio: object) -> Mapping[str, Any] | LastAudio:
    if not isinstance(audio, dict):
        raise EdgeError(AUDIO_REQUIRED)
    if "last_ms" in audio:
        return _parse_last_audio(audio)
    content, encoding = audio.get("content_b64"), audio.get("format")
    if not (content and encoding and isinstance(content, str) and isinstance(encoding, str)):
        raise EdgeError(AUDIO_REQUIRED)
    if encoding not in FORMATS:
        raise invalid_field("audio.format", f"must be one of {', '.join(FORMATS)}")
    for name in ("sample_rate", "channels"):
        value = audio.get(name)
        if value is not None and (whole_in_json(value) or 0) < 1:
            raise invalid_field(f"audio.{name}", "must be a positive whole number")
    return audio


def _parse_last_audio(audio: Mapping[str, Any]) -> LastAudio:
    ms, stream = whole_in_json(audio["last_ms"]), audio.get("stream", DEFAULT_STREAM)
    if ms is None or not 1 <= ms <= MAX_LAST_MS:
        raise invalid_field("audio.last_ms", f"must be a whole number, 1..{MAX_LAST_MS}")
    if not isinstance(stream, str):
        raise invalid_field("audio.stream", "must be a string")
    return LastAudio(ms, check_stream(stream))


def _idempotency_key(raw: str | None) -> str | None:
    if raw is not None and not 1 <= len(raw) <= MAX_IDEMPOTENCY_KEY:
        raise invalid_field("x-idempotency-key", f"must be 1..{MAX_IDEMPOTENCY_KEY} characters")
    return raw
