"""Utterances that a client declares: never too long, never two at once, the same however audio is cut."""

from __future__ import annotations

import itertools
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from interview_edge.core.declared_utterances import (
    FRAME_SAMPLES,
    LEAST_CUT_SAMPLES,
    MAX_SAMPLES,
    Began,
    Decision,
    DeclaredUtterances,
    Ended,
    Frame,
    Mark,
    Prefetch,
    PrefetchDropped,
    VadState,
)
from interview_edge.core.pcm import SAMPLE_RATE

frames = st.builds(Frame, st.floats(0, 10**9), st.booleans())
marks = st.builds(Mark, st.sampled_from(VadState), st.none() | st.integers(-30_000, 1_000))


class Step(NamedTuple):
    samples: int
    mark: Mark | None


steps = st.lists(
    st.builds(Step, st.just(SAMPLE_RATE) | st.integers(0, SAMPLE_RATE), st.none() | st.none() | marks),
    max_size=60,
)
loudness = st.lists(frames, min_size=1, max_size=30)


class Recording:
    """Audio whose every frame is what `pattern` says, round and round."""

    def __init__(self, pattern: list[Frame], clock: int = 0) -> None:
        self.machine = DeclaredUtterances(clock)
        self.heard = 0
        self._pattern = pattern

    def hear(self, samples: int, mark: Mark | None = None) -> list[Decision]:
        before = self.heard // FRAME_SAMPLES
        self.heard += samples
        completed = range(before, self.heard // FRAME_SAMPLES)
        pattern = self._pattern
        return self.machine.hear(samples, [pattern[n % len(pattern)] for n in completed], mark)


@given(steps, loudness, st.integers(0, 40) | st.just(0))
def test_any_marks_make_sound_utterances(script: list[Step], pattern: list[Frame], seconds: int) -> None:
    recording = Recording(pattern, seconds * SAMPLE_RATE)
    found = [decision for step in script for decision in recording.hear(step.samples, step.mark)]
    clock = seconds * SAMPLE_RATE + recording.heard
    found += recording.machine.flush()
    open_one: Began | None = None
    prefetched = False
    floor = number = 0
    for decision in found:
        match decision:
            case Began():
                assert open_one is None
                assert decision.number == number + 1
                assert floor <= decision.start <= clock
                open_one, number = decision, decision.number
            case Prefetch():
                assert open_one is not None
                assert not prefetched
                assert (decision.number, decision.start) == (number, open_one.start)
                assert 0 < decision.upto - decision.start <= MAX_SAMPLES
                prefetched = True
            case PrefetchDropped():
                assert prefetched
                assert decision.number == number
                prefetched = False
            case Ended():
                assert open_one is not None
                assert (decision.number, decision.start) == (number, open_one.start)
                assert decision.start <= decision.end <= clock
                assert decision.end - decision.start <= MAX_SAMPLES
                assert decision.reuse == prefetched  # else it was dropped before
                if decision.reason == "max_length":
                    assert decision.end - decision.start >= LEAST_CUT_SAMPLES
                floor, open_one, prefetched = decision.end, None, False
    assert open_one is None
    for ended, began in itertools.pairwise(found):
        if isinstance(ended, Ended) and ended.reason == "max_length":
            assert began == Began(ended.number + 1, ended.end)


@given(steps, loudness, st.data())
def test_the_same_audio_with_marks_at_the_same_samples_makes_the_same_ones(
    script: list[Step], pattern: list[Frame], data: st.DataObject
) -> None:
    """Marks on pieces without audio stand between the pieces; those may be cut as one likes."""
    whole, cut = Recording(pattern), Recording(pattern)
    expected, found = [], []
    for step in script:
        expected += whole.hear(step.samples)
        at = data.draw(st.integers(0, step.samples))
        found += cut.hear(at) + cut.hear(step.samples - at)
        if step.mark is not None:
            expected += whole.hear(0, step.mark)
            found += cut.hear(0, step.mark)
    assert found + cut.machine.flush() == expected + whole.machine.flush()
