"""Quart-Trio routes on the mended server: lifespan, bodies behind BodyLimit, WebSockets of its own."""

from __future__ import annotations

import socket
from typing import Any

import httpx
import pytest
import trio
from quart import request, websocket
from quart_trio import QuartTrio
from wsproto.events import TextMessage

from interview_edge.errors import EdgeError
from interview_edge.web.hypercorn import BodyBudget, BodyLimit, serve


async def refuse(error: EdgeError, _scope: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": error.kind.status, "headers": []})
    await send({"type": "http.response.body", "body": error.kind.code.encode()})


def quart_app(stages: list[str]) -> QuartTrio:
    app = QuartTrio("test")

    @app.before_serving
    async def started() -> None:
        stages.append("started")

    @app.after_serving
    async def stopped() -> None:
        stages.append("stopped")

    @app.post("/length")
    async def length() -> str:
        return str(len(await request.get_data()))

    @app.websocket("/echo")
    async def echo() -> None:
        while True:
            await websocket.send(await websocket.receive())

    return app


async def test_quart_runs_whole(start: Any) -> None:
    stages: list[str] = []
    limited = BodyLimit(
        app=quart_app(stages), limit_for=lambda _s: 500_000, budget=BodyBudget(1_000_000), refuse=refuse
    )
    async with start(limited.__call__, graceful_timeout=0.1, linger=0.5) as server:
        assert stages == ["started"]
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client:
            assert (await client.post("/length", content=bytes(400_000))).text == "400000"
            too_big = await client.post("/length", content=bytes(600_000))
            assert (too_big.status_code, too_big.text) == (413, "body_too_large")
            assert (await client.get("/nowhere")).status_code == 404
        async with server.client() as socket:
            await socket.upgrade(b"/echo")
            await socket.send_event(TextMessage(data="é"))
            assert await socket.event() == TextMessage(data="é")
            server.shutdown.set()
            assert await socket.close_code() == 1012
    assert stages == ["started", "stopped"]


async def test_an_answer_that_ends_the_connection_ends_it_at_once(start: Any) -> None:
    """Quart cancels its own request at the disconnect: which of its tasks runs first is chance, so often."""
    request_head = b"POST /length HTTP/1.0\r\ncontent-length: 2\r\n\r\nhi"
    async with start(quart_app([]), linger=30) as server:
        for _ in range(12):
            async with server.client() as client:
                await client.send(request_head)
                with trio.fail_after(10):
                    assert (await client.rest()).endswith(b"\r\n\r\n2")


async def test_an_address_in_use_is_an_oserror() -> None:
    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        raise NotImplementedError

    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        trio.fail_after(10),
        pytest.raises(OSError, match="in use"),
    ):
        await serve(app, port=taken.getsockname()[1], shutdown_trigger=trio.sleep_forever)
