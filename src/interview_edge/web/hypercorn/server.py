"""Serving an ASGI application with the mended classes, in the caller's nursery.

`hypercorn.trio.run.worker_serve` takes its connection class from a module global, and leaves a peer that
doesn't read able to hold up the exit. So the same parts (configuration, lifespan, context) are put together
here instead of replacing that global for the whole process.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ConnectionState, LifespanState
from hypercorn.utils import repr_socket_addr

from .capacity import Roster
from .connection import Connection
from .limits import ServerLimits
from .shape import check_shape

LOGGER = logging.getLogger("interview_edge.web.server")


async def serve(
    app: ASGIFramework,
    *,
    shutdown_trigger: Callable[[], Awaitable[object]],
    limits: ServerLimits | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    sockets: Sequence[socket.socket] | None = None,
    log: logging.Logger = LOGGER,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `app` until `shutdown_trigger` returns, then drain.

    `task_status.started` gives the bound URLs (`http://127.0.0.1:43210`), so port 0 works. `sockets`, bound
    and not yet listening, stand in for `host` and `port`; they are closed at the end.

    Draining: nothing more is accepted, idle connections close, the applications' tasks have
    `limits.graceful_timeout` to end (each is expected to close its own sockets with 1012); what is open then
    is reset and cancelled. A second cancellation from outside does the last step at once.

    Raises UnsupportedHypercornError, OSError where the address can't be bound, and Hypercorn's lifespan
    errors.
    """
    check_shape()
    limits = ServerLimits() if limits is None else limits
    config = _configure(limits, log)
    if sockets is None:
        config.bind = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        sockets = config.create_sockets().insecure_sockets
    wrapped = ASGIWrapper(app)
    state: LifespanState = {}
    lifespan = Lifespan(wrapped, config, state)
    try:
        async with trio.open_nursery() as lifespan_nursery:
            await lifespan_nursery.start(lifespan.handle_lifespan)
            await lifespan.wait_for_startup()
            await _serve_sockets(
                partial(Connection, wrapped, config),
                state,
                limits,
                _listen(sockets, limits.backlog),
                shutdown_trigger,
                task_status,
            )
            await lifespan.wait_for_shutdown()
            lifespan_nursery.cancel_scope.cancel()
    finally:
        for sock in sockets:
            sock.close()


async def _serve_sockets(
    connection: Callable[..., Connection],
    state: LifespanState,
    limits: ServerLimits,
    listeners: list[trio.SocketListener],
    shutdown_trigger: Callable[[], Awaitable[object]],
    task_status: trio.TaskStatus[list[str]],
) -> None:
    context = WorkerContext(None)
    roster = Roster(limits.max_connections, limits.linger)

    async def handle(stream: trio.SocketStream) -> None:
        await connection(context, ConnectionState(state.copy()), limits, roster, stream)

    urls = [_url(listener.socket) for listener in listeners]
    async with trio.open_nursery() as handlers:
        async with trio.open_nursery() as accepting:
            accepting.start_soon(partial(trio.serve_listeners, handle, listeners, handler_nursery=handlers))
            task_status.started(urls)
            await shutdown_trigger()
            accepting.cancel_scope.cancel()
        await context.terminated.set()
        with trio.move_on_after(limits.graceful_timeout):
            await roster.wait_empty()
        roster.reset_all()
        handlers.cancel_scope.cancel()


def _configure(limits: ServerLimits, log: logging.Logger) -> Config:
    """Hypercorn's settings, as far as its parts that we use read them."""
    config = Config()
    config.errorlog = log
    config.accesslog = None  # ours is the application's, with the session in it
    config.include_server_header = False
    config.h11_max_incomplete_size = limits.max_header_bytes
    config.websocket_max_message_size = limits.max_frame_bytes
    config.websocket_ping_interval = None  # silence.py pings
    config.max_app_queue_size = 1  # the lifespan's only: requests have inbox.py
    return config


def _listen(sockets: Sequence[socket.socket], backlog: int) -> list[trio.SocketListener]:
    for sock in sockets:
        sock.listen(backlog)
    return [trio.SocketListener(trio.socket.from_stdlib_socket(sock)) for sock in sockets]


def _url(sock: trio.socket.SocketType) -> str:
    return f"http://{repr_socket_addr(sock.family, sock.getsockname())}"
