"""The outbox over any course of sends, acks, cuts and resumes: nothing is lost, nothing held is resent."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from interview_edge.client.outbox import Outbox
from interview_edge.core.ledger import Ledger
from interview_edge.wire.frames import ChunkFrame, Ready, StreamStatus


def ready_of(ledger: Ledger, window: int) -> Ready:
    missing, _ = ledger.missing()
    return Ready(
        session_id="s",
        ingest=StreamStatus.of(ledger.status("s", 0)),
        next_seq=ledger.next_seq,
        missing=missing,
        max_in_flight=window,
        ack="journal",
        epoch=1,
    )


class OutboxMachine(RuleBasedStateMachine):
    """`wire` is what was sent on this connection and not answered; a cut loses any part of it."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox()
        self.ledger = Ledger()
        self.ledger.admit(2, at=0)
        self.window = 3
        self.wire: list[int] = []
        self.added: set[int] = set()
        self.outbox.resume(ready_of(self.ledger, self.window))

    @rule()
    def add(self) -> None:
        seq = self.outbox.next_seq
        assert seq not in self.added
        assert seq != 2, "held before we came"
        self.outbox.add(ChunkFrame(seq, 1, False, b""))
        self.added.add(seq)

    @rule()
    def send(self) -> None:
        item = self.outbox.take()
        if item is not None:
            assert isinstance(item, ChunkFrame)
            assert item.seq not in self.ledger.held, "sent although the server was known to hold it"
            self.wire.append(item.seq)

    @precondition(lambda self: self.wire)
    @rule()
    def ack(self) -> None:
        seq = self.wire.pop(0)
        self.ledger.admit(seq, at=0)
        assert self.outbox.settle(seq)

    @rule(arrived=st.integers(0, 3), window=st.integers(1, 5))
    def cut_and_resume(self, arrived: int, window: int) -> None:
        for seq in self.wire[:arrived]:
            self.ledger.admit(seq, at=0)  # and its ack is lost
        self.wire.clear()
        self.window = window
        held = self.outbox.resume(ready_of(self.ledger, window))
        assert all(seq in self.ledger.held for seq in held)

    @invariant()
    def everything_is_held_or_kept(self) -> None:
        kept = set(self.outbox.unacked)
        assert all(seq in kept or seq in self.ledger.held for seq in self.added)
        assert not any(seq in self.ledger.held for seq in kept)

    @invariant()
    def the_window_is_kept(self) -> None:
        assert len(self.wire) <= self.window

    def teardown(self) -> None:
        while self.outbox:
            item = self.outbox.take()
            assert isinstance(item, ChunkFrame) or self.wire, "stuck with chunks unacked"
            if isinstance(item, ChunkFrame):
                self.wire.append(item.seq)
            self.ack()
        assert all(seq in self.ledger.held for seq in self.added)


TestOutbox = OutboxMachine.TestCase
