"""The ledger against plain sets and dictionaries (invariants 2 and 3 of the design)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from interview_edge.core.ledger import Ledger, Standing, merge
from interview_edge.core.models import LedgerSnapshot
from interview_edge.core.pcm import CHUNK_BYTES, identify
from interview_edge.core.ranges import Ranges
from interview_edge.errors import EdgeError

SEQS = st.integers(1, 30)
STREAMS = st.sampled_from(["mixed", "teacher"])
BYTES = st.binary(min_size=1, max_size=2)  # two different chunks for a seq are a conflict
FINAL_LENGTH = 640


class Node:
    """A node as small as one can be: a ledger a stream, identities, and a journal that may fail or be slow.

    `disk` is what survives a restart; `flying` is reserved and not yet safe.
    """

    def __init__(self) -> None:
        self.ledgers = {name: Ledger() for name in ("mixed", "teacher")}
        self.disk: dict[tuple[str, int], bytes] = {}
        self.flying: dict[tuple[str, int], tuple[bytes, bool]] = {}


class LedgerMachine(RuleBasedStateMachine):
    """Chunks in any order, repeated, contradicting, on several streams; commits, failures, restarts."""

    def __init__(self) -> None:
        super().__init__()
        self.node = Node()
        self.next_seqs = {"mixed": 1, "teacher": 1}
        self.duplicates = {"mixed": 0, "teacher": 0}
        self.ends: dict[str, int] = {}
        self.clock = 1000

    def held(self, stream: str) -> set[int]:
        return {seq for name, seq in self.node.disk if name == stream}

    def known(self, stream: str) -> set[int]:
        return self.held(stream) | {seq for name, seq in self.node.flying if name == stream}

    def end(self, stream: str) -> int | None:
        flying = (seq for (name, seq), (_, final) in self.node.flying.items() if final and name == stream)
        return self.ends.get(stream, next(flying, None))

    @rule(stream=STREAMS, seq=SEQS, pcm=BYTES, final=st.sampled_from([False, False, False, True]))
    def chunk_comes(self, stream: str, seq: int, pcm: bytes, final: bool) -> None:
        ledger, before = self.node.ledgers[stream], self.node.ledgers[stream].snapshot()
        identity = identify(pcm, final=final)[1]
        refusal = self.refusal(stream, seq, final)
        if refusal is not None:
            with pytest.raises(EdgeError, match=refusal):
                ledger.standing(seq, final=final)
            assert ledger.snapshot() == before
            return
        standing = ledger.standing(seq, final=final)
        if standing is Standing.NEW:
            assert seq not in self.known(stream)
            ledger.reserve(seq, final=final)
            assert ledger.standing(seq) is Standing.PENDING
            self.node.flying[stream, seq] = identity, final
        elif standing is Standing.PENDING:
            assert (stream, seq) in self.node.flying
        elif self.node.disk[stream, seq] == identity:
            ledger.count_duplicate(self.clock)
            self.duplicates[stream] += 1
        # A held seq with another identity is a conflict, which the ledger isn't even told of.
        assert ledger.held == Ranges((s, s) for s in self.held(stream))

    def refusal(self, stream: str, seq: int, final: bool) -> str | None:
        end = self.end(stream)
        if seq in self.known(stream):
            return None
        if end is not None and seq > end:
            return "stream_ended"
        if final and (end is not None or seq < max(self.known(stream), default=0)):
            return "final_below_held"
        return None

    @precondition(lambda self: self.node.flying)
    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        stream, seq = data.draw(st.sampled_from(sorted(self.node.flying)))
        identity, final = self.node.flying.pop((stream, seq))
        self.clock += 1
        length = FINAL_LENGTH if final else CHUNK_BYTES
        ledger = self.node.ledgers[stream]
        assert ledger.admit(seq, length, final=final, at=self.clock)
        self.node.disk[stream, seq] = identity
        if final:
            self.ends[stream] = seq
        unchanged = ledger.snapshot()
        assert not ledger.admit(seq, length, final=final, at=self.clock + 1)
        assert ledger.snapshot() == unchanged

    @precondition(lambda self: self.node.flying)
    @rule(data=st.data())
    def commit_fails(self, data: st.DataObject) -> None:
        stream, seq = data.draw(st.sampled_from(sorted(self.node.flying)))
        del self.node.flying[stream, seq]
        self.node.ledgers[stream].release(seq)

    @rule()
    def restart(self) -> None:
        """Pending chunks are lost: they were never acked."""
        for stream, ledger in self.node.ledgers.items():
            self.node.ledgers[stream] = Ledger(ledger.snapshot())
        self.node.flying.clear()

    @invariant()
    def ledger_is_the_set_of_what_is_safe(self) -> None:
        for stream, ledger in self.node.ledgers.items():
            held, last = self.held(stream), max(self.held(stream), default=0)
            missing, truncated = ledger.missing()
            listed = {seq for first, final in missing for seq in range(first, final + 1)}
            assert not truncated
            assert {seq for seq in range(1, 40) if seq in ledger.held} == held
            assert held | listed == set(range(1, last + 1))
            assert not held & listed
            status = ledger.status("s", 7)
            assert (status.last_seq, status.received_chunks, status.missing_chunks) == (
                last,
                len(held),
                len(listed),
            )
            assert status.duplicate_chunks == self.duplicates[stream]
            short = CHUNK_BYTES - FINAL_LENGTH if stream in self.ends else 0
            assert status.bytes_stored == len(held) * CHUNK_BYTES - short

    @invariant()
    def next_seq_never_falls_and_is_the_first_hole(self) -> None:
        for stream, ledger in self.node.ledgers.items():
            held = self.held(stream)
            assert ledger.next_seq >= self.next_seqs[stream]
            assert ledger.next_seq not in held
            assert set(range(1, ledger.next_seq)) <= held
            self.next_seqs[stream] = ledger.next_seq


class TestLedger(LedgerMachine.TestCase):
    settings = settings(max_examples=40, stateful_step_count=40)


@pytest.mark.long
class TestLedgerLong(LedgerMachine.TestCase):
    settings = settings(max_examples=1500, stateful_step_count=100)


@st.composite
def snapshots(draw: st.DrawFn) -> LedgerSnapshot:
    """Ledgers as nodes have them: an end, where there is one, is held."""
    ledger = Ledger()
    for seq in draw(st.lists(SEQS, max_size=12)):
        ledger.admit(seq, at=draw(st.integers(1, 9)))
    for _ in range(draw(st.integers(0, 2))):
        ledger.count_duplicate(draw(st.integers(1, 9)))
    if draw(st.booleans()):
        ledger.admit(ledger.last_seq + 1, draw(st.sampled_from([2, 640])), final=True, at=5)
    return ledger.snapshot()


@settings(max_examples=100)
@given(a=snapshots(), b=snapshots(), c=snapshots())
def test_merge_is_commutative_associative_idempotent_and_loses_nothing(
    a: LedgerSnapshot, b: LedgerSnapshot, c: LedgerSnapshot
) -> None:
    assert merge(a, b) == merge(b, a)
    assert merge(a, merge(b, c)) == merge(merge(a, b), c)
    assert merge(a, a) == a
    assert merge(a, LedgerSnapshot()) == a
    assert merge(merge(a, b), b) == merge(a, b)
    union = Ranges(a.held)
    union.update(b.held)
    assert merge(a, b).held == tuple(union)


@settings(max_examples=100)
@given(chunks=st.lists(st.tuples(SEQS, st.integers(1, 99)), max_size=30), data=st.data())
def test_any_order_and_repetition_gives_the_same_ledger(
    chunks: list[tuple[int, int]], data: st.DataObject
) -> None:
    """The first time of a seq counts, so each seq comes with one time."""
    chunks = list({seq: (seq, at) for seq, at in chunks}.values())
    again = data.draw(st.permutations(chunks * 2))
    one, other = Ledger(), Ledger()
    for seq, at in chunks:
        one.admit(seq, at=at)
    for seq, at in again:
        other.admit(seq, at=at)
    assert one.snapshot() == other.snapshot()
