from __future__ import annotations

from random import Random

from interview_edge.archive.policy import ArchivePolicy

POLICY = ArchivePolicy(retry_initial=1.0, retry_max=30.0)


def delays(failures: int, *, refused: bool = False) -> list[float]:
    random = Random(1)
    return [POLICY.retry_delay(failures, random, refused=refused) for _ in range(200)]


def test_delays_double_up_to_the_longest_and_are_spread_from_zero() -> None:
    for failures, longest in ((1, 1), (2, 2), (3, 4), (6, 30), (10_000, 30)):
        found = delays(failures)
        assert 0 <= min(found) < longest / 10
        assert longest * 0.9 < max(found) <= longest


def test_a_refusal_waits_long_from_the_first_time() -> None:
    found = delays(1, refused=True)
    assert 15 <= min(found) <= max(found) <= 30
