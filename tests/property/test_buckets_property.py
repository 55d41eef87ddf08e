"""Token buckets against what they promise, however few of them may be kept."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from itertools import combinations_with_replacement

from hypothesis import given, settings
from hypothesis import strategies as st

from interview_edge.access.buckets import Buckets

RATES = st.sampled_from([0.5, 1.0, 3.0, 100.0])
BURSTS = st.integers(1, 6)
# (client, time since the step before, in parts of the time that one token takes)
STEPS = st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0, 0, 0, 0.25, 1, 2.5, 7])), max_size=60)
# So few of all that clients often come to share a bucket, and leave it.
CROWDED = st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0, 0, 0, 0.25, 1])), max_size=60)
START = 1_234_567.0  # as trio's clock, far from zero


def grants(buckets: Buckets, steps: list[tuple[int, float]], rate: float) -> list[tuple[int, float, bool]]:
    now, seen = START, []
    for client, pause in steps:
        now += pause / rate
        seen.append((client, now, buckets.take(str(client), now).granted))
    return seen


@settings(max_examples=500)
@given(rate=RATES, burst=st.integers(1, 3), steps=CROWDED, limit=st.integers(0, 3))
def test_no_window_grants_more_than_burst_and_rate(
    rate: float, burst: int, steps: list[tuple[int, float]], limit: int
) -> None:
    """Also where clients share a bucket for a while, and get their own later."""
    buckets = Buckets(rate, burst, limit)
    by_client = defaultdict(list)
    for client, at, granted in grants(buckets, steps, rate):
        if granted:
            by_client[client].append(at)
    for times in by_client.values():
        for first, last in combinations_with_replacement(range(len(times)), 2):
            assert last - first + 1 <= burst + rate * (times[last] - times[first]) + 1e-3
    assert len(buckets) <= limit


@settings(max_examples=300)
@given(rate=RATES, burst=BURSTS, steps=STEPS)
def test_with_room_for_all_each_client_has_the_bucket_of_the_textbook(
    rate: float, burst: int, steps: list[tuple[int, float]]
) -> None:
    tokens: dict[int, Fraction] = defaultdict(lambda: Fraction(burst))
    seen: dict[int, Fraction] = {}
    now = Fraction(0)
    taken = grants(Buckets(rate, burst), steps, rate)
    for (client, pause), (_, _, granted) in zip(steps, taken, strict=True):
        now += Fraction(pause)  # in tokens
        tokens[client] = min(Fraction(burst), tokens[client] + now - seen.get(client, now))
        seen[client] = now
        assert granted == (tokens[client] >= 1)
        tokens[client] -= granted


@settings(max_examples=200)
@given(rate=RATES, burst=BURSTS, steps=STEPS, limit=st.integers(0, 8))
def test_what_is_left_only_grows_with_time_and_is_all_there_after_a_rest(
    rate: float, burst: int, steps: list[tuple[int, float]], limit: int
) -> None:
    buckets = Buckets(rate, burst, limit)
    now = START
    for client, pause in steps:
        now += pause / rate
        before = buckets.look(str(client), now)
        after = buckets.take(str(client), now)
        assert 0 <= after.left <= before.left <= burst
        if not after.granted:
            again = buckets.take(str(client), now + after.wait)
            assert again.granted
            now += after.wait
    rested = now + burst / rate + 1e-6
    for client in range(6):
        level = buckets.take(str(client), rested + client * burst / rate)
        assert (level.granted, level.whole) == (True, burst - 1)


@settings(max_examples=100)
@given(rate=RATES, burst=BURSTS, strangers=st.integers(1, 40), limit=st.integers(1, 4))
def test_other_clients_never_empty_a_bucket_into_a_fresh_one(
    rate: float, burst: int, strangers: int, limit: int
) -> None:
    buckets = Buckets(rate, burst, limit)
    for _ in range(burst):
        assert buckets.take("spender", START).granted
    for stranger in range(strangers):
        buckets.take(f"stranger {stranger}", START)
    assert not buckets.take("spender", START).granted


def test_full_buckets_are_forgotten_while_others_are_used() -> None:
    buckets = Buckets(rate=10.0, burst=5)
    for client in range(1000):
        buckets.take(str(client), START)
    assert len(buckets) == 1000
    for taking in range(600):
        buckets.take("one", START + 1 + taking)
    assert len(buckets) <= 2
