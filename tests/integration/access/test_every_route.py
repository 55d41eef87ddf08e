"""Every route of the table, asked by everybody: the exact status for each credential there can be.

The routes come from the table itself: a new one fails here until it is said who may use it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs
import pytest

from api_keys import bearer, give_key, revoke
from asgi_calls import call, talk
from interview_edge.access.credentials import LOGIN_COOKIE
from interview_edge.access.principal import Scope
from interview_edge.app import Edge, wall_ms
from interview_edge.core.models import Caller
from interview_edge.errors import RATE_LIMITED, EdgeError
from interview_edge.web.asgi import EdgeAsgi
from interview_edge.web.door import Door
from nodes import OpenNode

WRONG = "ie_0000000000000000_" + "x" * 43


@attrs.frozen
class Row:
    """What a route answers to whom. The session (or key) that the path names is Alice's, with nothing
    recorded.

    `scopes`: any one of them opens it. `nobody`: without a key; a key that isn't valid is 401 everywhere.
    """

    right: int
    scopes: tuple[str, ...]
    wrong_scope: int
    other_owner: int
    nobody: int

    @property
    def without(self) -> tuple[str, ...]:
        """Every scope that doesn't open it."""
        return tuple(scope.value for scope in Scope if scope not in (*self.scopes, Scope.ADMIN))


def scoped(*scopes: str, right: int = 200, other: int | None = None) -> Row:
    return Row(right, scopes, 403, right if other is None else other, 401)


def signed_in(right: int, other: int | None = None) -> Row:
    return Row(right, ("rag",), right, right if other is None else other, 401)


def anybody(right: int = 200) -> Row:
    return Row(right, ("rag",), right, right, right)


ONE = "/v1/sessions/<segment:session_id>"
SOCKET = "/v1/audio/ws/<segment:session_id>"
STORAGE = "/api/audio-storage"
EXPECTED: Mapping[tuple[str, str], Row] = {
    ("GET", "/health"): anybody(),
    ("GET", "/livez"): anybody(),
    ("GET", "/readyz"): anybody(),
    ("GET", "/openapi.json"): anybody(),
    ("GET", "/asyncapi.json"): anybody(),
    ("GET", "/docs"): anybody(),
    ("GET", "/docs/style.css"): anybody(),
    ("GET", "/"): anybody(307),
    ("GET", "/audio-storage-test"): anybody(),
    ("GET", "/console"): anybody(),
    ("GET", "/pages/<segment:folder>/<segment:name>"): anybody(),
    ("GET", "/v1/ingest/health"): anybody(),
    ("GET", "/v1/auth/health"): anybody(),
    ("GET", "/v1/realtime/health"): anybody(),
    ("POST", "/auth/login"): anybody(400),  # without a body
    ("GET", "/metrics"): scoped("admin"),
    ("GET", "/v1/sessions"): scoped("sessions"),
    ("GET", f"{ONE}/state"): scoped("ingest", "sessions", other=404),
    ("GET", f"{ONE}/events"): scoped("sessions", other=404),
    ("GET", f"{ONE}/transcript"): scoped("sessions", other=404),
    ("GET", f"{ONE}/result"): scoped("sessions", right=404, other=404),  # not finalized
    ("POST", f"{ONE}/resolve"): scoped("ingest", "sessions", right=400, other=404),  # without a body
    ("POST", f"{ONE}/finalize"): scoped("ingest", "sessions", other=404),
    ("GET", f"{ONE}/audio"): scoped("sessions", right=404, other=404),  # no audio yet
    ("GET", f"{ONE}/chunks/<segment:seq>"): scoped("sessions", right=404, other=404),
    ("DELETE", ONE): scoped("sessions", other=404),
    ("GET", SOCKET): scoped("ingest", right=426, other=404),  # without an upgrade
    ("GET", f"{SOCKET}/<segment:stream>"): scoped("ingest", right=426, other=404),
    ("GET", "/api/ws"): scoped("ingest", right=426),
    ("POST", "/api/ws/ticket"): scoped("ingest"),
    ("GET", f"{STORAGE}/stats"): scoped("admin"),
    ("GET", f"{STORAGE}/files/<segment:user_or_path>"): scoped("admin"),
    ("GET", f"{STORAGE}/download/<key:path>"): scoped("admin", right=404),  # no such file
    ("POST", f"{STORAGE}/download"): scoped("admin", right=400),  # without a body
    ("DELETE", f"{STORAGE}/files/<key:user_or_path>"): scoped("admin", right=404),
    ("POST", f"{STORAGE}/delete"): scoped("admin", right=400),
    ("POST", f"{STORAGE}/cleanup"): scoped("admin", right=400),
    ("GET", "/auth/me"): signed_in(200),
    ("POST", "/auth/logout"): signed_in(200),
    ("GET", "/auth/keys"): signed_in(200),
    ("POST", "/auth/keys"): scoped("admin", right=400),  # without a body
    ("DELETE", "/auth/keys/<segment:key_id>"): signed_in(200, other=404),
    ("GET", "/v1/usage"): signed_in(200),
    ("GET", "/auth/audit"): scoped("admin"),
    ("POST", "/realtime/token"): scoped("realtime", right=503),  # without a provider
    ("POST", "/v1/realtime/token"): scoped("realtime", right=503),
    ("POST", "/v1/realtime/client_secrets"): scoped("realtime", right=400),  # without a body
    ("POST", "/v1/realtime/calls"): scoped("realtime", right=400),
}
PAGE_FILE = {"folder": "style", "name": "page.css"}
# The browser socket's handshake may be accepted without a credential: test_browser_admission.py.
NAMED_SOCKETS = {route for route in EXPECTED if route[1].startswith(SOCKET)}
SOCKETS = NAMED_SOCKETS | {("GET", "/api/ws")}


