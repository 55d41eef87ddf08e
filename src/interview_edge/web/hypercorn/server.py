"""Serving an ASGI application with the mended classes, in the caller's nursery.

`hypercorn.trio.run.worker_serve` takes its connection class from a module global, and leaves a peer that
doesn't read able to hold up the exit. So the same parts (configuration, lifespan, context) are put together
here instead of replacing that global for the whole process.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
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
from .frames import MAX_HEADER
from .limits import ServerLimits
from .receiving import ReceiveBuffer
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
    `limits.graceful_timeout` to end (each is expected to close its own sockets with 1012). Then they are
    cancelled (their sockets closed with 1012 where they haven't), and what is open `limits.linger` later is
    reset. Cancelled from outside, `serve` ends once each write under way is done or has timed out.

    Raises UnsupportedHypercornError, OSError where the address can't be bound, and Hypercorn's lifespan
    errors.
    """
    check_shape()
    limits = ServerLimits() if limits is None else limits
    config = _configure(limits, log)
    wrapped = ASGIWrapper(app)
    state: LifespanState = {}
    lifespan = Lifespan(wrapped, config, state)
    async with AsyncExitStack() as stack:
        if sockets is None:
            listeners = await _bind(host, port, limits.backlog)
        else:
            listeners = _listen(sockets, limits.backlog)
        for listener in listeners:
            stack.push_async_callback(listener.aclose)
        lifespan_nursery = await stack.enter_async_context(trio.open_nursery())
        await lifespan_nursery.start(lifespan.handle_lifespan)
        await lifespan.wait_for_startup()
        connection = partial(Connection, wrapped, config)
        task_status.started([_url(listener.socket) for listener in listeners])
        await _serve_listeners(connection, state, limits, listeners, shutdown_trigger)
        await lifespan.wait_for_shutdown()
        lifespan_nursery.cancel_scope.cancel()


async def _serve_listeners(
    connection: Callable[..., Connection],
    state: LifespanState,
    limits: ServerLimits,
    listeners: list[trio.SocketListener],
    shutdown_trigger: Callable[[], Awaitable[object]],
) -> None:
    context = WorkerContext(None)
    roster = Roster(limits.max_connections, limits.max_connections_of_client, limits.linger)
    buffer = ReceiveBuffer(limits.max_frame_bytes + MAX_HEADER)

    async def handle(stream: trio.SocketStream) -> None:
        await connection(context, ConnectionState(state.copy()), limits, roster, buffer, stream)

    async with trio.open_nursery() as handlers:
        async with trio.open_nursery() as accepting:
            accepting.start_soon(partial(trio.serve_listeners, handle, listeners, handler_nursery=handlers))
            await shutdown_trigger()
            accepting.cancel_scope.cancel()
        await context.terminated.set()
        with trio.move_on_after(limits.graceful_timeout):
            await roster.wait_empty()
        handlers.cancel_scope.cancel()
        with trio.move_on_after(limits.linger, shield=True):  # for the closing words of what was cancelled
            await roster.wait_empty()
        roster.reset_all()


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


async def _bind(host: str, port: int, backlog: int) -> list[trio.SocketListener]:
    """As trio does; the OSError names what couldn't be bound."""
    try:
        return await trio.open_tcp_listeners(port, host=host, backlog=backlog)
    except OSError as error:
        told = f"can't listen on {host} port {port}: {error.strerror or error}"
        raise OSError(error.errno, told) from error


def _listen(sockets: Sequence[socket.socket], backlog: int) -> list[trio.SocketListener]:
    for sock in sockets:
        sock.listen(backlog)
    return [trio.SocketListener(trio.socket.from_stdlib_socket(sock)) for sock in sockets]


def _url(sock: trio.socket.SocketType) -> str:
    return f"http://{repr_socket_addr(sock.family, sock.getsockname())}"
