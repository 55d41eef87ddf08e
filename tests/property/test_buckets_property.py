"""Token buckets against what they promise, whatever comes when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from interview_edge.access.buckets import Buckets

STEPS = st.lists(st.tuples(st.floats(0, 3), st.sampled_from("abc")), max_size=80)


@given(st.floats(0.1, 10), st.integers(1, 8), STEPS)
def test_no_window_grants_more_than_a_burst_and_its_share(
    rate: float, burst: int, steps: list[tuple[float, str]]
) -> None:
    buckets = Buckets(rate, burst)
    granted: dict[str, list[float]] = {}
    now = 0.0
    for wait, key in steps:
        now += wait
        if buckets.take(key, now).granted:
            granted.setdefault(key, []).append(now)
    for times in granted.values():
        for first, start in enumerate(times):
            for last in range(first, len(times)):
                assert last - first + 1 <= burst + (times[last] - start) * rate + 1e-6


@given(st.floats(0.1, 10), st.integers(1, 8), STEPS)
def test_who_waits_as_long_as_it_says_is_granted(
    rate: float, burst: int, steps: list[tuple[float, str]]
) -> None:
    buckets = Buckets(rate, burst)
    now = 0.0
    for wait, key in steps:
        now += wait
        verdict = buckets.take(key, now)
        assert 0 <= verdict.remaining <= burst
        assert verdict.granted == (verdict.retry_after == 0)
        later = now + verdict.retry_after + 1e-6
        assert buckets.look(key, later).granted or verdict.granted
        if not verdict.granted:
            assert not buckets.look(key, now + verdict.retry_after / 2).granted
        assert buckets.look(key, now + verdict.reset + 1e-6).remaining == burst


@given(STEPS)
def test_a_look_takes_nothing(steps: list[tuple[float, str]]) -> None:
    watched, plain = Buckets(1, 3), Buckets(1, 3)
    now = 0.0
    for wait, key in steps:
        now += wait
        for other in "abc":
            watched.look(other, now)
        assert watched.take(key, now) == plain.take(key, now)


@given(st.lists(st.integers(0, 50), max_size=200))
def test_their_number_is_bounded(keys: list[int]) -> None:
    buckets = Buckets(0.001, 2, max_buckets=10)
    for now, key in enumerate(keys):
        buckets.take(key, float(now))
        assert len(buckets) <= 10


def test_full_ones_are_forgotten() -> None:
    buckets = Buckets(1, 2)
    for key in range(100):
        buckets.take(key, 0.0)
    for now in range(3, 60):
        buckets.take("somebody", float(now))
    assert len(buckets) == 1
