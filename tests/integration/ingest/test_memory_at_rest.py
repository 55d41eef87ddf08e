"""What a session holds between two chunks: its window, and no frame that was worked off."""

from __future__ import annotations

import gc

import trio.testing

from interview_edge.web.peers import Message
from nodes import OpenNode, connect


async def test_a_socket_at_rest_holds_no_frame(open_node: OpenNode) -> None:
    async with open_node() as edge, connect(edge, "s") as client:
        for seq in (1, 2, 3):
            await client.send_chunk(seq)
        await client.answers(3)
        await trio.testing.wait_all_tasks_blocked()
        assert not [found for found in gc.get_objects() if isinstance(found, Message)]
