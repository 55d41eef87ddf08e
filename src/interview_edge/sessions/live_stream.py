"""One stream of a live session: its ledger, what is pending, and its window."""

from __future__ import annotations

from typing import Protocol

import trio

from interview_edge.core.ledger import Ledger
from interview_edge.core.models import Chunk, StreamKey
from interview_edge.core.pcm import Pcm
from interview_edge.core.window import Window
from interview_edge.sessions.receipt import Receipt


class Pending:
    """A chunk that is not safe yet, and the repeats of it that wait for its commit. The PCM is in the
    journal's hands.
    """

    __slots__ = ("_is_settled", "_settled", "final", "identity", "length", "receipt", "repeats")

    def __init__(self, identity: bytes, length: int, final: bool, receipt: Receipt) -> None:
        self.identity = identity
        self.length = length
        self.final = final
        self.receipt = receipt
        self.repeats: list[tuple[Chunk, Receipt]] | None = None
        self._is_settled = False
        self._settled: trio.Event | None = None

    def wait_with(self, chunk: Chunk, receipt: Receipt) -> None:
        """A repeat came while the first copy is under way: it is answered after that commit.

        Those whose socket is gone are dropped: while a disk hangs a client may come again for hours.
        """
        self.repeats = [each for each in self.repeats or () if not each[1].forgotten]
        self.repeats.append((chunk, receipt))

    def settle(self) -> None:
        """The chunk is pending no more: held, or given up."""
        self._is_settled = True
        if self._settled is not None:
            self._settled.set()

    async def settled(self) -> None:
        """Wait for `settle`. The event is made here, so that the many chunks nobody waits for cost none."""
        if not self._is_settled:
            if self._settled is None:
                self._settled = trio.Event()
            await self._settled.wait()


class Recorder(Protocol):
    """Who has the seqs of a stream given by the server: one at a time (recording.py)."""

    async def give_way(self) -> None:
        """Store what was received, and be it no longer."""
        ...


class LiveStream:
    """The state of one stream. Owned by its session; `close` gives the window's memory back."""

    __slots__ = ("closed", "key", "ledger", "pending", "recording", "window")

    def __init__(self, key: StreamKey, ledger: Ledger, window: Window) -> None:
        self.key = key
        self.ledger = ledger
        self.window = window
        self.pending: dict[int, Pending] = {}
        self.closed = False
        self.recording: Recorder | None = None

    def show(self, seq: int, pcm: Pcm) -> None:
        """Let the window have a second; a session that closed meanwhile has none."""
        if not self.closed:
            self.window.write(seq, pcm)

    def shown(self, seq: int) -> bytes | None:
        """The PCM of a second, where the window (still) holds it."""
        return None if self.closed else self.window.read(seq)

    def close(self) -> None:
        self.closed = True
        self.window.close()
