"""What an outage may hold in memory: nothing but the ledger of what waits; the audio is in the journal."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest
import trio

from interview_edge.archive.objects import NewObject
from interview_edge.backends.memory import MemoryBackend
from interview_edge.backends.protocol import BackendUnavailable, ObjectPut, StorageBackend
from interview_edge.testing import FaultyBackend

from .conftest import KEY, GroupingBackend, OpenNode, chunk_of, until


class FailingGroups(GroupingBackend):
    """Each put of a group fails."""

    async def put(self, key: str, data: bytes, **options: object) -> bool:
        await trio.lowlevel.checkpoint()
        raise BackendUnavailable("outage")


def failing() -> FaultyBackend:
    backend = FaultyBackend(MemoryBackend())
    backend.outage = True
    return backend


@pytest.mark.parametrize("open_failing", [failing, FailingGroups])
async def test_a_step_that_failed_leaves_no_audio_for_the_garbage_collector(
    open_node: OpenNode, open_failing: Callable[[], StorageBackend]
) -> None:
    async with open_node(open_failing(), retry_initial=60.0, retry_max=60.0) as node:
        await node.journal_chunks([chunk_of(seq) for seq in range(1, 6)])
        gc.collect()
        gc.disable()
        try:
            node.archive.hurry(KEY.session_id)
            await until(lambda: node.archive.health().retrying == 1)
            left = [found for found in gc.get_objects() if isinstance(found, NewObject | ObjectPut)]
        finally:
            gc.enable()
        assert left == [], "a reference cycle keeps the audio of every failed step"
