from __future__ import annotations

import sys

import pytest
import trio

from interview_edge.web.freed_memory import give_back_freed_memory
from interview_edge.web.node_memory import resident_bytes

BLOCK = 32_000  # a chunk's: glibc takes it from its heap
PIN = 1_000  # too big for the interpreter's own arenas, so from the heap too


@pytest.mark.skipif(sys.platform != "linux", reason="malloc_trim is glibc's")
async def test_what_lies_free_between_blocks_in_use_goes_back_to_the_system() -> None:
    kept, freed = [], []
    for _ in range(1_000):
        freed.append(b"a" * BLOCK)
        kept.append(b"b" * PIN)  # pins the heap, so that glibc alone gives nothing back
    freed.clear()
    holding = resident_bytes()
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(give_back_freed_memory, stop, 0.001)
        with trio.fail_after(5):
            while resident_bytes() > holding - 500 * BLOCK:
                await trio.sleep(0.001)
        stop.set()
    assert len(kept) == 1_000


async def test_it_ends_when_the_server_stops() -> None:
    stop = trio.Event()
    stop.set()
    with trio.fail_after(5):
        await give_back_freed_memory(stop)
