"""Requests at the door: whom it lets in, and to what."""

from __future__ import annotations

import re

import pytest

from api_keys import bearer, give_key, revoke
from asgi_calls import call, refused_upgrade
from interview_edge.access.credentials import LOGIN_COOKIE
from interview_edge.access.csrf import csrf_token
from interview_edge.access.principal import Principal, Scope, Via
from interview_edge.catalog.access import GrantKind
from nodes import OpenNode

STATE = "/v1/sessions/interview/state"


async def test_without_keys_nobody_is_asked(open_node: OpenNode) -> None:
    async with open_node() as edge:
        assert (await call(edge.asgi_app, "GET", STATE)).status == 200


async def test_without_keys_only_this_machine_is_served(open_node: OpenNode) -> None:
    rebound = {"host": "rebound.example.com"}
    async with open_node() as edge:
        for route in edge.asgi_app.table.routes:
            path = re.sub("<.*?>", "1", route.path)
            answer = await call(edge.asgi_app, route.method, path, headers=rebound)
            probe = path in ("/livez", "/readyz")
            assert answer.status == (200 if probe else 403), path
            assert probe or "local_only" in answer.body.decode()
        answer = await refused_upgrade(edge.asgi_app, "/v1/audio/ws/interview", headers=rebound)
        assert not isinstance(answer, int)
        assert (answer.status, answer.json()["code"]) == (403, "local_only")
        behind = {"x-forwarded-for": "127.0.0.1"}
        assert (await call(edge.asgi_app, "GET", STATE, headers=behind)).status == 403


async def test_without_keys_a_listed_page_may_ask(open_node: OpenNode) -> None:
    async with open_node(cors_origins=("https://console.example.com",)) as edge:
        for origin, status in (("https://console.example.com", 200), ("https://evil.example.com", 403)):
            assert (await call(edge.asgi_app, "GET", STATE, headers={"origin": origin})).status == status


@pytest.mark.parametrize("with_key", [False, True])
async def test_an_insecure_node_asks_nobody(open_node: OpenNode, *, with_key: bool) -> None:
    async with open_node(insecure=True) as edge:
        if with_key:
            await give_key(edge, "admin")
        answer = await call(edge.asgi_app, "GET", STATE, headers={"host": "rebound.example.com"})
        assert answer.status == 200


async def test_a_cookie_needs_proof_that_a_page_of_ours_asks(open_node: OpenNode) -> None:
    async with open_node() as edge:
        await give_key(edge, "sessions")
        principal = Principal("alice", frozenset({Scope.SESSIONS, Scope.INGEST}), Via.KEY)
        login = (await edge.access.grants.give(GrantKind.LOGIN, principal, 60)).text
        cookie = {"cookie": f"{LOGIN_COOKIE}={login}"}
        assert (await call(edge.asgi_app, "GET", STATE, headers=cookie)).status == 200
        finalize = "/v1/sessions/interview/finalize"
        refused = await call(edge.asgi_app, "POST", finalize, headers=cookie)
        assert (refused.status, refused.json()["code"]) == (403, "csrf_refused")
        proof = cookie | {"x-csrf-token": csrf_token(login)}
        assert (await call(edge.asgi_app, "POST", finalize, headers=proof)).status == 200
        refused_socket = await refused_upgrade(edge.asgi_app, "/v1/audio/ws/interview", headers=proof)
        assert not isinstance(refused_socket, int)
        assert (refused_socket.status, refused_socket.json()["code"]) == (403, "origin_refused")


async def test_from_the_first_key_on_everybody_is_asked_for_ever(open_node: OpenNode) -> None:
    async with open_node() as edge:
        key = await give_key(edge, "sessions")
        await revoke(edge, key)
    async with open_node() as edge:
        answer = await call(edge.asgi_app, "GET", STATE)
    assert answer.status == 401
    assert answer.json()["code"] == "missing_auth"


async def test_a_key_opens_what_its_scopes_name(open_node: OpenNode) -> None:
    async with open_node() as edge:
        key = await give_key(edge, "ingest")
        assert (await call(edge.asgi_app, "GET", STATE, headers=bearer(key))).status == 200
        refused = await call(edge.asgi_app, "GET", "/v1/sessions", headers=bearer(key))
    assert refused.status == 403
    assert refused.json()["detail"] == "this needs the scope sessions"


@pytest.mark.parametrize("wrong", ["ie_0000000000000000_" + "x" * 43, "ie_1", "secret", "é"])
async def test_a_wrong_key_is_refused_whatever_is_wrong(open_node: OpenNode, wrong: str) -> None:
    async with open_node() as edge:
        await give_key(edge, "sessions")
        answer = await call(edge.asgi_app, "GET", STATE, headers={"x-api-key": wrong})
    assert answer.status == 401
    assert answer.json()["code"] == "invalid_key"


async def test_another_s_session_is_as_if_not_there(open_node: OpenNode) -> None:
    async with open_node() as edge:
        alice = await give_key(edge, "sessions", "ingest", owner="alice")
        bob = await give_key(edge, "sessions", "ingest", owner="bob")
        finalize = "/v1/sessions/interview/finalize"
        assert (await call(edge.asgi_app, "POST", finalize, headers=bearer(alice))).status == 200
        for method, path in [("GET", STATE), ("POST", finalize), ("DELETE", "/v1/sessions/interview")]:
            answer = await call(edge.asgi_app, method, path, headers=bearer(bob))
            assert (answer.status, answer.json()["code"]) == (404, "session_not_found")
        listed = await call(edge.asgi_app, "GET", "/v1/sessions", headers=bearer(bob))
        assert listed.json()["items"] == []


async def test_a_socket_is_refused_before_its_upgrade(open_node: OpenNode) -> None:
    async with open_node() as edge:
        await give_key(edge, "ingest")
        answer = await refused_upgrade(edge.asgi_app, "/v1/audio/ws/interview")
    assert not isinstance(answer, int)
    assert answer.status == 401
