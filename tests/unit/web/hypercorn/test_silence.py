"""When a silent peer is pinged, and when it is given up."""

from __future__ import annotations

from interview_edge.web.hypercorn.silence import Due, Silence


def test_a_silent_peer_is_pinged_each_interval_and_dropped_at_the_timeout() -> None:
    silence, seen, now = Silence(20, 50, heard=0), [], 0.0
    while not seen or seen[-1][1] is not Due.DROP:
        now = silence.deadline()
        seen.append((now, silence.due(now)))
    assert seen == [(20, Due.PING), (40, Due.PING), (50, Due.DROP)]


def test_a_frame_puts_both_off() -> None:
    silence = Silence(20, 50, heard=0)
    silence.heard(30)
    assert silence.due(30) is None
    assert silence.deadline() == 50
    assert silence.due(50) is Due.PING


def test_nothing_is_due_before_its_time() -> None:
    silence = Silence(20, 50, heard=0)
    assert silence.due(19.9) is None
    assert silence.due(20) is Due.PING
    assert silence.due(20.1) is None
