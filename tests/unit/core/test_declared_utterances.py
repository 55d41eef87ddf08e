"""What each mark of a client means, to the sample."""

from __future__ import annotations

import pytest

from interview_edge.core.declared_utterances import (
    FRAME_SAMPLES,
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

MS = 16  # samples
SPEECH, QUIET = Frame(1e6, voiced=True), Frame(100.0, voiced=False)


def start(offset_ms: int | None = None) -> Mark:
    return Mark(VadState.START, offset_ms)


def end(offset_ms: int | None = None) -> Mark:
    return Mark(VadState.END, offset_ms)


TRIGGER, DROP = Mark(VadState.CACHE_ASR_TRIGGER), Mark(VadState.CACHE_ASR_DROP)


def hear(
    machine: DeclaredUtterances, ms: int, mark: Mark | None = None, frame: Frame = SPEECH
) -> list[Decision]:
    """`ms` of audio, a multiple of 20, all of one kind."""
    return machine.hear(ms * MS, [frame] * (ms // 20), mark)


@pytest.mark.parametrize(
    ("offset_ms", "begins_ms"),
    [(None, 1_000), (0, 1_000), (60, 1_060), (-300, 700), (-1_500, 0), (999, 1_100)],
)
def test_a_start_is_at_stream_time_and_offset_within_the_recording(
    offset_ms: int | None, begins_ms: int
) -> None:
    machine = DeclaredUtterances()
    hear(machine, 1_000)
    assert hear(machine, 100, start(offset_ms)) == [Began(1, begins_ms * MS)]


@pytest.mark.parametrize(
    ("offset_ms", "ends_ms"),
    [(None, 1_100), (40, 1_040), (0, 1_000), (-200, 800), (999, 1_100), (-9_999, 500)],
)
def test_an_end_keeps_the_first_of_its_piece(offset_ms: int | None, ends_ms: int) -> None:
    machine = DeclaredUtterances()
    hear(machine, 1_000, start(500))
    ended = Ended(1, 500 * MS, ends_ms * MS, "client", reuse=False)
    assert hear(machine, 100, end(offset_ms)) == [ended]


def test_pre_roll_ends_where_the_utterance_before_does() -> None:
    machine = DeclaredUtterances()
    hear(machine, 1_000, start())
    hear(machine, 100, end(40))
    assert hear(machine, 100, start(-1_000)) == [Began(2, 1_040 * MS)]


def test_a_second_start_ends_what_is_open() -> None:
    machine = DeclaredUtterances()
    hear(machine, 1_000, start())
    assert hear(machine, 100, start(20)) == [
        Ended(1, 0, 1_020 * MS, "client", reuse=False),
        Began(2, 1_020 * MS),
    ]


@pytest.mark.parametrize("mark", [end(), TRIGGER, DROP])
def test_marks_without_an_utterance_say_nothing(mark: Mark) -> None:
    machine = DeclaredUtterances()
    assert hear(machine, 1_000, mark) == []
    assert machine.flush() == []


def test_a_recording_that_rests_ends_what_is_open() -> None:
    machine = DeclaredUtterances(32_000, first=7)
    hear(machine, 500, start(20))
    assert machine.flush() == [Ended(7, 32_000 + 20 * MS, 32_000 + 500 * MS, "stream_end", reuse=False)]
    assert machine.flush() == []
    assert machine.last_number == 7


# -- prefetches


def prefetched() -> DeclaredUtterances:
    """A second of speech, 200 ms of quiet with the trigger."""
    machine = DeclaredUtterances()
    hear(machine, 1_000, start())
    assert hear(machine, 200, TRIGGER, QUIET) == [Prefetch(1, 0, 1_200 * MS)]
    return machine


def test_when_nothing_was_said_since_the_prefetch_its_text_is_the_final_one() -> None:
    machine = prefetched()
    hear(machine, 300, None, QUIET)
    assert hear(machine, 100, end(100), QUIET) == [Ended(1, 0, 1_600 * MS, "client", reuse=True)]


def test_when_something_was_said_the_provider_is_asked_again() -> None:
    machine = prefetched()
    hear(machine, 60)  # three voiced frames
    assert hear(machine, 100, end(), QUIET) == [
        PrefetchDropped(1),
        Ended(1, 0, 1_360 * MS, "client", reuse=False),
    ]


def test_what_is_said_after_the_end_doesn_t_count() -> None:
    machine = prefetched()
    assert hear(machine, 500, end(0)) == [Ended(1, 0, 1_200 * MS, "client", reuse=True)]


def test_a_click_isn_t_speech() -> None:
    machine = prefetched()
    hear(machine, 40)
    assert hear(machine, 100, end(), QUIET)[-1] == Ended(1, 0, 1_340 * MS, "client", reuse=True)


def test_a_dropped_prefetch_is_nobody_s_text() -> None:
    machine = prefetched()
    assert hear(machine, 100, DROP, QUIET) == [PrefetchDropped(1)]
    assert hear(machine, 0, DROP) == []
    assert hear(machine, 100, end(), QUIET) == [Ended(1, 0, 1_400 * MS, "client", reuse=False)]


def test_a_second_trigger_takes_the_place_of_the_first() -> None:
    machine = prefetched()
    assert hear(machine, 100, TRIGGER) == [PrefetchDropped(1), Prefetch(1, 0, 1_300 * MS)]


def test_nothing_is_no_prefetch() -> None:
    machine = DeclaredUtterances()
    machine.hear(0, [], start())
    assert machine.hear(0, [], TRIGGER) == []


# -- the longest


def test_a_long_utterance_is_cut_where_it_is_quietest() -> None:
    machine = DeclaredUtterances()
    found = machine.hear(0, [], start())
    for second in range(31):
        found += hear(machine, 1_000, None, QUIET if second == 20 else SPEECH)
    cut = 21_000 * MS - 5 * FRAME_SAMPLES // 2  # the last 100 ms of that second, in their middle
    assert found == [Began(1, 0), Ended(1, 0, cut, "max_length", reuse=False), Began(2, cut)]


def test_its_first_half_isn_t_cut_however_quiet() -> None:
    machine = DeclaredUtterances()
    machine.hear(0, [], start())
    found: list[Decision] = []
    for second in range(31):
        found += hear(machine, 1_000, None, QUIET if second == 5 else SPEECH)
    assert found[0] == Ended(1, 0, MAX_SAMPLES - 5 * FRAME_SAMPLES // 2, "max_length", reuse=False)


def test_one_of_thirty_seconds_is_whole() -> None:
    machine = DeclaredUtterances()
    machine.hear(0, [], start())
    assert not [decision for _ in range(30) for decision in hear(machine, 1_000)]
    assert machine.hear(0, [], end()) == [Ended(1, 0, MAX_SAMPLES, "client", reuse=False)]


def test_an_end_that_comes_too_late_is_cut_before_it() -> None:
    machine = DeclaredUtterances()
    machine.hear(0, [], start())
    for _ in range(30):
        hear(machine, 1_000)
    ended, began, last = hear(machine, 1_000, end(500))
    assert (ended, began) == (
        Ended(1, 0, MAX_SAMPLES - 5 * FRAME_SAMPLES // 2, "max_length", reuse=False),
        Began(2, MAX_SAMPLES - 5 * FRAME_SAMPLES // 2),
    )
    assert last == Ended(2, MAX_SAMPLES - 5 * FRAME_SAMPLES // 2, 30_500 * MS, "client", reuse=False)
