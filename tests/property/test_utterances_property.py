"""The utterance tracker against a plain reading of its rules, and against itself in pieces."""

from __future__ import annotations

import json
from itertools import cycle

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from interview_edge.core.utterances import (
    SpeechEnded,
    SpeechEvent,
    SpeechStarted,
    UtteranceRules,
    UtteranceTracker,
)

# Short durations, so that a few dozen flags go through every state.
SHORT = UtteranceRules(
    frame_ms=20,
    start_window=4,
    start_voiced=2,
    pre_roll_ms=50,
    hangover_ms=100,
    post_roll_ms=30,
    min_speech_ms=80,
    max_ms=400,
)
RULES = st.sampled_from(
    [
        SHORT,
        attrs.evolve(SHORT, frame_ms=30),
        attrs.evolve(SHORT, start_window=1, start_voiced=1, min_speech_ms=0, post_roll_ms=0, pre_roll_ms=0),
        attrs.evolve(SHORT, start_window=5, start_voiced=3, min_speech_ms=200, post_roll_ms=100, max_ms=700),
        attrs.evolve(SHORT, hangover_ms=20, post_roll_ms=20, max_ms=250),
        attrs.evolve(SHORT, pre_roll_ms=300, max_ms=600),  # reaches the utterance before
    ]
)
# Silence and speech in turn, so that both and their edges are all likely.
RUNS = st.lists(st.integers(1, 12) | st.integers(1, 30), max_size=25)
FLAGS = RUNS.map(lambda runs: b"".join(bytes([turn % 2]) * length for turn, length in enumerate(runs)))


def expected_events(flags: bytes, rules: UtteranceRules) -> list[SpeechEvent]:
    """The rules read plainly: one utterance after the other over the whole stream, in frames."""
    frames = {
        name: rules.samples(getattr(rules, name)) // rules.frame_samples
        for name in ("pre_roll_ms", "hangover_ms", "post_roll_ms", "min_speech_ms", "max_ms")
    }
    found: list[SpeechEvent] = []
    reported = floor = at = 0
    while (opening := next_start(flags, at, rules)) is not None:
        first_voiced, at = opening
        start, counted_from = max(first_voiced - frames["pre_roll_ms"], floor), first_voiced
        minimum = max(1, frames["min_speech_ms"])
        while True:
            end, reason, at = end_of(flags, start, at, frames)
            known = flags[counted_from:at]
            if known.count(1) >= minimum:
                reported += 1
                edges = (start * rules.frame_samples, end * rules.frame_samples)
                found += [SpeechStarted(reported, edges[0]), SpeechEnded(reported, *edges, reason)]
                floor = end
                minimum = 1
            if reason != "max_length":
                break
            start = counted_from = at
    return found


def next_start(flags: bytes, at: int, rules: UtteranceRules) -> tuple[int, int] | None:
    for decided in range(at + 1, len(flags) + 1):
        begin = max(at, decided - rules.start_window)
        if flags.count(1, begin, decided) >= rules.start_voiced:
            return flags.index(1, begin), decided
    return None


def end_of(flags: bytes, start: int, decided: int, frames: dict[str, int]) -> tuple[int, str, int]:
    """The end of the utterance, why, and how many frames it took to know."""
    for heard in range(decided + 1, len(flags) + 1):
        last_voiced = flags.rindex(1, 0, heard) + 1
        if heard - last_voiced >= frames["hangover_ms"]:
            return last_voiced + frames["post_roll_ms"], "silence", heard
        if heard - start >= frames["max_ms"]:
            return heard, "max_length", heard
    last_voiced = flags.rindex(1) + 1
    return min(last_voiced + frames["post_roll_ms"], len(flags)), "stream_end", len(flags)


def heard_at_once(flags: bytes, rules: UtteranceRules) -> list[SpeechEvent]:
    tracker = UtteranceTracker(rules)
    return tracker.hear(flags) + tracker.flush()


@settings(max_examples=150)
@given(flags=FLAGS, rules=RULES)
@example(flags=b"\1" * 100, rules=SHORT)
def test_events_are_what_the_rules_say(flags: bytes, rules: UtteranceRules) -> None:
    events = heard_at_once(flags, rules)
    assert sorted(events, key=in_order) == sorted(expected_events(flags, rules), key=in_order)


def in_order(event: SpeechEvent) -> tuple[int, bool]:
    return event.utterance_no, isinstance(event, SpeechEnded)


@settings(max_examples=150)
@given(
    flags=FLAGS,
    rules=RULES,
    pieces=st.lists(st.integers(1, 60), min_size=1, max_size=8),
    restart=st.booleans(),
)
def test_any_split_and_any_restart_gives_the_same_events(
    flags: bytes, rules: UtteranceRules, pieces: list[int], restart: bool
) -> None:
    """One frame after the other is the slow way; whole pieces take the fast paths."""
    slow = UtteranceTracker(rules)
    one_by_one = [event for flag in flags for event in slow.hear(bytes([flag]))]
    tracker = UtteranceTracker(rules)
    events = []
    rest = flags
    for piece in cycle(pieces):
        if not rest:
            break
        events += tracker.hear(rest[:piece])
        rest = rest[piece:]
        assert tracker.heard == (len(flags) - len(rest)) * rules.frame_samples
        if restart:
            tracker = UtteranceTracker.restore(json.loads(json.dumps(tracker.snapshot())), rules)
    assert events == one_by_one
    assert tracker.snapshot() == slow.snapshot()
    assert tracker.flush() == slow.flush()


@settings(max_examples=100)
@given(before=FLAGS, frames=st.integers(0, 200), after=FLAGS, rules=RULES)
def test_counted_silence_is_silence(before: bytes, frames: int, after: bytes, rules: UtteranceRules) -> None:
    counted, stepped = UtteranceTracker(rules), UtteranceTracker(rules)
    events = counted.hear(before) + counted.hear_unvoiced(frames) + counted.hear(after)
    assert events == [e for flag in before + bytes(frames) + after for e in stepped.hear(bytes([flag]))]
    assert counted.snapshot() == stepped.snapshot()


@settings(max_examples=100)
@given(flags=FLAGS, rules=RULES)
def test_utterances_are_numbered_disjoint_bounded_and_told_in_order(
    flags: bytes, rules: UtteranceRules
) -> None:
    events = heard_at_once(flags, rules)
    assert [type(event) for event in events] == [SpeechStarted, SpeechEnded] * (len(events) // 2)
    last_end = 0
    for no, (started, ended) in enumerate(zip(events[::2], events[1::2], strict=True), 1):
        assert isinstance(ended, SpeechEnded)
        assert started.utterance_no == ended.utterance_no == no
        assert last_end <= started.start_sample == ended.start_sample < ended.end_sample
        assert ended.end_sample - ended.start_sample <= rules.samples(rules.max_ms)
        assert ended.end_sample <= len(flags) * rules.frame_samples
        last_end = ended.end_sample


@pytest.mark.long
@settings(max_examples=5_000)
@given(flags=FLAGS, rules=RULES)
def test_events_are_what_the_rules_say_long(flags: bytes, rules: UtteranceRules) -> None:
    events = heard_at_once(flags, rules)
    assert sorted(events, key=in_order) == sorted(expected_events(flags, rules), key=in_order)
