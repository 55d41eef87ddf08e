"""The two kinds of load: as fast as a window of unacked chunks allows, and one chunk a second each."""

from __future__ import annotations

import itertools
import selectors
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import attrs

from benchmarks.connection import Acks, Answers, Connection, WrongAnswer
from benchmarks.speech_frames import SpeechFrames

STALL_TIMEOUT = 30.0  # without one answer
LAST_WAIT = 0.1  # with nothing left to send

_names = itertools.count(1)  # new sessions each time: a server under test serves many loads


@contextmanager
def connections(
    url: str, count: int, frames: SpeechFrames, answers: Answers | None = None
) -> Iterator[list[Connection]]:
    """`count` sockets, each of a new session; with the product (`answers` None) greeted, too."""
    with ExitStack() as stack:
        opened = []
        for _ in range(count):
            connection = Connection(url, f"bench-{next(_names)}", frames, answers or Acks())
            stack.callback(connection.close)
            if answers is None:
                connection.greet()
            connection.start()
            opened.append(connection)
        yield opened


def send_windowed(connections: Sequence[Connection], up_to: int, window: int) -> float:
    """Send each connection's chunks up to seq `up_to`, at most `window` unanswered each; answers the seconds.

    Returns when every one is answered. Raises WrongAnswer, also where nothing is answered for half a minute.
    """
    began = time.perf_counter()
    left = sum(up_to - connection.answered for connection in connections)
    with selectors.EpollSelector() as selector:
        for connection in connections:
            selector.register(connection, selectors.EVENT_READ, connection)
            _fill(connection, up_to, window, selector)
        while left:
            ready = selector.select(STALL_TIMEOUT)
            if not ready:
                raise WrongAnswer(f"no answer for {STALL_TIMEOUT:.0f} s; {left} are owed")
            for key, events in ready:
                if events & selectors.EVENT_READ:
                    left -= key.data.receive()
                if events & selectors.EVENT_WRITE:
                    key.data.flush()
                _fill(key.data, up_to, window, selector)
    return time.perf_counter() - began


def _fill(connection: Connection, up_to: int, window: int, selector: selectors.BaseSelector) -> None:
    """Send what the window allows; ask for writability only while the kernel holds us back."""
    while not connection.blocked and connection.sent < up_to and connection.in_flight < window:
        connection.send_next()
    events = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.blocked else 0)
    if selector.get_key(connection).events != events:
        selector.modify(connection, events, connection)


@attrs.frozen
class PacedResult:
    """Seconds from the send of a chunk to its ack, and how late the client itself ever sent one."""

    latencies: Sequence[float]
    seconds: float
    worst_lateness: float


def send_paced(
    connections: Sequence[Connection], chunks: int, warm_up: int, interval: float = 1.0
) -> PacedResult:
    """One chunk an `interval` from each connection, their starts spread over it evenly.

    The first `warm_up` chunks of each aren't in the latencies: sessions settle in them. A send never waits
    for an answer, so a slow server can't hide its latency by holding the client back.
    """
    pace = _Pace(connections, chunks, interval)
    latencies: list[float] = []
    answered = [0] * len(connections)
    with selectors.EpollSelector() as selector:
        for index, connection in enumerate(connections):
            selector.register(connection, selectors.EVENT_READ, index)
        began = heard = time.perf_counter()
        left = len(connections) * chunks
        while left:
            wait = pace.send_due()
            for key, _ in selector.select(wait):
                index = key.data
                connections[index].flush()
                count = connections[index].receive()
                heard = time.perf_counter()
                left -= count
                for sent_at in pace.sent(index, count):
                    answered[index] += 1
                    if answered[index] > warm_up:
                        latencies.append(heard - sent_at)
            if time.perf_counter() - heard > STALL_TIMEOUT:
                raise WrongAnswer(f"no answer for {STALL_TIMEOUT:.0f} s; {left} are owed")
    return PacedResult(latencies, time.perf_counter() - began, pace.worst_lateness)


class _Pace:
    """When which connection sends, and when it did."""

    def __init__(self, connections: Sequence[Connection], chunks: int, interval: float) -> None:
        self._connections = connections
        self._total = len(connections) * chunks
        self._step = interval / len(connections)
        self._began = time.perf_counter()
        self._count = 0
        self._sent_at: list[deque[float]] = [deque() for _ in connections]
        self.worst_lateness = 0.0

    def send_due(self) -> float:
        """Send what is due; answers the seconds until the next is."""
        while self._count < self._total:
            now = time.perf_counter()
            due = self._began + self._count * self._step
            if due > now:
                return due - now
            self.worst_lateness = max(self.worst_lateness, now - due)
            index = self._count % len(self._connections)
            self._sent_at[index].append(now)
            self._connections[index].send_next()
            self._count += 1
        return LAST_WAIT

    def sent(self, index: int, count: int) -> list[float]:
        """When the oldest `count` unanswered chunks of a connection were sent; answers keep their order."""
        return [self._sent_at[index].popleft() for _ in range(count)]
