from __future__ import annotations

from interview_edge.archive.health import REMEMBERED, UploadHistory
from interview_edge.archive.putter import PutOutcome


def test_nothing_yet() -> None:
    history = UploadHistory()
    assert history.counts() == (0, 0)
    assert history.durations() == (None, None)


def test_failed_puts_are_counted_and_not_timed() -> None:
    history = UploadHistory()
    for ms in range(1, 101):
        history.record(PutOutcome(ok=True, ms=ms))
    history.record(PutOutcome(ok=False, ms=60_000))
    assert history.counts() == (100, 1)
    assert history.durations() == (50.5, 99)


def test_only_the_last_thousand_count() -> None:
    history = UploadHistory()
    history.record(PutOutcome(ok=False, ms=1))
    for _ in range(REMEMBERED):
        history.record(PutOutcome(ok=True, ms=2))
    assert history.counts() == (REMEMBERED, 0)
    assert history.durations() == (2, 2)
