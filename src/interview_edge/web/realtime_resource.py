"""`/realtime/token`, `/v1/realtime/*`: ephemeral tokens and calls (contract gateway.md, Realtime token)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import msgspec
from quart import Response, request
from werkzeug.datastructures import FileStorage

from interview_edge.access.principal import Principal, Scope
from interview_edge.access.quotas import Quotas
from interview_edge.core.times import iso_from_ms
from interview_edge.errors import (
    BODY_NOT_JSON,
    BODY_TOO_LARGE,
    CATALOG_UNAVAILABLE,
    INVALID_BODY,
    INVALID_SDP,
    MODEL_NOT_ALLOWED,
    PROVIDER_BUSY,
    PROVIDER_FAILED,
    PROVIDER_REFUSED,
    PROVIDER_TIMEOUT,
    PROVIDER_UNSET,
    QUOTA_EXCEEDED,
    EdgeError,
)
from interview_edge.services.realtime import RealtimeService
from interview_edge.web.door import principal_of
from interview_edge.web.messages import invalid_field, json_reply, parse_object, read_body, whole_in_json
from interview_edge.web.refusals import COMMON_HEADERS
from interview_edge.web.routes import Content, Route
from interview_edge.web.schemas import Schema, nullable, record, ref, whole

_JSON = "application/json"
_SDP = "application/sdp"
MIN_TTL = 10  # seconds: the provider's own least
MAX_TTL = 7200
_PROVIDER_ERRORS = (
    PROVIDER_UNSET,
    MODEL_NOT_ALLOWED,
    QUOTA_EXCEEDED,
    PROVIDER_FAILED,
    PROVIDER_REFUSED,
    PROVIDER_BUSY,
    PROVIDER_TIMEOUT,
    CATALOG_UNAVAILABLE,
)
_BODY_ERRORS = (BODY_NOT_JSON, INVALID_BODY, BODY_TOO_LARGE)


@attrs.frozen
class RealtimeResource:
    """The views. `root_alias`: `POST /` mints, too, as the worker that this replaces did."""

    service: RealtimeService
    quotas: Quotas
    root_alias: bool

    def routes(self) -> list[Route]:
        token_paths = ["/realtime/token", "/v1/realtime/token", *(["/"] if self.root_alias else [])]
        return [*(self._token_route(path) for path in token_paths), *self._openai_routes()]

    @property
    def _models(self) -> Schema:
        return {"enum": [*self.service.models, None]}

    @property
    def _secret_request(self) -> Schema:
        seconds = nullable(whole(MIN_TTL, MAX_TTL))
        session = record({}, {"type": {"const": "realtime"}, "model": self._models})
        return record(
            {},
            {
                "expires_after": nullable(record({}, {"anchor": {}, "seconds": seconds})),
                "session": nullable(session),
            },
        )

    def _token_route(self, path: str) -> Route:
        return Route(
            method="POST",
            path=path,
            view=self.token,
            service="realtime",
            access=(Scope.REALTIME,),
            summary="Mint an ephemeral token for one realtime session",
            answers={200: Content(_JSON, ref("RealtimeToken"), "`expires_at` is in epoch seconds.")},
            errors=(*_BODY_ERRORS, *_PROVIDER_ERRORS),
            body=Content(
                _JSON, record({}, {"model": self._models}), "An empty body counts as `{}`.", optional=True
            ),
        )

    def _openai_routes(self) -> list[Route]:
        return [
            Route(
                method="POST",
                path="/v1/realtime/client_secrets",
                view=self.client_secret,
                service="realtime",
                access=(Scope.REALTIME,),
                summary="The same in the shape of OpenAI's API, for its clients",
                answers={200: Content(_JSON, ref("ClientSecret"), "The token is `value`.")},
                errors=(*_BODY_ERRORS, *_PROVIDER_ERRORS),
                body=Content(
                    _JSON, self._secret_request, "Of `session` only `model` is taken: the rest is ours."
                ),
            ),
            Route(
                method="POST",
                path="/v1/realtime/calls",
                view=self.call,
                service="realtime",
                access=(Scope.REALTIME,),
                summary="Start a realtime call over WebRTC; no token leaves the server",
                answers={201: Content(_SDP, {"type": "string"}, "The SDP answer; `Location` is the call.")},
                errors=(INVALID_SDP, INVALID_BODY, BODY_TOO_LARGE, *_PROVIDER_ERRORS),
                body=Content(
                    _SDP,
                    {"type": "string", "pattern": "^v=0"},
                    "The SDP offer; or as OpenAI's clients send it, `multipart/form-data` with `sdp` and "
                    "`session`.",
                ),
            ),
        ]

    async def token(self) -> Response:
        body = await read_body()
        data = parse_object(body) if body.strip() else {}
        model = self.service.model(_model(data, "model"))
        secret = await self.service.mint(await self._minter(), model)
        return json_reply(
            {
                "token": secret.value,
                "model": model,
                "expires_at": secret.expires_at,
                "expires_at_iso": iso_from_ms(secret.expires_at * 1000),
            }
        )

    async def client_secret(self) -> Response:
        data = parse_object(await read_body())
        session = _object(data, "session")
        kind = session.get("type", "realtime")
        if kind != "realtime":
            raise invalid_field("session.type", "must be realtime")
        seconds = _object(data, "expires_after").get("seconds")
        ttl = whole_in_json(seconds)
        if seconds is not None and (ttl is None or not MIN_TTL <= ttl <= MAX_TTL):
            raise invalid_field("expires_after.seconds", f"must be a whole number, {MIN_TTL}..{MAX_TTL}")
        secret = await self.service.mint(await self._minter(), _model(session, "session.model"), ttl)
        return json_reply({"value": secret.value, "expires_at": secret.expires_at, "session": secret.session})

    async def call(self) -> Response:
        sdp, session = await _read_offer()
        if not sdp.startswith(b"v=0"):
            raise EdgeError(INVALID_SDP)
        answer = await self.service.call(await self._minter(), sdp, _model(session, "session.model"))
        located = {} if answer.location is None else {"location": answer.location}
        return Response(answer.sdp, 201, {"content-type": _SDP} | COMMON_HEADERS | located)

    async def _minter(self) -> Principal:
        """Who asks, whose key's day isn't used up. Raises EdgeError(quota_exceeded)."""
        principal = principal_of(request.scope)
        await self.quotas.check_minting(principal)
        return principal


def _model(data: Mapping[str, Any], field: str) -> str | None:
    model = data.get(field.rpartition(".")[2])
    if model is not None and not isinstance(model, str):
        raise invalid_field(field, "must be a string")
    return model


def _object(data: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    value = data.get(field)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid_field(field, "must be an object")
    return value


async def _read_offer() -> tuple[bytes, Mapping[str, Any]]:
    """The SDP offer and the client's wish for a session. Raises EdgeError(invalid_sdp, invalid_body)."""
    media_type = request.mimetype
    if media_type == _SDP:
        return await read_body(), {}
    if media_type != "multipart/form-data":
        raise EdgeError(INVALID_SDP)
    form, files = await request.form, await request.files
    sdp = _part(form.get("sdp"), files.get("sdp"))
    if sdp is None:
        raise EdgeError(INVALID_SDP)
    session = _part(form.get("session"), files.get("session"))
    if session is None:
        return sdp, {}
    try:
        parsed = msgspec.json.decode(session)
    except (ValueError, RecursionError):
        parsed = None
    return sdp, _object({"session": parsed if isinstance(parsed, dict) else 0}, "session")


def _part(text: str | None, file: FileStorage | None) -> bytes | None:
    if file is not None:
        return bytes(file.read())
    return None if text is None else text.encode()
