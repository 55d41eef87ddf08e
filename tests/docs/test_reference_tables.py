"""The tables of the reference say what the code says: neither can change without the other."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import msgspec
import pytest

from interview_edge import Edge, Settings, open_edge
from interview_edge.archive.objects import NewObject
from interview_edge.cli.app import app
from interview_edge.core.declared_utterances import (
    FRAME_MS,
    MAX_SAMPLES,
    QUIET_FRAMES,
    SAID_VOICED,
    SAID_WINDOW,
    Began,
    Ended,
    VadState,
)
from interview_edge.core.keys import chunk_key, conflict_key, result_key, segment_key
from interview_edge.core.models import SegmentFormat, StreamKey
from interview_edge.core.pcm import SAMPLE_RATE
from interview_edge.core.utterances import SpeechEnded, SpeechStarted, UtteranceRules
from interview_edge.errors import ERRORS
from interview_edge.sessions.declared_events import padded_event, utterance_event
from interview_edge.sessions.speech_events import speech_event
from interview_edge.web import health
from interview_edge.web.asyncapi import (
    BROWSER_CLIENT_FRAMES,
    BROWSER_SERVER_FRAMES,
    CLIENT_FRAMES,
    SERVER_FRAMES,
    make_asyncapi,
)
from interview_edge.web.routes import Visitors
from interview_edge.web.transcripts import NO_PROVIDER
from interview_edge.wire.browser_dialect import MAX_OFFSET_MS, MAX_PROMPT, MIN_OFFSET_MS

ROOT = Path(__file__).parents[2]
SECOND = bytes(32_000)
OF_EVERY_ROUTE = {"internal", "invalid_key", "rate_limited", "jwks_unavailable", "catalog_unavailable"}
OF_MANY_ROUTES = {"missing_auth", "insufficient_scope", "local_only", "csrf_refused", "service_unavailable"}
OF_EVERY_SESSION_ROUTE = {
    "invalid_session_id",
    "session_not_found",
    "session_deleted",
    "catalog_unavailable",
    "storage_unavailable",
}


def table(document: str, heading: str) -> list[list[str]]:
    """The rows of the table whose first column has this heading, cell by cell."""
    text = (ROOT / document).read_text()
    found = re.search(rf"^\| {re.escape(heading)} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert found is not None, f"{document} has no table that begins with {heading!r}"
    return [[cell.strip() for cell in line.strip("|").split(" |")] for line in found[1].splitlines()]


def names(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


@pytest.fixture
async def edge(tmp_path: Path):
    async with open_edge(Settings(data_dir=tmp_path)) as edge:
        yield edge


@pytest.fixture
async def http(edge: Edge):
    transport = httpx.ASGITransport(edge.asgi_app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


def test_errors_are_all_there() -> None:
    assert table("docs/reference/errors.md", "Code")[: len(ERRORS)] == [
        [f"`{kind.code}`", kind.detail, str(kind.status), str(kind.close or ""), kind.fault.value]
        for kind in ERRORS.values()
    ]


def test_close_codes_are_all_there() -> None:
    text = (ROOT / "docs/reference/errors.md").read_text().partition("## Close codes")[2]
    documented = {int(code) for code in re.findall(r"^\| (\d{4}) \|", text, re.MULTILINE)}
    assert documented == {1000} | {kind.close for kind in ERRORS.values() if kind.close is not None}


async def test_routes_are_all_there_with_their_errors(http: httpx.AsyncClient) -> None:
    served = {}
    for path, operations in (await http.get("/openapi.json")).json()["paths"].items():
        common = OF_EVERY_ROUTE | (OF_EVERY_SESSION_ROUTE if "{session_id}" in path else set())
        for method, operation in operations.items():
            refusals = [
                a["description"] for status, a in operation["responses"].items() if int(status) >= 400
            ]
            codes = {code for text in refusals for code in re.findall(r"`(\w+)`:", text)}
            successes = [status for status in operation["responses"] if int(status) < 400]
            row = (operation["summary"], ", ".join(successes), codes - common - OF_MANY_ROUTES)
            served[f"`{method.upper()} {path}`"] = row
    rows = table("docs/reference/http.md", "Route")
    assert {route: (what, success, names(errors)) for route, what, success, errors in rows} == served


async def test_who_may_is_as_the_door_sees_it(edge: Edge) -> None:
    documented = {}
    for who, routes in table("docs/reference/http.md", "Who"):
        documented |= {route: names(who) or {who} for route in names(routes)}
    assert documented == {
        route.method + " " + re.sub("<[a-z]+:(.*?)>", r"{\1}", route.path): (
            {route.access.value}
            if isinstance(route.access, Visitors)
            else {scope.value for scope in route.access}
        )
        for route in edge.asgi_app.table.routes
    }


def test_frames_of_the_server_are_all_there() -> None:
    text = (ROOT / "docs/reference/websocket.md").read_text().partition("## From the server")[2]
    documented = {
        frame: names(cell) for frame, cell in re.findall(r"^\| `(\w+)` \| (.*) \|$", text, re.MULTILINE)
    }
    assert documented == {
        frame.__struct_config__.tag: {field.encode_name for field in msgspec.structs.fields(frame)}
        for frame in SERVER_FRAMES
    }


def test_frames_of_the_client_are_all_there() -> None:
    documented = {
        frame.strip("`"): names(cell) for frame, cell, _ in table("docs/reference/websocket.md", "Frame")
    }
    assert documented.pop("chunk") >= {"seq", "content_b64", "final"}
    assert documented == {
        frame.__struct_config__.tag: {field.encode_name for field in msgspec.structs.fields(frame)}
        for frame in CLIENT_FRAMES
    }


def test_frames_of_the_browser_socket_are_all_there() -> None:
    text = (ROOT / "docs/reference/browser-socket.md").read_text()
    text = text.partition("## From the server")[2].partition("\n## ")[0]
    documented = {
        frame: names(cell) for frame, cell in re.findall(r"^\| `(\w+)` \| (.*) \|$", text, re.MULTILINE)
    }
    assert documented == {
        frame.__struct_config__.tag: {field.encode_name for field in msgspec.structs.fields(frame)}
        for frame in BROWSER_SERVER_FRAMES
    }
    taken = {
        frame.strip("`"): names(cell) for frame, cell, _ in table("docs/reference/browser-socket.md", "Frame")
    }
    audio = make_asyncapi("")["components"]["schemas"]["BrowserAudioChunk"]["properties"]
    assert taken.pop("audio_chunk") == audio.keys() - {"type"}
    assert taken == {
        frame.__struct_config__.tag: {field.encode_name for field in msgspec.structs.fields(frame)}
        for frame in BROWSER_CLIENT_FRAMES
    }


def test_rules_of_the_browser_socket_are_as_documented() -> None:
    text = " ".join((ROOT / "docs/reference/browser-socket.md").read_text().split())
    assert f"`vad_offset_ms`: {MIN_OFFSET_MS:,} to {MAX_OFFSET_MS:,}" in text
    assert f"`asr_prompt`: at most {MAX_PROMPT:,} characters" in text
    assert {names(state).pop() for state, _ in table("docs/reference/browser-socket.md", "`vad_state`")} == {
        state.value for state in VadState
    }
    assert f"An utterance is at most {MAX_SAMPLES // SAMPLE_RATE} s." in text
    assert f"the quietest {QUIET_FRAMES * FRAME_MS} ms of its second half" in text
    assert f"{SAID_VOICED} of {SAID_WINDOW} frames of {FRAME_MS} ms voiced" in text
    assert NO_PROVIDER in text


def test_fields_of_declared_events_are_all_there() -> None:
    documented = {
        names(type_).pop(): names(fields) for type_, fields, _ in table("docs/reference/events.md", "Type")
    }
    more = {"source", "utterance_id"}
    for found in (Began(1, 0), Ended(1, 0, 16_000, "client", reuse=False)):
        event = utterance_event("mixed", found, "mixed-1", 0, 0)
        assert documented[event.type] | more == event.body.keys()
    assert documented["padded"] == padded_event("mixed", 1, 2, 0).body.keys()


def test_fields_of_speech_events_are_all_there() -> None:
    documented = {
        names(type_).pop(): names(fields) for type_, fields, _ in table("docs/reference/events.md", "Type")
    }
    for found in (SpeechStarted(1, 0), SpeechEnded(1, 0, 16_000, "silence")):
        event = speech_event("mixed", found, 0)
        assert documented[event.type] == event.body.keys()


def test_rules_of_utterances_are_as_documented() -> None:
    text = " ".join((ROOT / "docs/reference/events.md").read_text().split())
    rules = UtteranceRules()
    assert (
        f"An utterance opens when {rules.start_voiced} of {rules.start_window} frames are voiced, "
        f"{rules.pre_roll_ms} ms before the first of them; it ends after {rules.hangover_ms} ms without "
        f"voice, {rules.post_roll_ms} ms after the last voiced frame; under {rules.min_speech_ms} ms of "
        "voice is not reported."
    ) in text
    assert f"`max_length` ({rules.max_ms // 1000} s; " in text


async def test_fields_of_the_result_are_all_there(edge: Edge, http: httpx.AsyncClient) -> None:
    async with edge.session("one") as session:
        await session.feed(SECOND, seq=1)
        await session.finalize()
    result = (await http.get("/v1/sessions/one/result")).json()
    documented = {names(field).pop(): what for field, what in table("docs/reference/result.md", "Field")}
    assert documented.keys() == result.keys()
    assert result["streams"]["mixed"].keys() == names(documented["streams"])
    assert result["audio"][0].keys() == names(documented["audio"]) - {"pcm", "flac", "wav"}


def test_keys_are_as_documented() -> None:
    rows = [names(cell) for cell, _ in table("docs/reference/objects.md", "Key")]
    chunks, (segments, wav), conflicts, result = rows[0], sorted(rows[1], reverse=True), rows[2], rows[3]
    assert wav == ".wav"
    for stream, part in (("mixed", ""), ("teacher", "teacher/")):
        key = StreamKey("a", stream)
        values = {"id": "a", "stream/": part, "seq": "00000061", "first": "00000061", "last": "00000120"}
        values["identity"] = "00ff"
        assert fill(chunks.copy().pop(), values) == chunk_key(key, 61)
        assert fill(segments, values) == segment_key(key, 61, 120, SegmentFormat.FLAC)
        assert fill(conflicts.copy().pop(), values) == conflict_key(key, 61, b"\x00\xff")
    assert fill(result.pop(), values) == result_key("a")
    taken = NewObject("sessions/a/chunks/00000001.pcm", SECOND, "pcm", {}).distinct_key
    assert re.fullmatch(r"sessions/a/chunks/00000001~[0-9a-f]{8}\.pcm", taken)


def fill(pattern: str, values: dict[str, str]) -> str:
    return re.sub(r"\{(.*?)\}", lambda found: values[found[1]], pattern)


def test_commands_are_all_there() -> None:
    documented = {names(command).pop() for command, _ in table("docs/reference/cli.md", "Command")}
    assert documented == {command for command in app if not command.startswith("-")}


async def test_health_checks_are_all_there(edge: Edge, http: httpx.AsyncClient) -> None:
    rows = table("docs/operations/running.md", "Check")
    shown = (await http.get("/health")).json()
    assert [names(row[0]).pop() for row in rows] == list(shown["checks"])
    thresholds = {names(row[0]).pop(): (row[2], row[3]) for row in rows}
    assert thresholds["memory"] == (f"{health.WARN_SHARE:.2f}", f"{health.ERROR_SHARE:.2f}")
    assert thresholds["upload_latency"] == (f"{health.WARN_LATENCY_MS:,}", f"{health.ERROR_LATENCY_MS:,}")
    assert str(health.MIN_UPLOAD_SUCCESS) in thresholds["upload_success"][0]


async def test_metrics_are_all_there(edge: Edge, http: httpx.AsyncClient) -> None:
    async with edge.session("one") as session:
        await session.feed(SECOND, seq=1)
        await session.finalize()  # some appear with the first upload
    served = re.findall(r"^# HELP (\S+) (.*)$", (await http.get("/metrics")).text, re.MULTILINE)
    documented = [
        (names(metric).pop(), what) for metric, what in table("docs/operations/running.md", "Metric")
    ]
    assert documented == served


def test_documented_log_lines_exist() -> None:
    source = "".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    for lines, _ in table("docs/operations/running.md", "Line"):
        for line in names(lines):
            assert f'"{line}"' in source
