"""Running the application for one request: what it raises is logged, and its peer is always told the end.

Hypercorn ends the request once more after an exception it has already ended it for, and doesn't bound that
end against cancellation. The close code (1011 for a fault, 1012 when drained away) is the stream's, in
websocket.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

import trio
from hypercorn.config import Config
from hypercorn.trio.task_group import TaskGroup
from hypercorn.typing import AppWrapper, ASGIReceiveCallable, ASGIReceiveEvent, ASGISendEvent, Scope

from .inbox import Inbox
from .limits import ServerLimits

Send = Callable[[ASGISendEvent | None], Awaitable[None]]


async def run_app(
    app: AppWrapper,
    config: Config,
    scope: Scope,
    receive: ASGIReceiveCallable,
    send: Send,
    finish_timeout: float,
) -> None:
    """Run `app` to its end, then tell the stream (`send(None)`), cancelled or not, within
    `finish_timeout`."""
    try:
        await app(scope, receive, send, trio.to_thread.run_sync, trio.from_thread.run)
    except Exception:  # the application's, whatever it is: one request fails, the server stays
        await config.log.exception("the application raised on %s %s", scope["type"], scope.get("path"))
    finally:
        with trio.move_on_after(finish_timeout, shield=True):
            await send(None)


class AppTasks(TaskGroup):
    """Hypercorn's task group of one connection, with a bounded inbox before each application call."""

    def __init__(self, limits: ServerLimits) -> None:
        super().__init__()
        self._limits = limits

    async def spawn_app(
        self, app: AppWrapper, config: Config, scope: Scope, send: Send
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        """Start the application; the answer puts events into its inbox (see inbox.py for who waits)."""
        inbox: Inbox[Any] = Inbox(self._limits.inbox_bytes)

        async def put(event: ASGIReceiveEvent) -> None:
            if event["type"] == "http.disconnect":
                inbox.end()
            else:
                body = cast(bytes, event.get("body", b""))
                await inbox.put(event, len(body))

        async def receive() -> Any:
            event = await inbox.take()
            return {"type": "http.disconnect"} if event is None else event

        async def send_or_end(message: ASGISendEvent | None) -> None:
            if message is None:
                inbox.close()  # before the stream ends: its reader may be waiting for room
            await send(message)

        self.spawn(run_app, app, config, scope, receive, send_or_end, self._limits.send_timeout)
        return put
