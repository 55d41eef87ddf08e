"""The OpenAPI and AsyncAPI documents say what is served, all of it and nothing else."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import schemathesis.openapi

from asgi_calls import call
from interview_edge.errors import ERRORS
from interview_edge.wire import frames
from nodes import OpenNode

# Kinds that only the audio socket knows: frames of the dialect, and how it ends.
SOCKET_ONLY = {
    "frame_not_text", "frame_not_json", "frame_not_object", "unsupported_type", "invalid_header",
    "meeting_required", "invalid_seq", "invalid_timestamp", "invalid_sample_rate", "invalid_channels",
    "invalid_format", "content_required", "meeting_mismatch", "invalid_field", "invalid_base64",
    "chunk_length",
    "seq_too_far", "chunk_conflict", "stream_ended", "final_below_held", "in_flight_full", "frame_too_big",
    "slow_reader", "silent_peer", "stream_limit", "auth_timeout", "stream_not_started", "recorded_elsewhere",
}  # fmt: skip
# Any request may get these, so no route lists them.
ANYWHERE = {"route_not_found", "invalid_path"}
# Of the inference API that `inference serve` answers (docs/reference/inference.md); a node sends them inside
# another's body.
SPEAKER_API = {
    "audio_undecodable", "clip_too_large", "clip_too_long", "no_speech", "unprocessable", "speakers_busy",
    "speaker_model_failed", "diarize_unsupported",
}  # fmt: skip
# In the table, and not sent yet.
LATER = {
    "auth_timeout",
}  # fmt: skip


async def test_every_route_that_is_documented_is_served_and_vice_versa(open_node: OpenNode) -> None:
    async with open_node() as edge:
        document = (await call(edge.asgi_app, "GET", "/openapi.json")).json()
        documented = {
            (method.upper(), path) for path, methods in document["paths"].items() for method in methods
        }
        for method, path in documented:
            target = (
                path.replace("{session_id}", "s")
                .replace("{stream}", "mixed")
                .replace("{seq}", "1")
                .replace("{key_id}", "k")
                .replace("{user_or_path}", "sessions%2Fs%2Fchunks%2F00000001.pcm")
                .replace("{path}", "sessions/s/chunks/00000001.pcm")
            )
            answer = await call(edge.asgi_app, method, target)
            known = set(document["paths"][path][method.lower()]["responses"])
            assert str(answer.status) in known, (method, path, answer)
            assert answer.status != 405
            if answer.status == 404:
                assert b"route_not_found" not in answer.body
        served = {
            "/", "/health", "/livez", "/readyz", "/metrics", "/openapi.json", "/asyncapi.json", "/docs",
            "/docs/style.css", "/audio-storage-test", "/console", "/pages/{folder}/{name}",
            "/auth/login", "/auth/logout", "/auth/me", "/auth/keys",
            "/auth/keys/{key_id}", "/auth/audit", "/api/ws", "/api/ws/ticket", "/v1/usage", "/realtime/token",
            "/v1/realtime/token",
            "/v1/realtime/client_secrets", "/v1/ingest/health",
            "/api/audio-storage/stats", "/api/audio-storage/files/{user_or_path}",
            "/api/audio-storage/download", "/api/audio-storage/download/{path}", "/api/audio-storage/delete",
            "/api/audio-storage/cleanup",
            "/v1/auth/health", "/v1/realtime/health", "/v1/realtime/calls", "/v1/sessions",
            "/v1/audio/ws/{session_id}", "/v1/audio/ws/{session_id}/{stream}",
        } | {
            f"/v1/sessions/{{session_id}}{name}"
            for name in (
                "", "/state", "/resolve", "/finalize", "/events", "/result", "/transcript", "/audio",
                "/chunks/{seq}",
            )
        }  # fmt: skip
        assert {path for _, path in documented} == served


async def test_every_error_of_the_table_is_documented_with_its_status(open_node: OpenNode) -> None:
    async with open_node() as edge:
        document = (await call(edge.asgi_app, "GET", "/openapi.json")).json()
    found: dict[str, set[int]] = {}
    for methods in document["paths"].values():
        for operation in methods.values():
            for status, answer in operation["responses"].items():
                for code in _codes(answer):
                    found.setdefault(code, set()).add(int(status))
    assert set(found) == set(ERRORS) - SOCKET_ONLY - ANYWHERE - LATER - SPEAKER_API
    assert {code: {ERRORS[code].status} for code in found} == found


def _codes(answer: dict[str, Any]) -> list[str]:
    """The codes in a refusal's schema, in whatever shape its route's family has."""
    schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
    shown = [part.get("properties", {}) for part in schema.get("allOf", [])]
    inner = [fields["error"]["properties"] for fields in shown if "properties" in fields.get("error", {})]
    return [code for fields in (*shown, *inner) for code in fields.get("code", {}).get("enum", [])]


async def test_every_reference_is_defined(open_node: OpenNode) -> None:
    async with open_node() as edge:
        for path in ("/openapi.json", "/asyncapi.json"):
            answer = await call(edge.asgi_app, "GET", path)
            document = answer.json()
            references = set(re.findall(rb'"\$ref":"#/([^"]+)"', answer.body))
            assert references
            for reference in references:
                node = document
                for name in reference.decode().split("/"):
                    node = node[name]


async def test_the_document_is_valid_openapi(open_node: OpenNode) -> None:
    """By schemathesis, against OpenAPI's own schema, which says nothing of ids that are there twice."""
    async with open_node(realtime_root_alias=True) as edge:
        document = (await call(edge.asgi_app, "GET", "/openapi.json")).json()
    schemathesis.openapi.from_dict(document).validate()
    ids = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert [name for name, times in Counter(ids).items() if times > 1] == []


