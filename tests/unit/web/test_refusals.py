"""Errors as bodies: the shape of each family of routes, and what goes beside it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from interview_edge.errors import (
    ERRORS,
    INVALID_BODY,
    INVALID_KEY,
    INVALID_TICKET,
    MISSING_AUTH,
    PROVIDER_TIMEOUT,
    RATE_LIMITED,
    SERVICE_UNAVAILABLE,
    EdgeError,
    ErrorKind,
)
from interview_edge.web.refusals import Family, error_body, error_headers, family_of, refuse_http


@pytest.mark.parametrize(
    ("path", "family"),
    [
        ("/v1/sessions/a/state", Family.INGEST),
        ("/v1/audio/ws/auth", Family.INGEST),
        ("/health", Family.INGEST),
        ("/nowhere", Family.INGEST),
        ("/v1", Family.INGEST),
        ("//auth", Family.INGEST),
        ("/%FF", Family.INGEST),
        ("/api", Family.API),
        ("/api/ws/ticket", Family.API),
        ("/", Family.OPENAI),
        ("/auth/me", Family.OPENAI),
        ("/v1/usage", Family.OPENAI),
        ("/realtime/token", Family.OPENAI),
        ("/v1/realtime/calls", Family.OPENAI),
        ("/v1/chat/completions", Family.OPENAI),
        ("/v1/auth%2Fme", Family.INGEST),
    ],
)
async def test_the_shape_goes_by_the_path(path: str, family: Family) -> None:
    answers: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        answers.append(message)

    await refuse_http(EdgeError(INVALID_BODY), {"raw_path": path.encode()}, send)
    assert json.loads(answers[1]["body"]) == body(INVALID_BODY, family)
    if "%" not in path:
        assert family_of(path) is family


def body(kind: ErrorKind, family: Family, **more: object) -> object:
    return json.loads(error_body(EdgeError(kind, fields=more), family))


def test_each_family_has_its_shape() -> None:
    detail, code = INVALID_BODY.detail, "invalid_body"
    assert body(INVALID_BODY, Family.INGEST, field="x") == {"detail": detail, "code": code, "field": "x"}
    assert body(INVALID_BODY, Family.API) == {"success": False, "error": detail, "code": code}
    assert body(INVALID_BODY, Family.OPENAI) == {
        "error": {"message": detail, "type": "invalid_request_error", "code": code}
    }


@pytest.mark.parametrize(
    ("kind", "type_", "code"),
    [
        (MISSING_AUTH, "authentication_error", "missing_auth"),
        (INVALID_KEY, "authentication_error", "invalid_key"),
        (INVALID_TICKET, "authentication_error", "invalid_key"),
        (ERRORS["insufficient_scope"], "permission_error", "insufficient_scope"),
        (RATE_LIMITED, "rate_limit_error", "rate_limited"),
        (SERVICE_UNAVAILABLE, "service_error", "service_unavailable"),
        (PROVIDER_TIMEOUT, "upstream_error", "provider_timeout"),
        (ERRORS["key_not_found"], "invalid_request_error", "key_not_found"),
    ],
)
def test_openai_s_type_goes_by_the_status(kind: ErrorKind, type_: str, code: str) -> None:
    shown = body(kind, Family.OPENAI)
    message = "Authentication required" if kind.status == 401 else kind.detail
    assert shown == {"error": {"message": message, "type": type_, "code": code}}


def test_access_errors_of_the_ingest_routes_have_both_shapes() -> None:
    for kind in ERRORS.values():
        shown = body(kind, Family.INGEST)
        assert isinstance(shown, dict)
        assert (shown["detail"], shown["code"]) == (kind.detail, kind.code)
        assert ("error" in shown) == (kind.status in (401, 403, 429))


def test_a_401_says_how_to_show_a_key() -> None:
    for kind in ERRORS.values():
        headers = error_headers(EdgeError(kind, fields={"size": 1}))
        assert headers.get("www-authenticate") == ("Bearer" if kind.status == 401 else None)
