"""Levels and voices of 20 ms each, whatever pieces the audio comes in."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from interview_edge.core.declared_utterances import FRAME_SAMPLES, Frame
from interview_edge.speech.frame_meter import FrameMeter

TONE = (np.sin(np.arange(48_000) / 5) * np.linspace(0, 20_000, 48_000)).astype("<i2").tobytes()


@given(st.lists(st.integers(0, 48_000), max_size=8))
def test_pieces_make_no_difference(cuts: list[int]) -> None:
    meter, edges = FrameMeter(), [0, *sorted(cuts), 48_000]
    found = [f for a, b in itertools.pairwise(edges) for f in meter.measure(TONE[2 * a : 2 * b])]
    assert found == FrameMeter().measure(TONE)
    assert len(found) == 48_000 // FRAME_SAMPLES


def test_levels_are_mean_squares_and_silence_has_no_voice() -> None:
    loud = (np.ones(FRAME_SAMPLES) * -3_000).astype("<i2").tobytes()
    assert FrameMeter().measure(loud)[0].level == 9_000_000
    assert FrameMeter().measure(bytes(2 * FRAME_SAMPLES)) == [Frame(0.0, voiced=False)]
    assert FrameMeter().measure(b"") == []
