"""Every route with the wrong method, id or path, through the real application."""

from __future__ import annotations

import pytest

from asgi_calls import Answer, call, refused_upgrade
from nodes import OpenNode, connect

SESSION_ROUTES = [
    ("GET", "state"),
    ("POST", "resolve"),
    ("POST", "finalize"),
    ("GET", "events"),
    ("GET", "result"),
    ("GET", "audio"),
    ("GET", "chunks/1"),
]
NODE_ROUTES = [
    "health",
    "livez",
    "readyz",
    "metrics",
    "openapi.json",
    "asyncapi.json",
    "docs",
    "docs/style.css",
]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"]


def is_refusal(answer: Answer, status: int, code: str, detail: str) -> bool:
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert (answer.status, answer.json()) == (status, {"detail": detail, "code": code})
    return True


async def test_each_route_takes_its_own_methods_only(open_node: OpenNode) -> None:
    allowed = {
        "/v1/sessions": "GET, HEAD",
        "/v1/sessions/s": "DELETE",
        **{f"/v1/sessions/s/{name}": "GET, HEAD" if m == "GET" else m for m, name in SESSION_ROUTES},
        **{f"/{name}": "GET, HEAD" for name in NODE_ROUTES},
        "/v1/audio/ws/s": "GET",
        "/v1/audio/ws/s/teacher": "GET",
    }
    async with open_node() as edge:
        for path, methods in allowed.items():
            for method in METHODS:
                if method in methods.split(", "):
                    continue
                answer = await call(edge.asgi_app, method, path)
                assert answer.headers["allow"] == methods, (method, path)
                assert is_refusal(answer, 405, "method_not_allowed", "method not allowed")


@pytest.mark.parametrize(
    "path",
    ["/v1", "/health/", "/v1/sessions/", "/v1/sessions/s/nope", "/v1/sessions/a/b/state", "//health",
     "/v1/audio/ws", "/v1/audio/ws/a/b/c", "/favicon.ico", "/static/x", "*"],
)  # fmt: skip
async def test_what_is_not_a_route_is_not_found(open_node: OpenNode, path: str) -> None:
    async with open_node() as edge:
        answer = await call(edge.asgi_app, "GET", path)
        if path == "/v1/sessions/":  # a session with an empty id, which has no GET
            assert answer.status == 405
        else:
            assert is_refusal(answer, 404, "route_not_found", "route not found")


async def test_bad_ids_are_refused_on_every_route(open_node: OpenNode) -> None:
    too_long = "x" * 129
    async with open_node() as edge:
        for method, name in SESSION_ROUTES:
            for bad in ("", too_long, "%E4%BD%A0" * 129):
                answer = await call(edge.asgi_app, method, f"/v1/sessions/{bad}/{name}")
                assert is_refusal(answer, 400, "invalid_session_id", "session_id must be 1..128 chars")
            for bad in ("%FF", "a%", "a%4", "%zz", "%ED%A0%80"):
                answer = await call(edge.asgi_app, method, f"/v1/sessions/{bad}/{name}")
                detail = "the path is not valid percent-encoded UTF-8"
                assert is_refusal(answer, 400, "invalid_path", detail)


@pytest.mark.parametrize(
    ("encoded", "session_id"),
    [
        ("a%2Fb", "a/b"),
        ("a%2fb", "a/b"),
        ("%E4%BD%A0%E5%A5%BD", "你好"),
        ("q%3Fx%23y", "q?x#y"),
        ("100%25", "100%"),
        ("%252F", "%2F"),
        ("a%20b+c", "a b+c"),
        ("..", ".."),
        ("%2E", "."),
        ("x" * 128, "x" * 128),
    ],
)
async def test_an_encoded_id_reaches_its_session(open_node: OpenNode, encoded: str, session_id: str) -> None:
    async with open_node() as edge:
        async with connect(edge, session_id) as peer:
            await peer.send_chunk(1)
            await peer.answer()
        state = (await call(edge.asgi_app, "GET", f"/v1/sessions/{encoded}/state")).json()
        assert state["session_id"] == session_id
        assert state["ingest"]["received_chunks"] == 1
        assert (await call(edge.asgi_app, "GET", f"/v1/sessions/{encoded}/chunks/1")).status == 200
        other = (await call(edge.asgi_app, "GET", "/v1/sessions/a_b/state")).json()
        assert other["ingest"] is None


