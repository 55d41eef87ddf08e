"""What becomes of one accepted chunk: the value that a socket or an embedding program waits on."""

from __future__ import annotations

import enum
from collections.abc import Callable

from interview_edge.core.ledger import Ledger
from interview_edge.errors import EdgeError


class Outcome(enum.Enum):
    """`stored` and `duplicate` are the wire's words (contract ingest.md)."""

    STORED = "stored"
    DUPLICATE = "duplicate"


class Receipt:
    """One chunk on its way to an ack, or to an error. `on_done` is called once, synchronously, on the trio
    thread.

    The counters are the ledger's as of the chunk's own commit, so acks in flight never show later ones.
    """

    __slots__ = (
        "_on_done",
        "accepted_at",
        "duplicate_count",
        "error",
        "forgotten",
        "last_seq",
        "missing_count",
        "next_seq",
        "outcome",
        "seq",
    )

    def __init__(
        self, seq: int, accepted_at: float, on_done: Callable[[Receipt], None] | None = None
    ) -> None:
        self.seq = seq
        self.accepted_at = accepted_at
        self.outcome: Outcome | None = None
        self.error: EdgeError | None = None
        self.forgotten = False
        self.last_seq = 0
        self.missing_count = 0
        self.duplicate_count = 0
        self.next_seq = 1
        self._on_done = on_done

    @property
    def done(self) -> bool:
        return self.outcome is not None or self.error is not None

    def acknowledge(self, outcome: Outcome, ledger: Ledger) -> None:
        """The chunk is safe at the node's ack level."""
        self.outcome = outcome
        self.last_seq = ledger.last_seq
        self.missing_count = ledger.missing_count
        self.duplicate_count = ledger.duplicates
        self.next_seq = ledger.next_seq
        self._notify()

    def refuse(self, error: EdgeError) -> None:
        """The chunk was not taken; `error` says why."""
        self.error = error
        self._notify()

    def forget(self) -> None:
        """Nobody waits for the answer any more. The chunk goes on all the same."""
        self.forgotten = True
        self._on_done = None

    def _notify(self) -> None:
        on_done, self._on_done = self._on_done, None
        if on_done is not None:
            on_done(self)
