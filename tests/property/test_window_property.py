"""The window against a dictionary of everything that was ever written."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from interview_edge.core.pcm import CHUNK_BYTES
from interview_edge.core.window import Window

SLOTS = 4


def audio(seq: int, length: int = CHUNK_BYTES) -> bytes:
    """Never zero, and different for neighbours and laps."""
    return bytes([seq % 255 + 1]) * length


class WindowMachine(RuleBasedStateMachine):
    """Writes near and far, late and twice, short ends, evictions; every read as the dictionary says."""

    def __init__(self) -> None:
        super().__init__()
        self.window = Window(SLOTS * 1000)
        self.held: dict[int, bytes] = {}
        self.highest = 0

    def teardown(self) -> None:
        self.window.close()

    @rule(
        ahead=st.integers(-2 * SLOTS, 2 * SLOTS),
        length=st.sampled_from([CHUNK_BYTES, CHUNK_BYTES, 2, 31_998]),
    )
    def write(self, ahead: int, length: int) -> None:
        seq = max(1, self.highest + ahead)
        fits = seq > self.highest - SLOTS
        assert self.window.write(seq, memoryview(audio(seq, length))) is fits
        if fits:
            self.highest = max(self.highest, seq)
            self.held[seq] = audio(seq, length)
            self.held = {s: pcm for s, pcm in self.held.items() if s > self.highest - SLOTS}

    @rule()
    def evict(self) -> None:
        self.window.evict()
        self.held.clear()
        assert self.window.held_bytes == 0

    @rule(ms=st.integers(0, (SLOTS + 1) * 1000), back=st.integers(-1, SLOTS + 1) | st.none())
    def read_last(self, ms: int, back: int | None) -> None:
        end = self.highest if back is None else min(self.highest, self.highest - back)
        seqs = [seq for seq in self.held if seq <= end]
        expected = b""
        if seqs:
            expected = b"".join(
                self.held.get(s, b"").ljust(CHUNK_BYTES, b"\0") for s in range(min(seqs), end)
            )
            expected += self.held.get(end, bytes(CHUNK_BYTES))
            expected = expected[max(0, len(expected) - ms * 32) :]
        end_seq = None if back is None else self.highest - back
        assert self.window.read_last(ms, end_seq=end_seq) == expected

    @invariant()
    def holds_what_the_dictionary_holds(self) -> None:
        assert self.window.highest == self.highest
        for seq in range(max(0, self.highest - 2 * SLOTS), self.highest + SLOTS):
            assert self.window.read(seq) == self.held.get(seq)
        assert len(self.held) * CHUNK_BYTES <= self.window.held_bytes <= SLOTS * CHUNK_BYTES


class TestWindow(WindowMachine.TestCase):
    settings = settings(max_examples=30, stateful_step_count=25)


@pytest.mark.long
class TestWindowLong(WindowMachine.TestCase):
    settings = settings(max_examples=2000, stateful_step_count=60)
