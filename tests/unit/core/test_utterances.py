from __future__ import annotations

import attrs
import pytest

from interview_edge.core.utterances import SpeechEnded, SpeechStarted, UtteranceRules, UtteranceTracker

FRAME = 320
RULES = UtteranceRules()  # 20 ms: starts at 3 of 5, pre-roll 15 frames, hangover 25, post-roll 5, minimum 13


def voiced(frames: int) -> bytes:
    return b"\1" * frames


def test_one_utterance_sample_exact() -> None:
    tracker = UtteranceTracker()
    assert tracker.hear(bytes(100)) == []
    assert tracker.hear(voiced(12)) == []
    assert tracker.hear(voiced(1)) == [SpeechStarted(1, (100 - 15) * FRAME)]
    assert tracker.hear(voiced(37)) == []
    assert tracker.hear(bytes(24)) == []
    assert tracker.hear(bytes(1)) == [SpeechEnded(1, 85 * FRAME, 155 * FRAME, "silence")]


def test_the_pre_roll_stops_at_the_streams_start_and_at_the_utterance_before() -> None:
    tracker = UtteranceTracker()
    assert tracker.hear(voiced(20)) == [SpeechStarted(1, 0)]
    assert tracker.hear(bytes(25)) == [SpeechEnded(1, 0, 25 * FRAME, "silence")]
    assert tracker.hear(voiced(20)) == [SpeechStarted(2, 30 * FRAME)]


def test_the_pre_roll_does_not_reach_into_the_utterance_before() -> None:
    rules = attrs.evolve(RULES, pre_roll_ms=1000)
    tracker = UtteranceTracker(rules)
    tracker.hear(voiced(20) + bytes(25))
    assert tracker.hear(voiced(20)) == [SpeechStarted(2, 25 * FRAME)]


def test_a_click_opens_nothing() -> None:
    tracker = UtteranceTracker()
    assert tracker.hear((voiced(2) + bytes(10)) * 100) == []
    assert tracker.flush() == []


def test_a_cough_is_never_reported() -> None:
    tracker = UtteranceTracker()
    assert tracker.hear(bytes(50) + voiced(12) + bytes(100)) == []
    # The utterance after it is the first, and may reach back to where the cough was.
    assert tracker.hear(voiced(13)) == [SpeechStarted(1, (162 - 15) * FRAME)]


def test_a_pause_shorter_than_the_hangover_ends_nothing() -> None:
    tracker = UtteranceTracker()
    assert tracker.hear(voiced(20)) == [SpeechStarted(1, 0)]
    assert tracker.hear((bytes(24) + voiced(1)) * 10) == []


def test_the_longest_utterance_is_cut_and_the_next_starts_there() -> None:
    tracker = UtteranceTracker()
    assert tracker.hear(voiced(1499)) == [SpeechStarted(1, 0)]
    assert tracker.hear(voiced(1)) == [SpeechEnded(1, 0, 480_000, "max_length")]
    assert tracker.hear(voiced(1)) == [SpeechStarted(2, 480_000)]
    assert tracker.flush() == [SpeechEnded(2, 480_000, 480_320, "stream_end")]


def test_silence_after_a_cut_is_no_utterance() -> None:
    tracker = UtteranceTracker()
    assert len(tracker.hear(voiced(1500))) == 2
    assert tracker.hear(bytes(200)) == []
    assert tracker.flush() == []


def test_the_end_of_the_stream_ends_what_is_open() -> None:
    tracker = UtteranceTracker()
    tracker.hear(voiced(20) + bytes(2))
    assert tracker.flush() == [SpeechEnded(1, 0, 22 * FRAME, "stream_end")]
    assert tracker.flush() == []


def test_a_restart_with_other_frames_keeps_the_positions() -> None:
    tracker = UtteranceTracker()
    tracker.hear(bytes(100) + voiced(20))
    resumed = UtteranceTracker.restore(tracker.snapshot(), UtteranceRules(frame_ms=30))
    ended = resumed.hear(bytes(17))
    assert ended == [SpeechEnded(1, 85 * FRAME, 120 * FRAME + 4 * 480, "silence")]


def test_a_restart_keeps_the_next_utterance_off_the_one_before() -> None:
    rules = attrs.evolve(RULES, pre_roll_ms=1000)
    tracker = UtteranceTracker(rules)
    tracker.hear(voiced(20) + bytes(25))
    resumed = UtteranceTracker.restore(tracker.snapshot(), rules)
    assert resumed.hear(voiced(20)) == [SpeechStarted(2, 25 * FRAME)]


def test_a_day_of_silence_takes_no_time() -> None:
    tracker = UtteranceTracker()
    tracker.hear(voiced(20))
    assert tracker.hear_unvoiced(86_400 * 50) == [SpeechEnded(1, 0, 25 * FRAME, "silence")]
    assert tracker.heard == (20 + 86_400 * 50) * FRAME


def test_what_is_no_snapshot_is_refused() -> None:
    with pytest.raises(KeyError):
        UtteranceTracker.restore({})


@pytest.mark.parametrize(
    "broken",
    [
        {"frame_ms": 9},
        {"frame_ms": 101},
        {"start_voiced": 6},
        {"start_voiced": 0},
        {"post_roll_ms": 501},
        {"post_roll_ms": -1},
        {"pre_roll_ms": -1},
        {"hangover_ms": 0, "post_roll_ms": 0},
        {"max_ms": 600},
    ],
)
def test_rules_that_contradict_each_other_are_refused(broken: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        attrs.evolve(RULES, **broken)
