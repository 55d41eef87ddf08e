"""Re-cutting: whatever pieces audio comes in, the seconds are the same, byte for byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interview_edge.core.pcm import CHUNK_BYTES, SAMPLE_BYTES
from interview_edge.core.seconds import SecondCutter

# Two bytes a sample that tell every place apart from its neighbours.
AUDIO = b"".join(n.to_bytes(2, "little") for n in range(65_536)) * 2
lengths = st.lists(st.sampled_from([0, 1, 160, 320, 4_096, 15_999, 16_000]) | st.integers(0, 16_000))


def pieces(samples: list[int]) -> list[bytes]:
    found, at = [], 0
    for length in samples:
        found.append(AUDIO[at : at + length * SAMPLE_BYTES])
        at += len(found[-1])
    return found


def taken(cutter: SecondCutter) -> list[bytes]:
    seconds = []
    while cutter.has_second:
        seconds.append(cutter.first())
        cutter.drop()
    return seconds


@given(lengths)
def test_any_cutting_gives_the_same_seconds(samples: list[int]) -> None:
    cutter, seconds, audio = SecondCutter(), [], b""
    for piece in pieces(samples):
        audio += piece
        cutter.add(piece)
        seconds += taken(cutter)
        assert cutter.samples == len(audio) // SAMPLE_BYTES
        assert b"".join(seconds) + cutter.held == audio
        assert len(cutter.held) < CHUNK_BYTES
    padded = cutter.pad()
    seconds += taken(cutter)
    assert cutter.held == b""
    assert {len(second) for second in seconds} <= {CHUNK_BYTES}
    assert b"".join(seconds) == audio + bytes(padded * SAMPLE_BYTES)
    assert padded < CHUNK_BYTES // SAMPLE_BYTES


@given(lengths, st.integers(0, 8_000).map(lambda n: 2 * n + 1))
def test_half_a_sample_is_refused_and_nothing_is_lost(samples: list[int], odd: int) -> None:
    cutter = SecondCutter()
    for piece in pieces(samples):
        cutter.add(piece)
    before, clock = cutter.held, cutter.samples
    with pytest.raises(ValueError, match=f"^{odd} bytes are no whole number of samples$"):
        cutter.add(AUDIO[:odd])
    assert (cutter.held, cutter.samples) == (before, clock)


def test_a_second_stays_until_it_is_dropped() -> None:
    cutter = SecondCutter()
    cutter.add(AUDIO[:CHUNK_BYTES])
    assert cutter.first() == cutter.first() == AUDIO[:CHUNK_BYTES]
    cutter.drop()
    with pytest.raises(ValueError, match="no whole second"):
        cutter.first()
    assert cutter.pad() == 0  # nothing is begun
