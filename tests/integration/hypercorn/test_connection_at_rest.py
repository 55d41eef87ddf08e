"""What a connection holds between two messages."""

from __future__ import annotations

import tracemalloc
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked
from wsproto.events import BytesMessage

FRAME = 50_000


async def test_a_connection_at_rest_holds_nothing_that_it_received(start: Any) -> None:
    taken = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        taken.set()
        await receive()

    async with start(app) as server, server.client() as client:
        await client.upgrade()
        tracemalloc.start()
        try:
            await client.send_event(BytesMessage(data=bytes(FRAME)))
            with trio.fail_after(5):
                await taken.wait()
            await wait_all_tasks_blocked()
            from_sockets = [tracemalloc.Filter(True, "*/trio/_socket.py")]
            received = tracemalloc.take_snapshot().filter_traces(from_sockets)
        finally:
            tracemalloc.stop()
    assert sum(trace.size for trace in received.traces) < FRAME // 5
