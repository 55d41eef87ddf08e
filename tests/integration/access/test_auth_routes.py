"""/auth/*: keys over HTTP, logins of pages, tickets."""

from __future__ import annotations

from typing import Any

import pytest

from api_keys import bearer, give_key, revoke
from asgi_calls import Answer, call
from interview_edge.app import Edge
from nodes import OpenNode

JSON = {"content-type": "application/json"}


async def ask(edge: Edge, method: str, path: str, key: str, **body: Any) -> Answer:
    return await call(edge.asgi_app, method, path, headers=bearer(key) | JSON, body=body)


async def actions(edge: Edge) -> list[tuple[str, str, str | None]]:
    rows = await edge.parts.catalog.access.audit()
    return [(entry.action, entry.outcome, entry.owner) for _, entry in rows]


async def test_a_key_is_shown_once_used_and_revoked(open_node: OpenNode) -> None:
    async with open_node() as edge:
        admin = await give_key(edge, "admin", owner="root")
        made = await ask(edge, "POST", "/auth/keys", admin, name="laptop", owner="bob", scopes=["ingest"])
        assert made.status == 201
        key = made.json()["key"]
        assert (await ask(edge, "GET", "/auth/me", key)).json()["user"] == "bob"
        listed = (await ask(edge, "GET", "/auth/keys", key)).json()["items"]
        assert [item["name"] for item in listed] == ["laptop"]
        assert key not in str(listed)
        gone = await ask(edge, "DELETE", f"/auth/keys/{made.json()['key_id']}", key)
        assert gone.json()["revoked_at"] is not None
        assert (await ask(edge, "GET", "/auth/me", key)).status == 401
        assert ("key.create", "done", "root") in await actions(edge)
        assert ("key.revoke", "done", "bob") in await actions(edge)


async def test_only_its_owner_and_an_admin_revoke_a_key(open_node: OpenNode) -> None:
    async with open_node() as edge:
        alice, bob = [await give_key(edge, "ingest", owner=name) for name in ("alice", "bob")]
        answer = await ask(edge, "DELETE", f"/auth/keys/{alice.split('_')[1]}", bob)
        assert (answer.status, answer.json()["error"]["code"]) == (404, "key_not_found")
        assert (await ask(edge, "GET", "/auth/me", alice)).status == 200


async def test_only_an_admin_makes_keys(open_node: OpenNode) -> None:
    async with open_node() as edge:
        key = await give_key(edge, "ingest", "sessions")
        answer = await ask(edge, "POST", "/auth/keys", key, name="mine", scopes=["ingest"])
    assert answer.status == 403
    assert answer.json()["error"]["type"] == "permission_error"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"scopes": ["ingest"]}, "name"),
        ({"name": "x" * 101, "scopes": ["ingest"]}, "name"),
        ({"name": "n", "scopes": []}, "scopes"),
        ({"name": "n", "scopes": ["everything"]}, "scopes"),
        ({"name": "n", "scopes": ["ingest"], "owner": ""}, "owner"),
        ({"name": "n", "scopes": ["ingest"], "expires_in_days": 0}, "expires_in_days"),
        ({"name": "n", "scopes": ["ingest"], "expires_in_days": True}, "expires_in_days"),
        ({"name": "n", "scopes": ["ingest"], "quotas": {"chunks": -1}}, "quotas"),
        ({"name": "n", "scopes": ["ingest"], "quotas": {"love": 1}}, "quotas"),
        ({"name": "n", "scopes": ["ingest"], "expires_in_day": 1}, "expires_in_day"),
    ],
)
async def test_a_key_s_request_is_checked_field_by_field(
    open_node: OpenNode, body: dict[str, Any], field: str
) -> None:
    async with open_node() as edge:
        admin = await give_key(edge, "admin")
        answer = await ask(edge, "POST", "/auth/keys", admin, **body)
    assert answer.status == 400
    assert answer.json()["field"] == field
    assert answer.json()["error"]["message"].startswith(field)


async def login(edge: Edge, key: str) -> Answer:
    return await call(edge.asgi_app, "POST", "/auth/login", body={"key": key})


async def test_a_login_takes_a_key_and_nothing_else(open_node: OpenNode) -> None:
    async with open_node() as edge:
        key = await give_key(edge, "sessions")
        answer = await call(edge.asgi_app, "POST", "/auth/login", body={"key": key, "login_hours": 1})
    assert (answer.status, answer.json()["field"]) == (400, "login_hours")


async def test_a_page_logs_in_and_out(open_node: OpenNode) -> None:
    async with open_node() as edge:
        key = await give_key(edge, "sessions")
        answer = await login(edge, key)
        cookie = answer.headers["set-cookie"]
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
        with_cookie = {"cookie": cookie.split(";")[0]}
        me = await call(edge.asgi_app, "GET", "/auth/me", headers=with_cookie)
        assert me.json()["via"] == "login"
        proof = {"x-csrf-token": me.json()["csrf_token"]}
        assert proof["x-csrf-token"] == answer.json()["csrf_token"]
        await call(edge.asgi_app, "POST", "/auth/logout", headers=with_cookie | proof)
        assert (await call(edge.asgi_app, "GET", "/auth/me", headers=with_cookie)).status == 401
        assert [row[:2] for row in (await actions(edge))[1:]] == [("login", "done"), ("logout", "done")]


async def test_a_failed_login_leaves_a_row_without_the_key(open_node: OpenNode) -> None:
    async with open_node() as edge:
        key = await give_key(edge, "sessions")
        wrong = key[:-1] + ("A" if key[-1] != "A" else "B")
        assert (await login(edge, wrong)).status == 401
        (_, row) = (await edge.parts.catalog.access.audit())[-1]
    assert (row.action, row.outcome, row.address) == ("login", "invalid_key", "127.0.0.1")
    assert wrong not in str(row)


async def test_a_login_ends_with_its_key(open_node: OpenNode) -> None:
    async with open_node() as edge:
        key = await give_key(edge, "sessions")
        cookie = (await login(edge, key)).headers["set-cookie"].split(";")[0]
        await revoke(edge, key)
        answer = await call(edge.asgi_app, "GET", "/auth/me", headers={"cookie": cookie})
    assert answer.status == 401


async def test_a_ticket_names_its_seconds(open_node: OpenNode) -> None:
    async with open_node(ticket_seconds=7) as edge:
        key = await give_key(edge, "ingest")
        answer = await ask(edge, "POST", "/api/ws/ticket", key)
        refused = await call(edge.asgi_app, "POST", "/api/ws/ticket")
    assert 5 <= answer.json()["expires_in"] <= 7
    assert refused.status == 401
    assert refused.json() == {"success": False, "error": "Authentication required", "code": "missing_auth"}
