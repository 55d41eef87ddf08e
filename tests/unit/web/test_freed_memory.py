from __future__ import annotations

import gc
import sys
import weakref

import attrs
import pytest
import trio
import trio.testing

from interview_edge.sessions.node_memory import resident_bytes
from interview_edge.web.freed_memory import give_back_freed_memory
from interview_edge.web.full_collections import BETWEEN_FULL, rare_full_collections

BLOCK = 32_000  # a chunk's: glibc takes it from its heap


@attrs.frozen
class Sessions:
    """A registry as the task sees it."""

    live: int = 0
    ended: int = 0

    def __len__(self) -> int:
        return self.live


@pytest.mark.skipif(sys.platform != "linux", reason="malloc_trim is glibc's")
async def test_what_lies_free_between_blocks_in_use_goes_back_to_the_system() -> None:
    kept, freed = [], []
    for _ in range(1_000):
        freed.append(b"a" * BLOCK)
        # Pins the heap, so that glibc alone gives nothing back. As large as the others: a small one would
        # find a place in the holes that earlier tests left.
        kept.append(b"b" * BLOCK)
    freed.clear()
    holding = resident_bytes()
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(give_back_freed_memory, stop, Sessions(), 0.001)
        with trio.fail_after(5):
            while resident_bytes() > holding - 500 * BLOCK:
                await trio.sleep(0.001)
        stop.set()
    assert len(kept) == 1_000


async def test_it_ends_when_the_server_stops() -> None:
    stop = trio.Event()
    stop.set()
    with trio.fail_after(5):
        await give_back_freed_memory(stop, Sessions())


class Cycle:
    """Something that only a full collection frees."""

    def __init__(self) -> None:
        self.self = self


@pytest.mark.parametrize(
    ("live", "ended", "collects"), [(0, 1, True), (5, 1, False), (5, 100, True), (5, 0, False)]
)
async def test_what_ended_sessions_leave_is_collected_for_many_at_once_or_when_none_is_live(
    live: int, ended: int, collects: bool
) -> None:
    gc.collect()
    gc.disable()
    try:
        left = weakref.ref(Cycle())
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(give_back_freed_memory, stop, Sessions(live, ended), 1.0)
            await trio.testing.wait_all_tasks_blocked()
            stop.set()  # it looks once more, and ends
        assert (left() is None) is collects
    finally:
        gc.enable()


def test_full_collections_are_rare_in_the_block_only() -> None:
    before = gc.get_threshold()
    with rare_full_collections():
        assert gc.get_threshold() == (*before[:2], BETWEEN_FULL)
        assert gc.get_freeze_count() > 0
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0
