"""What every answer carries, whoever gives it, and what pages of other origins are told."""

from __future__ import annotations

import pytest

from api_keys import bearer, give_key
from asgi_calls import Answer, call, refused_upgrade
from nodes import OpenNode

CONSOLE = "https://console.example.com"
FOREIGN = "https://elsewhere.example.com"
STATE = "/v1/sessions/interview/state"
ASKED = {"access-control-request-method": "GET", "access-control-request-headers": "authorization"}

# Views, refusals of the dispatcher, of the router, of a body; pages; a binary answer's refusal.
ANSWERS = [
    ("GET", "/health", 200),
    ("GET", "/metrics", 200),
    ("GET", "/docs", 200),
    ("GET", "/docs/style.css", 200),
    ("GET", "/openapi.json", 200),
    ("GET", "/nowhere", 404),
    ("PUT", "/health", 405),
    ("GET", "/v1/audio/ws/interview", 426),
    ("GET", "/v1/sessions/interview/audio", 404),
    ("POST", "/v1/sessions/interview/resolve", 400),
]


@pytest.mark.parametrize(("method", "target", "status"), ANSWERS)
async def test_every_answer_is_closed_to_misuse(
    open_node: OpenNode, method: str, target: str, status: int
) -> None:
    async with open_node() as edge:
        answer = await call(edge.asgi_app, method, target)
    assert answer.status == status
    check_security(answer)


def check_security(answer: Answer) -> None:
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "camera=()" in answer.headers["permissions-policy"]
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert ("style-src 'self'" in policy) == answer.headers["content-type"].startswith("text/html")
    assert answer.headers["cache-control"] == "no-store"
    assert "server" not in answer.headers


async def test_a_refused_handshake_and_a_preflight_carry_them_too(open_node: OpenNode) -> None:
    async with open_node(cors_origins=(CONSOLE,)) as edge:
        refused = await refused_upgrade(edge.asgi_app, "/v1/audio/ws/interview/UPPER")
        preflight = await call(edge.asgi_app, "OPTIONS", STATE, headers={"origin": CONSOLE} | ASKED)
    assert isinstance(refused, Answer)
    check_security(refused)
    assert preflight.headers["x-content-type-options"] == "nosniff"


async def test_tls_is_asked_for_where_the_client_came_by_it(open_node: OpenNode) -> None:
    async with open_node(trusted_proxies=("127.0.0.1",)) as edge:
        plain = await call(edge.asgi_app, "GET", "/livez")
        tls = await call(edge.asgi_app, "GET", "/livez", scheme="https")
        proxied = await call(edge.asgi_app, "GET", "/livez", headers={"x-forwarded-proto": "https"})
        claimed = await call(
            edge.asgi_app, "GET", "/livez", headers={"x-forwarded-proto": "https"}, client="192.0.2.1"
        )
    strict = ["strict-transport-security" in answer.headers for answer in (plain, tls, proxied, claimed)]
    assert strict == [False, True, True, False]


# -- CORS


def cors(answer: Answer) -> dict[str, str]:
    return {
        name.removeprefix("access-control-"): value
        for name, value in answer.headers.items()
        if name.startswith("access-control-")
    }


async def test_a_listed_origin_may_call_and_read(open_node: OpenNode) -> None:
    async with open_node(cors_origins=(CONSOLE,)) as edge:
        key = await give_key(edge, "ingest")
        answer = await call(edge.asgi_app, "GET", STATE, headers=bearer(key) | {"origin": CONSOLE})
        refused = await call(edge.asgi_app, "GET", STATE, headers={"origin": CONSOLE})
    assert (answer.status, refused.status) == (200, 401)  # a page can read why it was refused
    for each in (answer, refused):
        assert cors(each).pop("allow-origin") == CONSOLE
        assert cors(each)["allow-credentials"] == "true"
        assert {"RateLimit-Remaining", "Retry-After", "x-missing-seconds"} <= set(
            cors(each)["expose-headers"].split(", ")
        )
        assert each.headers["vary"] == "Origin"


@pytest.mark.parametrize(
    "origin",
    [
        FOREIGN,
        CONSOLE.upper(),
        f"{CONSOLE}:443",
        f"{CONSOLE}/",
        "null",
        "*",
        CONSOLE.replace("https", "http"),
    ],
)
async def test_another_origin_is_answered_without_leave_to_read(open_node: OpenNode, origin: str) -> None:
    async with open_node(cors_origins=(CONSOLE,), insecure=True) as edge:
        answer = await call(edge.asgi_app, "GET", STATE, headers={"origin": origin})
        preflight = await call(edge.asgi_app, "OPTIONS", STATE, headers={"origin": origin} | ASKED)
    assert (answer.status, cors(answer), answer.headers["vary"]) == (200, {}, "Origin")
    assert (preflight.status, cors(preflight)) == (405, {})


@pytest.mark.parametrize("origins", [(), (CONSOLE,)])
async def test_without_an_origin_nothing_is_added(open_node: OpenNode, origins: tuple[str, ...]) -> None:
    async with open_node(cors_origins=origins) as edge:
        answer = await call(edge.asgi_app, "GET", STATE)
    assert cors(answer) == {}
    assert "vary" not in answer.headers


async def test_a_preflight_is_answered_without_a_key_and_by_route(open_node: OpenNode) -> None:
    async with open_node(cors_origins=(FOREIGN, CONSOLE)) as edge:
        await give_key(edge, "sessions")
        path = "/v1/sessions/a%2Fb/state"
        answer = await call(edge.asgi_app, "OPTIONS", path, headers={"origin": CONSOLE} | ASKED)
        unknown = await call(edge.asgi_app, "OPTIONS", "/nowhere", headers={"origin": CONSOLE} | ASKED)
        no_preflight = await call(edge.asgi_app, "OPTIONS", STATE, headers={"origin": CONSOLE})
    assert (answer.status, answer.body) == (204, b"")
    told = cors(answer)
    assert told["allow-methods"] == "GET, HEAD"
    assert set(told["allow-headers"].split(", ")) == {
        "authorization", "x-api-key", "content-type", "x-csrf-token", "x-idempotency-key", "range",
        "x-request-id",
    }  # fmt: skip
    assert (told["max-age"], told["allow-origin"]) == ("600", CONSOLE)
    assert answer.headers["vary"] == "Origin"
    assert (unknown.status, no_preflight.status) == (404, 405)
