"""Resolve against a real HTTP server in the inference API's place."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import trio
import trio.testing

from asgi_calls import PATIENCE, Answer, call
from inference_api import InferenceApi, Reply, answer_of, one_more_cluster
from interview_edge.app import Edge
from interview_edge.core.wav import decode_wav
from nodes import OpenNode, connect, second

AUDIO = {"content_b64": "AAAA", "format": "wav"}
NEEDED = "audio.content_b64 and audio.format are required"
NOT_JSON = "request body must be valid JSON"
WHOLE = "must be a positive whole number"
KEY = {"x-idempotency-key": "k1"}


async def resolve(
    edge: Edge, body: bytes | Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
) -> Answer:
    sent = {"audio": AUDIO} if body is None else body
    return await call(edge.asgi_app, "POST", "/v1/sessions/s/resolve", body=sent, headers=headers)


async def state(edge: Edge) -> Any:
    return (await call(edge.asgi_app, "GET", "/v1/sessions/s/state")).json()


async def test_the_request_and_the_answer_are_the_contracts(
    open_node: OpenNode, inference_api: InferenceApi
) -> None:
    async with open_node(inference_base_url=inference_api.url + "/", inference_api_key="secret") as edge:
        audio = AUDIO | {"sample_rate": 16_000, "new_field": [1]}
        roster = [{"name": "Ada", "email": "ada@example.org"}, {"name": "白"}]
        answer = await resolve(edge, {"audio": audio, "asr_text": "hello", "roster": roster})
        assert (answer.status, answer.json()) == (200, answer_of())
        assert "x-idempotent-replay" not in answer.headers
        assert inference_api.targets == ["POST /speaker/resolve"]
        assert inference_api.headers[0]["x-api-key"] == "secret"
        empty = {"clusters": [], "bindings": {}, "config": {}, "roster": roster}
        assert inference_api.asked == [
            {"session_id": "s", "audio": audio, "asr_text": "hello", "state": empty}
        ]
        shown = await state(edge)
        assert shown["state"]["clusters"] == answer.json()["updated_state"]["clusters"]
        assert shown["event_count"] == 1
        events = (await call(edge.asgi_app, "GET", "/v1/sessions/s/events")).json()["items"]
        assert events[0]["type"] == "resolve"
        assert events[0]["decision"] == "unknown"


async def test_ten_at_once_run_one_after_the_other(open_node: OpenNode, inference_api: InferenceApi) -> None:
    async with open_node(inference_base_url=inference_api.url) as edge:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(resolve, edge)
        shown = await state(edge)
        assert shown["event_count"] == 10
        assert len(shown["state"]["clusters"]) == 10
        assert inference_api.most_at_once == 1


async def test_more_than_may_wait_are_sent_away(open_node: OpenNode, inference_api: InferenceApi) -> None:
    inference_api.gate = trio.Event()
    answers: list[Answer] = []
    async with open_node(inference_base_url=inference_api.url, max_resolves_waiting=2) as edge:

        async def one() -> None:
            answers.append(await resolve(edge))
            inference_api.gate.set()  # the first refusal comes while the others are held up

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(one)
        busy = [a for a in answers if a.status == 503]
        assert {a.json()["code"] for a in busy} == {"resolve_busy"}
        assert all("retry-after" in a.headers for a in busy)
        assert 1 <= len(busy) <= 3
        assert (await state(edge))["event_count"] == 5 - len(busy)


@pytest.mark.parametrize(
    ("body", "code", "detail"),
    [
        (b"", "body_not_json", NOT_JSON),
        (b"{'a'}", "body_not_json", NOT_JSON),
        (b'{"asr_text": "\xff"}', "body_not_json", NOT_JSON),
        (b"[" * 200_000, "body_not_json", NOT_JSON),
        ({}, "audio_required", NEEDED),
        ({"audio": "x"}, "audio_required", NEEDED),
        ({"audio": {"format": "wav"}}, "audio_required", NEEDED),
        ({"audio": {"content_b64": "AA"}}, "audio_required", NEEDED),
        ({"audio": AUDIO | {"content_b64": 1}}, "audio_required", NEEDED),
        ({"audio": AUDIO | {"format": "webm"}}, "invalid_body",
         "audio.format must be one of wav, pcm_s16le, mp3, m4a, ogg, flac"),
        ({"audio": AUDIO | {"channels": 0}}, "invalid_body", f"audio.channels {WHOLE}"),
        ({"audio": AUDIO | {"sample_rate": True}}, "invalid_body", f"audio.sample_rate {WHOLE}"),
        ({"audio": AUDIO, "asr_text": 1}, "invalid_body", "asr_text must be a string"),
        ({"audio": AUDIO, "roster": [{}]}, "invalid_body", "roster[0].name must be a string"),
        ({"audio": {"last_ms": 0}}, "invalid_body", "audio.last_ms must be a whole number, 1..600000"),
        ({"audio": {"last_ms": 1.5}}, "invalid_body", "audio.last_ms must be a whole number, 1..600000"),
        ({"audio": {"last_ms": 1, "stream": "A"}}, "invalid_stream", "stream must match [a-z0-9_-]{1,32}"),
    ],
)  # fmt: skip
async def test_a_bad_body_is_named_and_asks_nobody(
    open_node: OpenNode, inference_api: InferenceApi, body: Any, code: str, detail: str
) -> None:
    async with open_node(inference_base_url=inference_api.url) as edge:
        answer = await resolve(edge, body)
        assert (answer.status, answer.json()["code"], answer.json()["detail"]) == (400, code, detail)
        assert inference_api.asked == []
        assert await edge.parts.catalog.load_session("s") is None


def fixed(status: int, body: bytes) -> Callable[[Mapping[str, Any]], Reply]:
    return lambda _: (status, body)


@pytest.mark.parametrize(
    ("reply", "status", "body"),
    [
        (
            fixed(429, b'{"slow": "down"}'),
            502,
            {
                "detail": "inference backend returned non-success status",
                "code": "inference_status",
                "backend_status": 429,
                "backend_body": '{"slow": "down"}',
            },
        ),
        (
            fixed(200, b"<html>"),
            502,
            {"detail": "inference backend returned non-JSON response", "code": "inference_not_json"},
        ),
        (
            fixed(200, json.dumps(answer_of(decision="maybe")).encode()),
            502,
            {"detail": "inference backend returned an answer of the wrong shape", "code": "inference_shape"},
        ),
        (
            fixed(200, json.dumps(answer_of(updated_state={"clusters": [{}]})).encode()),
            502,
            {"detail": "inference backend returned an answer of the wrong shape", "code": "inference_shape"},
        ),
    ],
)
async def test_a_failed_resolve_changes_nothing_and_is_not_remembered(
    open_node: OpenNode,
    inference_api: InferenceApi,
    reply: Callable[[Mapping[str, Any]], Reply],
    status: int,
    body: Mapping[str, Any],
) -> None:
    inference_api.reply = reply
    async with open_node(inference_base_url=inference_api.url) as edge:
        answer = await resolve(edge, headers=KEY)
        assert (answer.status, answer.json()) == (status, body)
        assert (await state(edge))["event_count"] == 0
        inference_api.reply = one_more_cluster
        again = await resolve(edge, headers=KEY)
        assert again.status == 200
        assert "x-idempotent-replay" not in again.headers
        assert (await state(edge))["event_count"] == 1


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
async def test_a_number_that_json_has_not_is_502_and_changes_nothing(
    open_node: OpenNode, inference_api: InferenceApi, number: str
) -> None:
    inference_api.reply = fixed(200, json.dumps(answer_of()).replace("0.45", number).encode())
    async with open_node(inference_base_url=inference_api.url) as edge:
        answer = await resolve(edge)
        assert (answer.status, answer.json()["code"]) == (502, "inference_not_json")
        assert (await state(edge))["event_count"] == 0


async def test_a_lone_surrogate_is_502_and_changes_nothing(
    open_node: OpenNode, inference_api: InferenceApi
) -> None:
    inference_api.reply = fixed(200, json.dumps(answer_of(speaker_name="\ud800")).encode())
    async with open_node(inference_base_url=inference_api.url) as edge:
        answer = await resolve(edge)
        assert (answer.status, answer.json()["code"]) == (502, "inference_not_json")
        assert (await state(edge))["event_count"] == 0


async def test_a_slow_api_is_504_and_an_absent_one_502(
    open_node: OpenNode, inference_api: InferenceApi
) -> None:
    inference_api.gate = trio.Event()
    async with open_node(inference_base_url=inference_api.url, inference_timeout_ms=50) as edge:
        slow = await resolve(edge)
        assert (slow.status, slow.json()["code"]) == (504, "inference_timeout")
        assert (await state(edge))["event_count"] == 0
    inference_api.gate.set()
    async with open_node(inference_base_url="http://127.0.0.1:9") as edge:
        absent = await resolve(edge)
        assert (absent.status, absent.json()["code"]) == (502, "inference_failed")
        assert absent.json()["detail"].startswith("inference request failed: ")


async def test_without_an_api_the_setting_is_named(open_node: OpenNode) -> None:
    async with open_node() as edge:
        answer = await resolve(edge)
        assert (answer.status, answer.json()["code"]) == (503, "inference_unset")
        assert "INFERENCE_BASE_URL" in answer.json()["detail"]


async def test_a_repeat_with_a_key_gets_the_first_answer(
    open_node: OpenNode, inference_api: InferenceApi
) -> None:
    async with open_node(inference_base_url=inference_api.url) as edge:
        first = await resolve(edge, headers=KEY)
        again = await resolve(edge, headers=KEY)
        assert again.body == first.body
        assert again.headers["x-idempotent-replay"] == "true"
        assert len(inference_api.asked) == 1
        other = await resolve(edge, {"audio": AUDIO | {"format": "mp3"}}, KEY)
        assert (other.status, other.json()["code"]) == (422, "idempotency_mismatch")
        assert (await resolve(edge, headers={"x-idempotency-key": "k2"})).status == 200
    async with open_node(inference_base_url=inference_api.url) as edge:  # also after a restart
        assert (await resolve(edge, headers=KEY)).body == first.body
        for bad in ("", "x" * 256):
            refused = await resolve(edge, headers={"x-idempotency-key": bad})
            assert (refused.status, refused.json()["field"]) == (400, "x-idempotency-key")
    assert len(inference_api.asked) == 2


async def test_a_repeat_while_the_first_is_under_way_waits_for_it(
    open_node: OpenNode, inference_api: InferenceApi
) -> None:
    inference_api.gate = trio.Event()
    answers: list[Answer] = []
    async with open_node(inference_base_url=inference_api.url) as edge:

        async def one() -> None:
            answers.append(await resolve(edge, headers=KEY))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one)
            with trio.fail_after(PATIENCE):
                while not inference_api.asked:
                    await trio.sleep(0.001)
            nursery.start_soon(one)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert answers == []
            inference_api.gate.set()
        assert [answer.headers.get("x-idempotent-replay") for answer in answers] == [None, "true"]
        assert answers[0].body == answers[1].body
        assert len(inference_api.asked) == 1
        assert (await state(edge))["event_count"] == 1


async def test_the_last_seconds_go_upstream_as_wav(open_node: OpenNode, inference_api: InferenceApi) -> None:
    async with open_node(inference_base_url=inference_api.url) as edge:
        empty = await resolve(edge, {"audio": {"last_ms": 1_000}})
        assert (empty.status, empty.json()["code"]) == (409, "window_empty")
        async with connect(edge, "s", "teacher") as peer:
            for seq in (1, 2, 4):
                await peer.send_chunk(seq)
            await peer.answers(3)
            answer = await resolve(edge, {"audio": {"last_ms": 2_500, "stream": "teacher"}})
        assert answer.status == 200
        sent = inference_api.asked[0]["audio"]
        assert sent["format"] == "wav"
        pcm = decode_wav(base64.b64decode(sent["content_b64"]))
        assert pcm == second(2)[16_000:] + bytes(32_000) + second(4)


async def test_resolve_finds_its_audio_after_the_window_was_given_back(
    open_node: OpenNode, inference_api: InferenceApi
) -> None:
    async with open_node(inference_base_url=inference_api.url) as edge:
        async with connect(edge, "s") as peer:
            for seq in (1, 2, 4):
                await peer.send_chunk(seq)
            await peer.answers(3)
            session = edge.registry.live("s")
            assert session is not None
            session.streams["mixed"].window.evict()
            await peer.send_chunk(5)
            await peer.answers(1)
            answer = await resolve(edge, {"audio": {"last_ms": 3_500}})
        assert answer.status == 200
        pcm = decode_wav(base64.b64decode(inference_api.asked[0]["audio"]["content_b64"]))
        assert pcm == second(2)[16_000:] + bytes(32_000) + second(4) + second(5)