async def test_a_mounted_application_routes_below_its_root(open_node: OpenNode) -> None:
    async with open_node() as edge:
        answer = await call(edge.asgi_app, "GET", "/edge/v1/sessions/a%2Fb/state", root_path="/edge")
        assert answer.json()["session_id"] == "a/b"


async def test_a_plain_request_on_the_socket_is_told_to_upgrade(open_node: OpenNode) -> None:
    async with open_node() as edge:
        answer = await call(edge.asgi_app, "GET", "/v1/audio/ws/s")
        assert answer.headers["upgrade"] == "websocket"
        assert is_refusal(answer, 426, "upgrade_required", "websocket upgrade required")
        answer = await call(edge.asgi_app, "GET", "/v1/audio/ws/")
        assert is_refusal(answer, 400, "invalid_session_id", "session_id must be 1..128 chars")


@pytest.mark.parametrize(
    ("target", "status", "code", "close"),
    [
        ("/v1/audio/ws/%FF", 400, "invalid_path", 1008),
        ("/v1/audio/ws/" + "x" * 129, 400, "invalid_session_id", 1008),
        ("/v1/audio/ws/s/Teacher", 400, "invalid_stream", 1008),
        ("/v1/audio/ws/a/b/c", 404, "route_not_found", 1008),
        ("/v1/sessions/s/state", 404, "route_not_found", 1008),
    ],
)
async def test_a_bad_handshake_is_refused_before_the_upgrade(
    open_node: OpenNode, target: str, status: int, code: str, close: int
) -> None:
    async with open_node() as edge:
        answer = await refused_upgrade(edge.asgi_app, target)
        assert isinstance(answer, Answer)
        assert (answer.status, answer.json()["code"]) == (status, code)
        assert await refused_upgrade(edge.asgi_app, target, extension=False) == close


async def test_a_draining_node_takes_no_socket_and_is_not_ready(open_node: OpenNode) -> None:
    async with open_node() as edge:
        assert (await call(edge.asgi_app, "GET", "/readyz")).json() == {"status": "ok"}
        edge.registry.drain()
        answer = await refused_upgrade(edge.asgi_app, "/v1/audio/ws/s")
        assert isinstance(answer, Answer)
        assert (answer.status, answer.json()["code"]) == (503, "draining")
        assert int(answer.headers["retry-after"]) >= 1
        ready = await call(edge.asgi_app, "GET", "/readyz")
        assert (ready.status, ready.json()["check"]) == (503, "draining")
        assert (await call(edge.asgi_app, "GET", "/livez")).status == 200
        assert (await call(edge.asgi_app, "POST", "/v1/sessions/s/finalize")).status == 503


async def test_a_body_over_the_limit_is_refused_unread(open_node: OpenNode) -> None:
    async with open_node() as edge:
        for name, size in (("resolve", 16 * 1024**2), ("finalize", 1024**2)):
            headers = {"content-length": str(size + 1)}
            answer = await call(edge.asgi_app, "POST", f"/v1/sessions/s/{name}", headers=headers)
            assert is_refusal(answer, 413, "body_too_large", "request body is over the limit")


async def test_lifespan_is_answered(open_node: OpenNode) -> None:
    asked = iter(["lifespan.startup", "lifespan.shutdown"])
    answered = []

    async def receive() -> dict[str, str]:
        return {"type": next(asked)}

    async def send(message: dict[str, str]) -> None:
        answered.append(message["type"])

    async with open_node() as edge:
        await edge.asgi_app({"type": "lifespan"}, receive, send)
        with pytest.raises(ValueError, match="telepathy"):
            await edge.asgi_app({"type": "telepathy"}, receive, send)
    assert answered == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
