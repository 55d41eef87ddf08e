"""The speaker model's threads: how many, how many wait, and what a cancelled caller leaves behind."""

from __future__ import annotations

import threading

import pytest
import trio

from interview_edge.errors import SPEAKERS_BUSY, EdgeError
from interview_edge.speech.speaker_operations import SpeakerOperations
from interview_edge.speech.speaker_work import SpeakerWork, SpeakerWorkOptions
from voices import SpectrumEmbedder

PATIENCE = 10.0


class Held:
    """Work that ends when it is let; counts how much of it is at it at once."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.at_once = 0
        self.most = 0
        self.done = 0
        self.lock = threading.Lock()

    def __call__(self, _: SpeakerOperations) -> int:
        with self.lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        assert self.go_on.wait(PATIENCE)
        with self.lock:
            self.at_once -= 1
            self.done += 1
        return self.done


async def until(holds: object) -> None:
    with trio.fail_after(PATIENCE):
        while not holds():  # type: ignore[operator]
            await trio.sleep(0.001)


def make(workers: int = 1, waiting: int = 16) -> SpeakerWork:
    return SpeakerWork(SpectrumEmbedder, SpeakerWorkOptions(workers=workers, waiting=waiting))


async def test_no_more_at_once_than_workers() -> None:
    work, held = make(workers=2), Held()
    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(work.run, held)
        await until(lambda: held.at_once == 2)
        held.go_on.set()
    assert (held.most, held.done) == (2, 6)


async def test_when_too_many_wait_the_next_is_refused_and_nobody_else() -> None:
    work, held = make(waiting=2), Held()
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(work.run, held)
        await until(lambda: held.at_once == 1)
        with pytest.raises(EdgeError) as refused:
            await work.run(held)
        assert refused.value.kind is SPEAKERS_BUSY
        assert refused.value.kind.status == 429
        held.go_on.set()
    assert held.done == 3
    assert await work.run(held) == 4


async def test_a_cancelled_caller_goes_at_once_and_its_thread_keeps_its_place() -> None:
    work, held = make(), Held()
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            nursery.start_soon(until, lambda: held.at_once == 1)
            async with trio.open_nursery() as inner:
                inner.start_soon(work.run, held)
                await until(lambda: held.at_once == 1)
                scope.cancel()
        assert held.at_once == 1  # still at it
        with trio.move_on_after(0.02):
            await work.run(held)
        assert held.most == 1
        held.go_on.set()
        await until(lambda: held.at_once == 0)


async def test_many_first_callers_load_the_model_once() -> None:
    loads = []

    def load() -> SpectrumEmbedder:
        loads.append(1)
        return SpectrumEmbedder()

    work = SpeakerWork(load, SpeakerWorkOptions(workers=4))
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(work.run, lambda operations: operations.thresholds)
    assert loads == [1]
