"""Requests at the door: whom it lets in, and to what."""

from __future__ import annotations

import pytest

from api_keys import bearer, give_key, revoke
from asgi_calls import call, refused_upgrade
from nodes import OpenNode

STATE = "/v1/sessions/interview/state"


async def test_without_keys_nobody_is_asked(open_node: OpenNode) -> None:
    async with open_node() as edge:
        assert (await call(edge.asgi_app, "GET", STATE)).status == 200


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
