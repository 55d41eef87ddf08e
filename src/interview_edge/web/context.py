"""What the web room works with: the node's sessions, its parts, and the sockets that are open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs
import trio

from interview_edge.access.opening import Access
from interview_edge.access.principal import Principal
from interview_edge.services.realtime import RealtimeService
from interview_edge.sessions.node_parts import NodeParts
from interview_edge.sessions.registry import Registry
from interview_edge.tracing import NoTracing, Tracing
from interview_edge.web.dialect_socket import DialectSocket


class OpenSockets:
    """The audio sockets that are open on this node: for drain, /health and the limit."""

    def __init__(self) -> None:
        self._sockets: set[DialectSocket] = set()
        self._none_left = trio.Event()
        self._waiting: set[trio.CancelScope] = set()
        self._leaving = False

    @contextmanager
    def until_leaving(self) -> Iterator[trio.CancelScope]:
        """A cancel scope that `leave_all` cancels: for who isn't a socket of the dialect yet."""
        with trio.CancelScope() as scope:
            if self._leaving:
                scope.cancel()
            self._waiting.add(scope)
            try:
                yield scope
            finally:
                self._waiting.discard(scope)

    @contextmanager
    def hold(self, socket: DialectSocket) -> Iterator[None]:
        """Count a socket for the block."""
        self._sockets.add(socket)
        try:
            yield
        finally:
            self._sockets.discard(socket)
            if not self._sockets:
                self._none_left.set()

    def leave_all(self, time_left: float) -> None:
        """Tell every client to reconnect elsewhere; each socket closes once its chunks are answered."""
        self._leaving = True
        for waiting in self._waiting:
            waiting.cancel()
        for socket in tuple(self._sockets):
            socket.leave(time_left)

    def turn_out(self, stands: Callable[[Principal], bool]) -> None:
        """Close the sockets of those who would not be let in again. What they were acked stays."""
        for socket in tuple(self._sockets):
            if not stands(socket.principal):
                socket.turn_out()

    async def watch(self, interval: float) -> None:
        """Mind every socket's storage each `interval` seconds, until cancelled: one timer for all of them."""
        while True:
            await trio.sleep(interval)
            self._mind_all(trio.current_time())

    def _mind_all(self, now: float) -> None:
        """In a function of its own, whose variables don't keep the last socket until the next look."""
        for socket in tuple(self._sockets):
            socket.mind_storage(now)

    async def all_gone(self) -> None:
        """Wait until no socket is open."""
        while self._sockets:
            self._none_left = trio.Event()
            await self._none_left.wait()

    def __len__(self) -> int:
        return len(self._sockets)


@attrs.frozen
class WebContext:
    """One node, as its routes see it. `version` is the package's."""

    parts: NodeParts
    registry: Registry
    sockets: OpenSockets
    access: Access
    realtime: RealtimeService
    version: str
    tracing: Tracing = attrs.field(factory=NoTracing)
