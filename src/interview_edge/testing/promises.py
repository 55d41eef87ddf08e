"""What the checks of speech providers share: promises kept one after the other, each within a deadline."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TypeVar

import attrs
import trio

Provider = TypeVar("Provider")
Subject = TypeVar("Subject")
Answer = TypeVar("Answer")

# Longer than a busy machine takes to switch between tasks and threads, shorter than anyone waits gladly.
CANCEL_SECONDS = 2.0
# A step of the event loop, in which no other session is served. The best of some tries counts, as a machine
# may be busy with something else: who blocks, blocks in all of them.
STEP_SECONDS = 0.1
STEP_TRIES = 3


def hold(condition: bool, sentence: str) -> None:
    """Raises AssertionError, which says the sentence, where the condition doesn't hold."""
    if not condition:
        raise AssertionError(sentence)


async def keep_promises(
    open_provider: Callable[[], AbstractAsyncContextManager[Provider]],
    subject_of: Callable[[Provider], Subject],
    promises: Sequence[Callable[[Subject], Awaitable[None]]],
    timeout: float,
) -> None:
    """Open a provider, hold it to each promise, and close it; opening, each promise and closing may take
    `timeout` seconds. Raises AssertionError, with a note that names the promise (a function's docstring).
    """
    broken: AssertionError | None = None
    with trio.CancelScope() as scope:
        scope.deadline = trio.current_time() + timeout
        async with open_provider() as provider:
            scope.deadline = float("inf")
            for promise in promises:
                # Not raised in the provider's block: where that is a nursery's, it would come as a group.
                broken = await _broken(promise, subject_of, provider, timeout)
                if broken is not None:
                    break
            scope.deadline = trio.current_time() + timeout
    if broken is not None:
        raise broken
    hold(not scope.cancelled_caught, f"it opens and closes within {timeout:g} s")


async def _broken(
    promise: Callable[[Subject], Awaitable[None]],
    subject_of: Callable[[Provider], Subject],
    provider: Provider,
    timeout: float,
) -> AssertionError | None:
    sentence = " ".join((promise.__doc__ or "a promise").split())
    try:
        with trio.fail_after(timeout):
            await promise(subject_of(provider))
    except AssertionError as error:
        error.add_note(f"while checking: {sentence}")
        return error
    except trio.TooSlowError:
        return AssertionError(f"{sentence} (it took over {timeout:g} s)")
    except Exception as error:  # whatever it is, no promise lets it out
        broken = AssertionError(f"{sentence} (it raised {error!r})")
        broken.__cause__ = error
        return broken
    return None


async def all_at_once(calls: Sequence[Callable[[], Awaitable[Answer]]]) -> list[Answer | Exception]:
    """What each of the calls answers or raises, all begun together and one after the other."""
    outcomes: dict[int, Answer | Exception] = {}

    async def run(number: int, call: Callable[[], Awaitable[Answer]]) -> None:
        try:
            outcomes[number] = await call()
        except Exception as error:  # it is the outcome, and judged by who asked
            outcomes[number] = error

    async with trio.open_nursery() as nursery:
        for number, call in enumerate(calls):
            nursery.start_soon(run, number, call)
            await trio.lowlevel.checkpoint()  # in which it takes its first step
    return [outcomes[number] for number in range(len(calls))]


async def leave_loop_free(call: Callable[[], Awaitable[object]]) -> None:
    """Raises AssertionError where a call never leaves the event loop to others for too long."""
    for _ in range(STEP_TRIES):
        steps = _Steps()
        trio.lowlevel.add_instrument(steps)
        try:
            await trio.lowlevel.checkpoint()  # so that the call's first step is a whole one, and its last
            await call()
            await trio.lowlevel.checkpoint()
        finally:
            trio.lowlevel.remove_instrument(steps)
        if steps.longest <= STEP_SECONDS:
            return
    raise AssertionError(f"a call never blocks the event loop (it did for {steps.longest:.2f} s)")


@attrs.define(eq=False)  # instruments are kept in a dictionary
class _Steps(trio.abc.Instrument):
    """The longest step of any task, in seconds."""

    longest: float = 0.0
    _began: float = 0.0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._began = time.perf_counter()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if self._began:  # else the step in which the watch began
            self.longest = max(self.longest, time.perf_counter() - self._began)


async def end_when_cancelled(call: Callable[[], Awaitable[object]], delays: Sequence[float]) -> None:
    """Cancel a call after each of the delays (seconds), all begun together. Raises AssertionError where one
    goes on, or makes something else of its cancellation. One that has ended by then, well or not, is fine.
    """

    async def cancelled(delay: float) -> float:
        until = trio.current_time() + delay
        with trio.CancelScope(deadline=until):
            try:
                answer = await call()
            except AssertionError:
                raise
            except Exception as error:  # whatever it is, it is no answer
                answer = error
            hold(
                trio.current_time() < until or not isinstance(answer, Exception),
                f"a cancelled call lets its cancellation pass (it made {answer!r} of it)",
            )
        return trio.current_time() - until

    for late in await all_at_once([partial(cancelled, delay) for delay in delays]):
        if isinstance(late, Exception):
            raise late
        hold(
            late < CANCEL_SECONDS,
            f"a cancelled call ends within {CANCEL_SECONDS:g} s (it took {late:.1f} s)",
        )
