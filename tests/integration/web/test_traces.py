"""Spans of requests and sockets, under the caller's and over the upstreams'."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trio
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from trio_websocket import open_websocket_url

from asgi_calls import call, refused_upgrade
from inference_api import InferenceApi
from interview_edge.serving import open_server
from interview_edge.settings import Settings
from interview_edge.tracing import OtelTracing, make_provider
from nodes import OpenNode
from openai_api import KEY, open_openai_api

TRACE = "a" * 32
PARENT = {"traceparent": f"00-{TRACE}-{'b' * 16}-01", "tracestate": "vendor=1"}


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(exporter: InMemorySpanExporter) -> OtelTracing:
    return OtelTracing(make_provider("1", SimpleSpanProcessor(exporter)))


def facts(span: ReadableSpan) -> Mapping[str, Any]:
    return dict(span.attributes or {})


async def test_a_request_is_a_span(
    open_node: OpenNode, tracing: OtelTracing, exporter: InMemorySpanExporter
) -> None:
    async with open_node(tracing=tracing) as edge:
        await call(
            edge.asgi_app,
            "GET",
            "/v1/sessions/a%2Fb/state",
            headers=PARENT | {"x-request-id": "mine", "authorization": "Bearer s3cr3t"},
        )
        await call(edge.asgi_app, "GET", "/v1/sessions/c/result")
        await call(edge.asgi_app, "GET", "/nowhere")
        await edge.parts.catalog.aclose()
        await call(edge.asgi_app, "GET", "/v1/sessions")
    found, missing, nowhere, failed = exporter.get_finished_spans()
    assert found.name == "GET /v1/sessions/<segment:session_id>/state"
    assert found.kind is SpanKind.SERVER
    assert facts(found) == {
        "http.request.method": "GET",
        "http.route": "/v1/sessions/<segment:session_id>/state",
        "http.response.status_code": 200,
        "interview_edge.request_id": "mine",
        "interview_edge.session_id": "a/b",
    }
    assert found.context is not None
    assert f"{found.context.trace_id:x}" == TRACE
    assert found.parent is not None
    assert f"{found.parent.span_id:x}" == "b" * 16
    assert (missing.parent, facts(missing)["http.response.status_code"]) == (None, 404)
    assert (nowhere.name, facts(nowhere)["http.response.status_code"]) == ("http", 404)
    assert [span.status.status_code for span in (found, missing, failed)] == [
        StatusCode.UNSET,
        StatusCode.UNSET,
        StatusCode.ERROR,
    ]
    assert "s3cr3t" not in "".join(span.to_json() for span in exporter.get_finished_spans())


async def test_a_socket_is_one_span_however_many_chunks(
    tmp_path: Path, tracing: OtelTracing, exporter: InMemorySpanExporter
) -> None:
    async with open_server(Settings(data_dir=tmp_path, port=0), tracing=tracing) as server:
        url = server.url.replace("http", "ws", 1) + "/v1/audio/ws/s/teacher"
        async with open_websocket_url(url) as socket:
            for _ in range(3):
                await socket.send_message(json.dumps({"type": "status"}))
                await socket.get_message()
            assert exporter.get_finished_spans() == ()
        await refused_upgrade(server.edge.asgi_app, "/v1/audio/ws/s/NO")
        with trio.fail_after(10):
            while len(exporter.get_finished_spans()) < 2:
                await trio.sleep(0.001)
    spans = sorted(exporter.get_finished_spans(), key=lambda span: span.start_time or 0)
    shown = [facts(span)["http.response.status_code"] for span in spans]
    assert shown == [101, 400]
    assert facts(spans[0])["interview_edge.stream"] == "teacher"
    assert spans[0].name == "GET /v1/audio/ws/<segment:session_id>/<segment:stream>"


async def test_upstreams_are_told_of_the_trace(
    open_node: OpenNode, tracing: OtelTracing, inference_api: InferenceApi
) -> None:
    providers = {"inference_base_url": inference_api.url, "openai_api_key": KEY}
    audio = {"audio": {"content_b64": "AA==", "format": "wav"}}
    async with (
        open_openai_api() as openai_api,
        open_node(tracing=tracing, openai_base_url=openai_api.url, **providers) as edge,
    ):
        await call(edge.asgi_app, "POST", "/v1/sessions/s/resolve", body=audio, headers=PARENT)
        await call(edge.asgi_app, "POST", "/realtime/token", headers=PARENT)
        await call(edge.asgi_app, "POST", "/realtime/token")
    told = [inference_api.headers[0], *(headers for _, headers, _ in openai_api.asked)]
    traces = [headers["traceparent"].split("-")[1] for headers in told]
    assert traces[:2] == [TRACE, TRACE]
    assert traces[2] != TRACE
    assert [headers.get("tracestate") for headers in told] == ["vendor=1", "vendor=1", None]


async def test_without_tracing_upstreams_are_told_nothing(open_node: OpenNode) -> None:
    async with (
        open_openai_api() as openai_api,
        open_node(openai_base_url=openai_api.url, openai_api_key=KEY) as edge,
    ):
        await call(edge.asgi_app, "POST", "/realtime/token", headers=PARENT)
    (_, headers, _) = openai_api.asked[0]
    assert "traceparent" not in headers
