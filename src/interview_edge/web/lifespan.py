"""ASGI's lifespan, for applications whose life is their owner's."""

from __future__ import annotations

from typing import Any


async def serve_lifespan(receive: Any, send: Any) -> None:
    """A server that asks whether to start or end is told yes: who opened the application decides that."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
