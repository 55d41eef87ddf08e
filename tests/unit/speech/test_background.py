"""Threads that a model starts yield to others, and nobody else does."""

from __future__ import annotations

import os
import sys
import threading

import pytest
import trio

from interview_edge.speech.background import NICENESS, in_background, let_threads_end


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, 0)


def of_a_thread_started_here() -> int:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(niceness()))
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere niceness is the whole process's")
def test_threads_that_it_starts_are_nice_and_the_caller_is_not() -> None:
    before = niceness()
    assert in_background(of_a_thread_started_here) == max(before, NICENESS)
    assert niceness() == of_a_thread_started_here() == before


def test_what_it_raises_comes_out() -> None:
    def fails() -> None:
        raise RuntimeError("no model")

    with pytest.raises(RuntimeError, match="no model"):
        in_background(fails)


async def test_threads_that_nobody_waits_for_are_waited_for_at_the_end() -> None:
    limiter, go_on, over = trio.CapacityLimiter(2), threading.Event(), threading.Event()

    def work() -> None:
        go_on.wait(20)
        over.set()

    with trio.move_on_after(0.01):
        await trio.to_thread.run_sync(work, limiter=limiter, abandon_on_cancel=True)
    await let_threads_end(limiter, 0.01)  # it takes too long
    assert not over.is_set()
    go_on.set()
    limiter = trio.CapacityLimiter(1)
    with trio.move_on_after(0.01):
        await trio.to_thread.run_sync(over.wait, 20, limiter=limiter, abandon_on_cancel=True)
    await let_threads_end(limiter, 20)
    assert over.is_set()
    assert limiter.borrowed_tokens == 1  # and no other may begin