@attrs.frozen
class People:
    """The node's keys: `invalid` by what is wrong with them."""

    edge: Edge
    invalid: Mapping[str, str]

    async def key(self, scopes: tuple[str, ...], owner: str = "alice") -> str:
        return await give_key(self.edge, *scopes, owner=owner)

    async def path_of(self, method: str, pattern: str, more: str = "") -> str:
        """A path for the route, to a session (or key) of Alice's that no other path names."""
        session_id = re.sub(r"\W+", "-", f"{method}{pattern}{more}")
        async with self.edge.registry.use(session_id, Caller("alice")):
            pass
        values = {"session_id": session_id, "stream": "mixed", "seq": "1"} | PAGE_FILE
        values["path"] = f"sessions/{session_id}/chunks/00000001.pcm"
        values["user_or_path"] = "alice" if method == "GET" else values["path"]
        if "key_id" in pattern:
            values["key_id"] = (await self.key(("rag",))).split("_")[1]
        return re.sub(r"<\w+:(\w+)>", lambda found: values[found[1]], pattern)


async def people(edge: Edge) -> People:
    revoked = await give_key(edge, "admin")
    await revoke(edge, revoked)
    expired = await give_key(edge, "admin", expires_at=wall_ms() - 1)
    return People(edge, {"wrong": WRONG, "expired": expired, "revoked": revoked})


async def test_every_route_has_its_row(open_node: OpenNode) -> None:
    """By the table that a node serves from, so that nothing can be served that isn't here."""
    async with open_node() as edge:
        app: EdgeAsgi = edge.asgi_app
        assert {(route.method, route.path) for route in app.table.routes} == set(EXPECTED)
        assert {(route.method, route.path) for route in app.socket_routes} == SOCKETS


