"""Which services run here, and how each is."""

from __future__ import annotations

import pytest

from asgi_calls import Answer, call, refused_upgrade
from nodes import OpenNode
from openai_api import KEY, OpenAiApi


@pytest.mark.parametrize(
    ("services", "method", "path"),
    [
        (("auth", "realtime"), "GET", "/v1/sessions"),
        (("auth", "realtime"), "POST", "/v1/sessions/a/finalize"),
        (("ingest", "realtime"), "GET", "/auth/me"),
        (("ingest", "realtime"), "POST", "/api/ws/ticket"),
        (("ingest", "realtime"), "GET", "/v1/usage"),
        (("ingest", "auth"), "POST", "/realtime/token"),
    ],
)
async def test_the_routes_of_a_service_that_does_not_run_here_say_so(
    open_node: OpenNode, services: tuple[str, ...], method: str, path: str
) -> None:
    async with open_node(services=services) as edge:
        answer = await call(edge.asgi_app, method, path)
    assert answer.status == 503
    assert b"service_unavailable" in answer.body
    assert b" service unavailable" in answer.body
    assert int(answer.headers["retry-after"]) >= 1


async def test_no_audio_comes_in_where_ingest_is_off(open_node: OpenNode) -> None:
    async with open_node(services=("auth",)) as edge:
        refused = await refused_upgrade(edge.asgi_app, "/v1/audio/ws/a")
        assert isinstance(refused, Answer)
        assert refused.status == 503
        for path in ("/livez", "/readyz", "/health", "/metrics", "/openapi.json", "/docs"):
            assert (await call(edge.asgi_app, "GET", path)).status == 200
        assert (await call(edge.asgi_app, "GET", "/health")).json()["services"]["ingest"] == "off"


async def test_each_service_says_how_it_is(open_node: OpenNode, api: OpenAiApi) -> None:
    async with open_node(openai_api_key=KEY, openai_base_url=api.url) as edge:
        for name in ("ingest", "auth", "realtime"):
            shown = (await call(edge.asgi_app, "GET", f"/v1/{name}/health")).json()
            assert (shown["service"], shown["status"]) == (name, "ok")
        api.status = 500
        await call(edge.asgi_app, "POST", "/realtime/token")
        assert (await call(edge.asgi_app, "GET", "/v1/realtime/health")).json()["status"] == "degraded"
        assert (await call(edge.asgi_app, "GET", "/health")).json()["status"] == "degraded"
        api.status = 200
        await call(edge.asgi_app, "POST", "/realtime/token")
        assert (await call(edge.asgi_app, "GET", "/health")).json()["services"]["realtime"] == "ok"


async def test_without_a_provider_it_is_unset_and_nothing_is_wrong(open_node: OpenNode) -> None:
    async with open_node() as edge:
        shown = (await call(edge.asgi_app, "GET", "/health")).json()
    assert (shown["services"]["realtime"], shown["status"]) == ("unset", "ok")
