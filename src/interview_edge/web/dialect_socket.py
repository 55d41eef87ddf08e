"""A WebSocket of one of our dialects, from its acceptance to its close: what is the same in both.

A reader takes messages, a writer sends answers; between them stands an outbox. Who subclasses it says what a
message means.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Protocol

import attrs
import structlog
import trio

from interview_edge.access.principal import Principal
from interview_edge.errors import DRAINING, INTERNAL, INVALID_KEY, STORAGE_UNAVAILABLE, EdgeError, ErrorKind
from interview_edge.settings import Settings
from interview_edge.web.peers import Peer
from interview_edge.wire.frames import fit_close_reason

log = structlog.get_logger(__name__)

NORMAL_CLOSURE = 1000


@attrs.frozen
class Ending:
    """How the socket is to be closed. `patient`: only after everything accepted was answered."""

    code: int
    reason: str
    patient: bool

    @classmethod
    def of(cls, kind: ErrorKind) -> Ending:
        return cls(kind.close or NORMAL_CLOSURE, kind.code, patient=kind is DRAINING)


class Answers(Protocol):
    """What waits to be sent."""

    def __len__(self) -> int: ...

    def take(self) -> list[bytes]:
        """Everything that can be sent now."""
        ...

    async def wait(self) -> None:
        """Wait for a change since the last `take`."""
        ...

    def wake(self) -> None:
        """Let the writer look again."""
        ...

    @property
    def in_trouble(self) -> bool:
        """Whether answers stay out for the store's sake."""
        ...


class DialectSocket(ABC):
    """One socket. `run` owns its tasks."""

    def __init__(self, peer: Peer, answers: Answers, settings: Settings, principal: Principal) -> None:
        self.principal = principal
        self._peer = peer
        self._answers = answers
        self._settings = settings
        self._closing: Ending | None = None
        self._reading = trio.CancelScope()

    # -- what the dialect says

    @abstractmethod
    async def _take(self, text: bool, data: bytes, held: AsyncExitStack, nursery: trio.Nursery) -> None:
        """One message. What it opens is held until the socket ends; what it starts ends with the socket."""

    @abstractmethod
    def _refuse(self, error: EdgeError) -> None:
        """Answer with the error; end the socket where the error does."""

    @abstractmethod
    def _is_overdue(self, now: float) -> bool:
        """Whether the store owes more than `storage_timeout`; may announce it before."""

    @abstractmethod
    def leave(self, time_left: float) -> None:
        """Drain: read no more, answer what was accepted, close 1012. `time_left` in seconds."""

    async def _rest(self) -> None:  # noqa: B027 - nothing, for a dialect whose clients keep what isn't acked
        """The reading has ended, for whatever reason: put what was received into safe hands. Shielded, with
        `close_timeout` as its deadline.
        """

    @abstractmethod
    def _let_go(self) -> None:
        """The socket has ended: give back what it held."""

    @abstractmethod
    def _told_of_fault(self) -> Mapping[str, str]:
        """What a log line says of the socket, beside the fault."""

    # -- life

    async def run(self) -> None:
        """Serve the socket until either side closes it. A fault closes 1011 and is logged; nothing acked is
        lost.
        """
        async with AsyncExitStack() as held:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    try:
                        with self._reading:
                            await self._read(held, nursery)
                    finally:
                        with trio.move_on_after(self._settings.close_timeout, shield=True):
                            await self._rest()
                    nursery.cancel_scope.deadline = self._last_moment()
                await self._close()
            except Exception:  # the boundary: whatever broke, the peer is told 1011 and the node goes on
                log.exception("an audio socket failed", **self._told_of_fault())
                await self._peer.close(INTERNAL.close or NORMAL_CLOSURE, INTERNAL.code)
            finally:
                self._let_go()

    def _last_moment(self) -> float:
        """How long the writer may go on after the reading has ended: not at all when the peer is gone."""
        if self._closing is None:
            return -math.inf
        patience = self._settings.storage_timeout if self._closing.patient else 0
        return trio.current_time() + patience + self._settings.send_timeout

    async def _close(self) -> None:
        """Close the WebSocket with the reason that stands, once."""
        ending, self._closing = self._closing, None
        if ending is not None:
            await self._peer.close(ending.code, fit_close_reason(ending.reason))

    def turn_out(self) -> None:
        """Whose socket it is may not be here any more: say so and close, answering nothing that waits."""
        self._refuse(EdgeError(INVALID_KEY))

    def mind_storage(self, now: float) -> None:
        """Close 1013 where answers are owed for longer than `storage_timeout`. Called for every socket now
        and then (context.py).
        """
        if self._is_overdue(now):
            self._end(Ending.of(STORAGE_UNAVAILABLE))

    def _end(self, ending: Ending) -> None:
        """Close once everything before it is sent. The first reason stands."""
        if self._closing is None:
            self._closing = ending
        self._answers.wake()

    # -- reading and writing

    async def _read(self, held: AsyncExitStack, nursery: trio.Nursery) -> None:
        while messages := await self._peer.receive():
            for text, data in messages:
                await self._take(text, data, held, nursery)
                if self._closing is not None:
                    return
            del messages, text, data  # or a socket at rest holds the frames of its last burst: 32 KiB each

    async def _write(self) -> None:
        """Send what is ready, in order; watch over what isn't; end when the socket is to be closed."""
        while True:
            texts = self._answers.take()
            if texts:
                await self._peer.send(texts)
            elif self._closing is not None and not self._awaits_answers(self._closing):
                self._reading.cancel()
                return
            else:
                await self._answers.wait()

    def _awaits_answers(self, ending: Ending) -> bool:
        return bool(self._answers) and ending.patient and not self._answers.in_trouble
