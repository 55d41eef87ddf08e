"""JWTs of the operator's identity provider, at a whole node."""

from __future__ import annotations

import time
from typing import Any

import jwt

from api_keys import bearer, give_key
from asgi_calls import call
from nodes import OpenNode

SECRET = "s" * 32
TAKES_JWT = {"jwt_secret": SECRET, "jwt_audience": "edge", "jwt_issuer": "https://id.example.com"}
FINALIZE = "/v1/sessions/interview/finalize"


def token(user: str, scope: str, **changes: Any) -> dict[str, str]:
    claims = {
        "sub": user,
        "scope": scope,
        "aud": "edge",
        "iss": "https://id.example.com",
        "exp": int(time.time()) + 300,
    }
    return bearer(jwt.encode(claims | changes, SECRET))


async def test_a_node_that_takes_jwts_asks_everybody(open_node: OpenNode) -> None:
    async with open_node(**TAKES_JWT) as edge:
        assert (await call(edge.asgi_app, "GET", "/v1/sessions")).status == 401
        assert (
            await call(edge.asgi_app, "GET", "/v1/sessions", headers=token("a", "sessions"))
        ).status == 200


async def test_a_user_of_jwts_has_sessions_and_scopes_as_one_of_keys(open_node: OpenNode) -> None:
    async with open_node(**TAKES_JWT) as edge:
        alice, bob = token("alice", "ingest other:thing"), token("bob", "ingest sessions")
        assert (await call(edge.asgi_app, "POST", FINALIZE, headers=alice)).status == 200
        assert (await call(edge.asgi_app, "POST", FINALIZE, headers=bob)).status == 404
        assert (await call(edge.asgi_app, "GET", "/v1/sessions", headers=alice)).status == 403
        by_key = bearer(await give_key(edge, "sessions", owner="alice"))
        listed = await call(edge.asgi_app, "GET", "/v1/sessions", headers=by_key)
        assert [item["session_id"] for item in listed.json()["items"]] == ["interview"]


async def test_a_jwt_for_somebody_else_or_out_of_date_is_refused(open_node: OpenNode) -> None:
    async with open_node(**TAKES_JWT) as edge:
        for changes in ({"aud": "mail"}, {"iss": "https://evil"}, {"exp": int(time.time()) - 60}):
            answer = await call(edge.asgi_app, "GET", "/auth/me", headers=token("a", "admin", **changes))
            assert (answer.status, answer.json()["error"]["code"]) == (401, "invalid_key")


async def test_where_the_keys_can_not_be_had_nobody_is_told_that_his_token_is_wrong(
    open_node: OpenNode,
) -> None:
    by_url = {"jwt_secret": None, "jwt_jwks_url": "http://127.0.0.1:9/keys"}
    async with open_node(**TAKES_JWT | by_url) as edge:
        signed = jwt.api_jws.PyJWS().encode(b"{}", "k" * 32, headers={"alg": "HS256", "kid": "a"})
        forged = signed.replace(signed.split(".")[0], "eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ")  # RS256, kid a
        answer = await call(edge.asgi_app, "GET", "/auth/me", headers=bearer(forged))
    assert (answer.status, answer.json()["error"]["code"]) == (503, "jwks_unavailable")
