"""What one audio socket owes its peer: answers in order of arrival, some of which aren't known yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

import trio
from msgspec import UNSET

from interview_edge.errors import STORAGE_UNAVAILABLE, EdgeError, ErrorKind
from interview_edge.sessions.receipt import Outcome, Receipt
from interview_edge.wire.chunk_dialect import encode_utf8
from interview_edge.wire.frames import Ack, ErrorFrame, ServerFrame

MAX_WAITING = 2048  # answers of all kinds: more than any max_in_flight


class Outbox:
    """Receipts, and replies made when their turn comes (so that they show the counters of that moment).

    `ack_key` names the object of a stored chunk in its ack; None where no ack names one. Used by one
    reader, which adds, and one writer, which takes; bounded as far as the reader heeds `wait_for_room`.
    """

    def __init__(self, max_in_flight: int, ack_key: Callable[[int], str] | None) -> None:
        self._max_in_flight = max_in_flight
        self._ack_key = ack_key
        self._queue: deque[Receipt | Callable[[], ServerFrame]] = deque()
        self._urgent: list[bytes] = []
        self._in_flight = 0
        self._changed = trio.Event()
        self._room = trio.Event()
        self._trouble_since: float | None = None
        self._gave_up = False

    def __len__(self) -> int:
        return len(self._queue) + len(self._urgent)

    # -- adding

    def owe(self, receipt: Receipt) -> None:
        """A chunk was accepted: its ack, or its error, goes out in its turn."""
        self._in_flight += 1
        self._queue.append(receipt)
        if receipt.done:
            self._changed.set()

    def settled(self, receipt: Receipt) -> None:
        """A receipt's answer is known: called for a whole batch in one go, so one write carries its acks."""
        self._changed.set()

    def reply(self, make: Callable[[], ServerFrame]) -> None:
        """Answer in turn with what `make` gives then."""
        self._queue.append(make)
        self._changed.set()

    def say(self, frame: ServerFrame) -> None:
        """Answer in turn with `frame`."""
        self.reply(partial(_same, frame))

    def urge(self, frame: ServerFrame) -> None:
        """Send `frame` ahead of everything that waits."""
        self._urgent.append(encode_utf8(frame))
        self._changed.set()

    @property
    def may_owe(self) -> bool:
        """Whether another chunk may be accepted now."""
        return self._in_flight < self._max_in_flight

    async def wait_for_room(self, timeout: float, otherwise: ErrorKind) -> None:
        """Wait until a chunk and an answer more may be added; EdgeError(`otherwise`) after `timeout`
        seconds.
        """
        with trio.move_on_after(timeout) as waiting:
            while not self.may_owe or len(self) >= MAX_WAITING:
                self._room = trio.Event()
                await self._room.wait()
        if waiting.cancelled_caught:
            raise EdgeError(otherwise)

    def forget(self) -> None:
        """The socket is gone: its open receipts have nobody to tell, and must not keep this alive."""
        for each in self._queue:
            if isinstance(each, Receipt):
                each.forget()

    # -- taking

    def wake(self) -> None:
        """Let the writer look again."""
        self._changed.set()

    async def wait(self) -> None:
        """Wait for a change since the last `take`."""
        await self._changed.wait()

    def take(self) -> list[bytes]:
        """Everything that can be sent now: what is urgent, and the rest up to the first open receipt."""
        self._changed = trio.Event()
        texts, self._urgent = self._urgent, []
        queue = self._queue
        while queue:
            head = queue[0]
            if isinstance(head, Receipt):
                if not head.done:
                    break
                self._in_flight -= 1
                texts.append(encode_utf8(self._answer_to(head)))
            else:
                texts.append(encode_utf8(head()))
            queue.popleft()
        if texts:
            self._room.set()
        return texts

    def _answer_to(self, receipt: Receipt) -> Ack | ErrorFrame:
        if receipt.error is not None:
            if receipt.error.kind is STORAGE_UNAVAILABLE:
                self.note_trouble()
            return ErrorFrame.of(receipt.error)
        if not self._gave_up:
            self._trouble_since = None
        stored = receipt.outcome is Outcome.STORED
        return Ack(
            receipt.seq,
            "stored" if stored else "duplicate",
            receipt.last_seq,
            receipt.missing_count,
            receipt.duplicate_count,
            receipt.next_seq,
            self._ack_key(receipt.seq) if stored and self._ack_key is not None else UNSET,
        )

    # -- trouble with the store

    @property
    def in_trouble(self) -> bool:
        """Whether answers stay out, or chunks were refused, for the store's sake."""
        return self._trouble_since is not None

    def note_trouble(self) -> None:
        """A chunk was refused for the store's sake. Its client sends it again on the next connection only, so
        this one must end, even where later chunks are acked again.
        """
        self._gave_up = True
        if self._trouble_since is None:
            self._trouble_since = trio.current_time()

    def is_overdue(self, now: float, timeout: float) -> bool:
        """Look at how long the oldest answer is owed; True when the socket has to end (contract ingest.md,
        Pace).

        Acks that stay out are announced as `storage_unavailable` after half of `timeout` seconds.
        """
        head = self._queue[0] if self._queue else None
        if (
            self._trouble_since is None
            and isinstance(head, Receipt)
            and not head.done
            and now >= head.accepted_at + timeout / 2
        ):
            self._trouble_since = head.accepted_at
            self.urge(ErrorFrame.of(EdgeError(STORAGE_UNAVAILABLE, fields={"seq": head.seq})))
        return self._trouble_since is not None and now >= self._trouble_since + timeout


def _same(frame: ServerFrame) -> ServerFrame:
    return frame