async def test_the_page_shows_choices_and_no_marks(open_node: OpenNode) -> None:
    async with open_node() as edge:
        document = (await call(edge.asgi_app, "GET", "/openapi.json")).json()
        page = (await call(edge.asgi_app, "GET", "/docs")).body.decode()
    transcript = document["paths"]["/v1/sessions/{session_id}/transcript"]["get"]
    schema = next(each["schema"] for each in transcript["parameters"] if each["name"] == "format")
    assert schema == {"type": "string", "enum": ["json", "txt", "srt", "vtt"], "default": "json"}
    assert "<code>json</code>, <code>txt</code>, <code>srt</code>, <code>vtt</code>" in page
    text = re.sub(r"<pre>.*?</pre>", "", page, flags=re.DOTALL)
    assert "`" not in text
    assert "{scope}" not in page
    assert "<code>insufficient_scope</code>: this needs the scope sessions" in page


async def test_the_socket_s_document_has_every_frame(open_node: OpenNode) -> None:
    async with open_node() as edge:
        document = (await call(edge.asgi_app, "GET", "/asyncapi.json")).json()
    tags = {
        schema["properties"]["type"].get("const") or schema["properties"]["type"]["enum"][0]
        for schema in document["components"]["schemas"].values()
        if "type" in schema.get("properties", {})
    }
    assert tags >= {"hello", "chunk", "status", "ping", "finalize", "close"}
    assert tags >= {"ready", "ack", "pong", "closing", "finalized", "going_away", "error"}
    assert tags >= {"audio_stream_start", "audio_chunk", "audio_stream_end", "auth_success", "vad_cache_end"}
    assert frames.Ack.__name__ in document["components"]["messages"]
    # Two dialects have a frame of this name.
    schemas = document["components"]["schemas"]
    assert schemas["Pong"]["required"] == ["type", "ts"]
    assert schemas["BrowserPong"]["required"] == ["type", "timestamp"]
    assert document["channels"]["browser"]["address"] == "/api/ws"


async def test_the_page_needs_nothing_from_elsewhere_and_runs_no_script(open_node: OpenNode) -> None:
    async with open_node() as edge:
        page = await call(edge.asgi_app, "GET", "/docs")
        style = await call(edge.asgi_app, "GET", "/docs/style.css")
    text = page.body.decode()
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert style.headers["content-type"] == "text/css; charset=utf-8"
    assert re.findall(r'(?:src|href)="([^"]+)"', text) == [
        "/docs/style.css",
        "/openapi.json",
        "/asyncapi.json",
    ]
    assert "<script" not in text
    assert "style=" not in text
    assert "/v1/sessions/{session_id}/resolve" in text
    assert b"url(" not in style.body