@pytest.mark.parametrize(("method", "pattern"), EXPECTED)
async def test_each_answers_each_credential_as_it_should(
    open_node: OpenNode, method: str, pattern: str
) -> None:
    row = EXPECTED[method, pattern]
    async with open_node() as edge:
        keys = await people(edge)
        path = await keys.path_of(method, pattern)

        async def status(key: str | None, path: str = path) -> int:
            headers = {} if key is None else bearer(key)
            return (await call(edge.asgi_app, method, path, headers=headers)).status

        assert await status(None) == row.nobody
        for what, key in keys.invalid.items():
            assert await status(key) == 401, what
        assert await status(await keys.key(row.without)) == row.wrong_scope
        assert await status(await keys.key(row.scopes, owner="bob")) == row.other_owner
        for scope in (*row.scopes, "admin"):
            own = await keys.path_of(method, pattern, scope)
            assert await status(await keys.key((scope,)), own) == row.right, scope


@pytest.mark.parametrize(("method", "pattern"), sorted(NAMED_SOCKETS))
async def test_each_socket_s_handshake_does(open_node: OpenNode, method: str, pattern: str) -> None:
    async with open_node() as edge:
        keys = await people(edge)
        path = await keys.path_of(method, pattern)

        async def status(key: str | None) -> int:
            return (await talk(edge.asgi_app, path, headers={} if key is None else bearer(key))).status

        assert await status(None) == 401
        for what, key in keys.invalid.items():
            assert await status(key) == 401, what
        assert await status(await keys.key(EXPECTED[method, pattern].without)) == 403
        assert await status(await keys.key(("ingest",), owner="bob")) == 404
        assert await status(await keys.key(("ingest",))) == 101


async def test_no_scope_gets_past_the_door(open_node: OpenNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the door refuses is refused, whichever handler stands behind it."""

    async def refuse(*_: object) -> None:
        raise EdgeError(RATE_LIMITED)

    monkeypatch.setattr(Door, "admit", refuse)
    async with open_node() as edge:
        keys = People(edge, {})
        for method, pattern in EXPECTED:
            path = await keys.path_of(method, pattern)
            assert (await call(edge.asgi_app, method, path)).status == 429, path
        for method, pattern in NAMED_SOCKETS:
            path = await keys.path_of(method, pattern)
            assert (await talk(edge.asgi_app, path)).status == 429, path


async def test_what_is_no_route_says_nothing_of_keys(open_node: OpenNode) -> None:
    async with open_node() as edge:
        keys = await people(edge)
        right = await keys.key(("admin",))
        for key in (None, right, *keys.invalid.values()):
            headers = {} if key is None else bearer(key)
            for method, path, status in (
                ("GET", "/nowhere", 404),
                ("GET", "/v1/sessions/a/nowhere", 404),
                ("PUT", "/v1/sessions/a/state", 405),
                ("BREW", "/auth/keys", 405),
            ):
                assert (await call(edge.asgi_app, method, path, headers=headers)).status == status
            assert (await talk(edge.asgi_app, "/v1/sessions/a/state", headers=headers)).status == 404


async def test_health_and_metrics_show_to_whom_they_should(open_node: OpenNode) -> None:
    async with open_node() as edge:
        key = await give_key(edge, "rag")
        anybody_s = (await call(edge.asgi_app, "GET", "/health")).json()
        assert set(anybody_s) == {"status", "app", "version"}
        assert "checks" in (await call(edge.asgi_app, "GET", "/health", headers=bearer(key))).json()
    async with open_node(public_metrics=True) as edge:
        assert "checks" in (await call(edge.asgi_app, "GET", "/health")).json()
        assert (await call(edge.asgi_app, "GET", "/metrics")).status == 200


async def test_a_login_that_ended_keeps_nobody_from_logging_in_again(open_node: OpenNode) -> None:
    async with open_node() as edge:
        key = await give_key(edge, "sessions")
        headers = {"cookie": f"{LOGIN_COOKIE}=over"}
        assert (await call(edge.asgi_app, "GET", "/auth/me", headers=headers)).status == 401
        body = {"key": key}
        assert (await call(edge.asgi_app, "POST", "/auth/login", headers=headers, body=body)).status == 200
