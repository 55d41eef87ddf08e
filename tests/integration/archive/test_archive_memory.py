"""What an outage may hold in memory: nothing but the ledger of what waits; the audio is in the journal."""

from __future__ import annotations

import gc

from interview_edge.archive.objects import NewObject
from interview_edge.backends.memory import MemoryBackend
from interview_edge.testing import FaultyBackend

from .conftest import KEY, OpenNode, chunk_of, until


async def test_a_step_that_failed_leaves_no_audio_for_the_garbage_collector(open_node: OpenNode) -> None:
    backend = FaultyBackend(MemoryBackend())
    backend.outage = True
    async with open_node(backend, retry_initial=60.0, retry_max=60.0) as node:
        await node.journal_chunks([chunk_of(seq) for seq in range(1, 6)])
        gc.collect()
        gc.disable()
        try:
            node.archive.hurry(KEY.session_id)
            await until(lambda: node.archive.health().retrying == 1)
            left = [found for found in gc.get_objects() if isinstance(found, NewObject)]
        finally:
            gc.enable()
        assert left == [], "a reference cycle keeps the audio of every failed step"
