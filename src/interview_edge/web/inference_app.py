"""The speaker inference API as an ASGI application of its own (contract inference.md).

Apart from the node's: it has its own key, its own limits and no state, so that it may run on another machine.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import msgspec
import structlog
import trio

from interview_edge.access.buckets import Buckets
from interview_edge.access.credentials import Bearer, find_credential
from interview_edge.errors import (
    DIARIZE_UNSUPPORTED,
    INVALID_KEY,
    METHOD_NOT_ALLOWED,
    MISSING_AUTH,
    RATE_LIMITED,
    ROUTE_NOT_FOUND,
    SPEAKER_MODEL_FAILED,
    UNPROCESSABLE,
    EdgeError,
)
from interview_edge.speech.speaker_operations import SpeakerOperations
from interview_edge.speech.speaker_work import SpeakerWork
from interview_edge.web.answer_headers import AnswerHeaders
from interview_edge.web.client_address import CLIENT, Network, client_of, find_client
from interview_edge.web.cors import Cors
from interview_edge.web.hypercorn import BodyBudget, BodyLimit
from interview_edge.web.lifespan import serve_lifespan
from interview_edge.web.refusals import COMMON_HEADERS, encode_headers, known_error, refuse_http
from interview_edge.web.refused_body import dispose_of_body
from interview_edge.web.request_ids import REQUEST_ID, request_id_of
from interview_edge.wire.speaker_requests import (
    MAX_BODY_BYTES,
    EnrollSpeaker,
    ExtractEmbedding,
    ResolveSpeaker,
    ScoreSpeakers,
    SpeakerRequest,
    decode_request,
)

log = structlog.get_logger(__name__)

BODIES_TOTAL = 8 * MAX_BODY_BYTES  # of all requests under way
ANSWER_TIMEOUT = 30.0  # seconds: twice what a full queue takes
HEALTH = "/health"
DIARIZE = "/sd/diarize"

# A request's body to its answer's, both JSON. It blocks: it is run where the model is.
Work = Callable[[SpeakerOperations, bytes], bytes]


def _work(
    kind: type[SpeakerRequest], answer: Callable[[SpeakerOperations, SpeakerRequest], dict[str, Any]]
) -> Work:
    def work(operations: SpeakerOperations, body: bytes) -> bytes:
        try:
            request = decode_request(body, kind)
        except ValueError as error:
            raise EdgeError(UNPROCESSABLE, f"{UNPROCESSABLE.detail}: {error}") from error
        return msgspec.json.encode(answer(operations, request))

    return work


OPERATIONS: dict[str, Work] = {
    "/speaker/resolve": _work(ResolveSpeaker, SpeakerOperations.resolve),
    "/speaker/enroll": _work(EnrollSpeaker, SpeakerOperations.enroll),
    "/sv/extract_embedding": _work(ExtractEmbedding, SpeakerOperations.extract_embedding),
    "/sv/score": _work(ScoreSpeakers, SpeakerOperations.score),
}
METHODS = {HEALTH: "GET", DIARIZE: "POST", **dict.fromkeys(OPERATIONS, "POST")}


@attrs.frozen(kw_only=True)
class InferenceRules:
    """Who may ask, and how often. Without `api_key` nobody is asked for one."""

    api_key: str | None = attrs.field(default=None, repr=False)
    requests_a_minute: int = 60  # of one address
    trusted_proxies: Sequence[Network] = ()


class InferenceAsgi:
    """The API on one model. `about` is what /health says beside `status`."""

    def __init__(self, work: SpeakerWork, rules: InferenceRules, about: dict[str, Any]) -> None:
        self._work = work
        self._rules = rules
        self._about = about
        self._buckets = Buckets(rules.requests_a_minute / 60, rules.requests_a_minute)
        self._bounded = BodyLimit(
            app=self._answer_operation,
            limit_for=lambda _: MAX_BODY_BYTES,
            budget=BodyBudget(BODIES_TOTAL),
            refuse=_refuse,
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One ASGI scope. Raises ValueError for a type that it doesn't serve, as ASGI asks."""
        if scope["type"] == "lifespan":
            await serve_lifespan(receive, send)
        elif scope["type"] == "http":
            found = {CLIENT: find_client(scope, self._rules.trusted_proxies)}
            known = {**scope, **found, REQUEST_ID: request_id_of(scope)}
            with structlog.contextvars.bound_contextvars(request_id=known[REQUEST_ID]):
                await self._serve(known, receive, AnswerHeaders(known, Cors(()), send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": ROUTE_NOT_FOUND.code})
        else:
            raise ValueError(f"an ASGI scope of type {scope['type']!r} is not served")

    async def _serve(self, scope: Any, receive: Any, answer: AnswerHeaders) -> None:
        try:
            self._admit(scope)
            if scope["path"] == HEALTH:
                await _reply(msgspec.json.encode({"status": "ok", **self._about}), answer.send)
                return
        except EdgeError as error:
            more = await dispose_of_body(scope, receive)
            await refuse_http(error, scope, answer.send, more)
            return
        await self._bounded(scope, receive, answer.send)

    def _admit(self, scope: Any) -> None:
        """Raises EdgeError for what is refused before its body is read."""
        path = scope["path"]
        if path not in METHODS:
            raise EdgeError(ROUTE_NOT_FOUND)
        if scope["method"] != METHODS[path]:
            raise EdgeError(METHOD_NOT_ALLOWED, headers={"allow": METHODS[path]})
        if path == HEALTH:  # asked by whoever watches the machine, as often as they like
            return
        level = self._buckets.take(client_of(scope).network or "", trio.current_time())
        if not level.granted:
            detail = f"at most {self._rules.requests_a_minute} requests a minute; retry later"
            raise EdgeError(RATE_LIMITED, detail, retry_after=level.wait)
        self._check_key(scope)
        if path == DIARIZE:
            raise EdgeError(DIARIZE_UNSUPPORTED)

    def _check_key(self, scope: Any) -> None:
        if self._rules.api_key is None:
            return
        shown = find_credential(scope["headers"])
        if not isinstance(shown, Bearer):
            raise EdgeError(MISSING_AUTH)
        if not hmac.compare_digest(shown.text.encode(), self._rules.api_key.encode()):
            raise EdgeError(INVALID_KEY)

    async def _answer_operation(self, scope: Any, receive: Any, send: Any) -> None:
        """One of OPERATIONS, its body bounded."""
        body = await _read(receive)
        if body is None:
            return  # gone, or refused while it came
        work = OPERATIONS[scope["path"]]
        try:
            with trio.fail_after(ANSWER_TIMEOUT):
                answer = await self._work.run(lambda operations: work(operations, body))
        except trio.TooSlowError:
            detail = f"{SPEAKER_MODEL_FAILED.detail}: no answer in {ANSWER_TIMEOUT:g} s"
            await _refuse(EdgeError(SPEAKER_MODEL_FAILED, detail), scope, send)
        except Exception as error:  # the boundary: what it is to the client, refusals.py says
            await _refuse(known_error(error), scope, send)
        else:
            await _reply(answer, send)


async def _refuse(error: EdgeError, scope: Any, send: Any) -> None:
    if error.kind.status >= 500:
        log.warning("a request failed", path=scope["path"], code=error.kind.code, detail=error.detail)
    await refuse_http(error, scope, send)


async def _read(receive: Any) -> bytes | None:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body)


async def _reply(body: bytes, send: Any) -> None:
    headers = {"content-type": "application/json; charset=utf-8", "content-length": str(len(body))}
    shown = encode_headers(headers | COMMON_HEADERS)
    await send({"type": "http.response.start", "status": 200, "headers": shown})
    await send({"type": "http.response.body", "body": body, "more_body": False})
