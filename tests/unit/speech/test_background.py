"""Threads that a model starts yield to others, and nobody else does."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from interview_edge.speech.background import NICENESS, in_background


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
