from __future__ import annotations

from interview_edge.archive.backlog import StreamBacklog
from interview_edge.core.models import StreamKey
from interview_edge.core.ranges import Ranges


def backlog(*journalled: tuple[int, int]) -> StreamBacklog:
    return StreamBacklog(StreamKey("s"), journalled=Ranges(journalled))


def test_waiting_counts_what_is_not_settled() -> None:
    stream = backlog((1, 10))
    stream.settle(Ranges([(1, 4)]))
    assert stream.waiting == 6


def test_a_hurry_is_for_what_is_journalled_now_and_ends_with_it() -> None:
    stream = backlog((1, 2))
    stream.hurry()
    stream.journalled.add(3)
    stream.settle(Ranges([(1, 1), (3, 3)]))
    assert stream.hurried, "2 is still to come"
    stream.settle(Ranges([(2, 2)]))
    assert not stream.hurried
    assert stream.waiting == 0


def test_a_hurry_does_not_wait_out_a_failure() -> None:
    stream = backlog((1, 1))
    stream.not_before = 1e9
    stream.hurry()
    assert stream.not_before == 0
