"""Who waits for a chunk to be safe."""

from __future__ import annotations

import trio
import trio.testing

from interview_edge.sessions.live_stream import Pending
from interview_edge.sessions.receipt import Receipt


async def test_several_may_wait_for_one_chunk() -> None:
    """Two finalizes at once do."""
    pending = Pending(b"identity", 32_000, False, Receipt(1, 0.0))
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(pending.settled)
            await trio.testing.wait_all_tasks_blocked()
            pending.settle()
    await pending.settled()
