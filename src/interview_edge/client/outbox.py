"""What a client must keep: the chunks that are not acked, and what is still to be sent, in order. No I/O."""

from __future__ import annotations

from collections import deque

import attrs
from msgspec import Struct

from interview_edge.client.errors import ClientError
from interview_edge.core.ranges import Ranges
from interview_edge.wire.frames import ChunkFrame, Ready, ServerFrame


@attrs.define(eq=False)
class Request:
    """A frame that one frame answers: `reply` is that, or what came instead. Repeated after a reconnect."""

    message: str
    answer: type[Struct]
    reply: ServerFrame | ClientError | None = None


class Outbox:
    """Unacked chunks and unanswered requests of one stream, across its connections.

    `window` is how many chunks may be on the wire at once (`ready.max_in_flight`). Requests keep their place
    among the chunks.
    """

    def __init__(self) -> None:
        self.window = 1
        self._unacked: dict[int, ChunkFrame] = {}
        self._on_wire: set[int] = set()
        self._requests: list[Request] = []
        self._queue: deque[ChunkFrame | Request] = deque()
        self._taken: Ranges | None = None

    @property
    def unacked(self) -> tuple[int, ...]:
        """Seqs added and neither acked nor refused, in the order of adding."""
        return tuple(self._unacked)

    @property
    def requests(self) -> tuple[Request, ...]:
        """Requests without a reply, oldest first."""
        return tuple(self._requests)

    def __len__(self) -> int:
        return len(self._unacked)

    @property
    def next_seq(self) -> int:
        """The lowest seq that the server didn't hold when we came and that was not added since."""
        return 1 if self._taken is None else self._taken.first_missing

    def add(self, chunk: ChunkFrame) -> None:
        """Keep a chunk until it is settled. Raises ValueError where its seq waits for an ack already."""
        if chunk.seq in self._unacked:
            raise ValueError(f"chunk {chunk.seq} waits for its ack already")
        self._unacked[chunk.seq] = chunk
        self._queue.append(chunk)
        if self._taken is not None:
            self._taken.add(chunk.seq)

    def ask(self, request: Request) -> None:
        """Keep a request until it has a reply."""
        self._requests.append(request)
        self._queue.append(request)

    def take(self) -> ChunkFrame | Request | None:
        """What is to be sent next; None when nothing is, or the window is full."""
        if not self._queue:
            return None
        item = self._queue[0]
        if isinstance(item, ChunkFrame):
            if len(self._on_wire) >= self.window:
                return None
            self._on_wire.add(item.seq)
        return self._queue.popleft()

    def settle(self, seq: int) -> bool:
        """The chunk was acked or refused: forget it. Answers whether it was ours to wait for."""
        self._on_wire.discard(seq)
        return self._unacked.pop(seq, None) is not None

    def answer(self, request: Request, reply: ServerFrame | ClientError) -> None:
        """A request has its reply: forget it."""
        self._requests.remove(request)
        request.reply = reply

    def withdraw(self, request: Request) -> None:
        """Nobody waits for this request any more."""
        if request in self._requests:
            self._requests.remove(request)
        if request in self._queue:
            self._queue.remove(request)

    def resume(self, ready: Ready) -> tuple[int, ...]:
        """A new connection stands where `ready` says: answers the seqs held there, which are settled now.

        All others go again, then the requests. Past the end of a truncated list of missing ranges nothing is
        known: those go again too, as duplicates.
        """
        missing = Ranges(ready.missing)
        last_seq = ready.ingest.last_seq
        known_to = missing.last if ready.missing_truncated is True else last_seq
        held = tuple(seq for seq in self._unacked if seq <= known_to and seq not in missing)
        for seq in held:
            del self._unacked[seq]
        if self._taken is None:
            self._taken = Ranges(missing.missing(upto=last_seq))
            self._taken.update((seq, seq) for seq in self._unacked)
        self.window = ready.max_in_flight
        self._on_wire.clear()
        self._queue = deque([*self._unacked.values(), *self._requests])
        return held
