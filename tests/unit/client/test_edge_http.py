"""The HTTP client against a server on a real socket: paths as they are sent, errors of both families."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import hypercorn.trio
import pytest
import trio
from hypercorn.config import Config

from interview_edge.client import EdgeHttp, EdgeRequestError, EdgeUnreachable, SavedAudio

Message = MutableMapping[str, Any]


@attrs.define
class Recorder:
    """An ASGI app that gives one answer to everything and notes what was asked."""

    status: int = 200
    body: bytes = b"{}"
    headers: list[tuple[bytes, bytes]] = attrs.field(factory=list)
    asked: list[tuple[str, bytes, bytes, bytes]] = attrs.field(factory=list)
    request_headers: dict[bytes, bytes] = attrs.field(factory=dict)

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        if scope["type"] == "lifespan":
            for phase in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{phase}.complete"})
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.request_headers = dict(scope["headers"])
        self.asked.append((scope["method"], scope["raw_path"], scope["query_string"], body))
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def edge(recorder: Recorder, nursery: trio.Nursery) -> AsyncIterator[EdgeHttp]:
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.accesslog = config.errorlog = None
    config.graceful_timeout = 0.01
    stop = trio.Event()
    serve = partial(hypercorn.trio.serve, recorder, config, shutdown_trigger=stop.wait)
    [url] = await nursery.start(serve)
    async with EdgeHttp(url, headers={"authorization": "Bearer k"}) as client:
        yield client
    stop.set()


@pytest.mark.parametrize(
    ("session_id", "segment"),
    [
        ("a/b", b"a%2Fb"),
        ("..", b"%2E%2E"),
        ("50%", b"50%25"),
        ("面 ?#", b"%E9%9D%A2%20%3F%23"),
        ("a.b-c_1", b"a.b-c_1"),
    ],
)
async def test_any_session_id_is_one_segment(
    edge: EdgeHttp, recorder: Recorder, session_id: str, segment: bytes
) -> None:
    await edge.state(session_id)

    assert recorder.asked == [("GET", b"/v1/sessions/" + segment + b"/state", b"", b"")]
    assert recorder.request_headers[b"authorization"] == b"Bearer k"


async def test_each_route_asks_what_the_contract_says(edge: EdgeHttp, recorder: Recorder) -> None:
    recorder.body = b'{"items":[{"seq_no":8}],"next":null}'
    assert await edge.events("s", after=7, limit=2) == [{"seq_no": 8}]
    await edge.health()
    await edge.sessions(cursor="c")
    await edge.finalize("s")
    await edge.finalize("s", {"title": "面"})
    await edge.result("s")
    await edge.resolve("s", {"audio": {"last_ms": 5000}}, idempotency_key="k")
    assert recorder.request_headers[b"x-idempotency-key"] == b"k"
    await edge.delete("s")
    await edge.chunk("s", 7)
    await edge.chunk("s", 7, stream="teacher")

    assert recorder.asked == [
        ("GET", b"/v1/sessions/s/events", b"after=7&limit=2", b""),
        ("GET", b"/health", b"", b""),
        ("GET", b"/v1/sessions", b"cursor=c", b""),
        ("POST", b"/v1/sessions/s/finalize", b"", b"{}"),
        ("POST", b"/v1/sessions/s/finalize", b"", '{"metadata":{"title":"面"}}'.encode()),
        ("GET", b"/v1/sessions/s/result", b"", b""),
        ("POST", b"/v1/sessions/s/resolve", b"", b'{"audio":{"last_ms":5000}}'),
        ("DELETE", b"/v1/sessions/s", b"", b""),
        ("GET", b"/v1/sessions/s/chunks/7", b"", b""),
        ("GET", b"/v1/sessions/s/chunks/7", b"stream=teacher", b""),
    ]


async def test_audio_goes_into_the_file(edge: EdgeHttp, recorder: Recorder, tmp_path: Path) -> None:
    recorder.body = bytes(range(256)) * 1000
    recorder.headers = [(b"x-missing-seconds", b"3")]

    saved = await edge.save_audio("s", tmp_path / "s.flac", format="flac")

    assert saved == SavedAudio(size=256_000, missing_seconds=3)
    assert (tmp_path / "s.flac").read_bytes() == recorder.body
    assert recorder.asked[0][1:3] == (b"/v1/sessions/s/audio", b"format=flac")


@pytest.mark.parametrize(
    ("body", "code", "detail"),
    [
        (
            {"detail": "session not found", "code": "session_not_found"},
            "session_not_found",
            "session not found",
        ),
        (
            {"success": False, "error": "no such file", "code": "file_not_found"},
            "file_not_found",
            "no such file",
        ),
        ("a proxy's page", "", "Not Found"),
    ],
)
async def test_an_error_is_raised_with_its_code(
    edge: EdgeHttp, recorder: Recorder, body: Any, code: str, detail: str
) -> None:
    recorder.status = 404
    recorder.body = json.dumps(body).encode()
    recorder.headers = [(b"retry-after", b"5")]

    with pytest.raises(EdgeRequestError) as caught:
        await edge.result("s")

    error = caught.value
    assert (error.status, error.code, error.detail, error.retry_after) == (404, code, detail, 5.0)


async def test_an_answer_that_is_not_json_is_an_error(edge: EdgeHttp, recorder: Recorder) -> None:
    recorder.body = b"<html>"

    with pytest.raises(EdgeRequestError, match="not a JSON object"):
        await edge.health()


@pytest.mark.parametrize(("status", "ready"), [(200, True), (503, False)])
async def test_ready_or_not(edge: EdgeHttp, recorder: Recorder, status: int, ready: bool) -> None:
    recorder.status = status

    assert await edge.is_ready() is ready


async def test_nobody_there() -> None:
    with trio.socket.socket() as taken:
        await taken.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        async with EdgeHttp(f"http://127.0.0.1:{taken.getsockname()[1]}") as edge:
            with pytest.raises(EdgeUnreachable, match=r"GET http://127\.0\.0\.1"):
                await edge.health()
