"""A session that ends takes no more tasks, in no moment of its ending."""

from __future__ import annotations

import trio

from nodes import OpenNode


async def test_a_task_for_a_session_that_ends_is_refused_and_raises_nothing(open_node: OpenNode) -> None:
    async def nothing() -> None: ...

    async with open_node() as edge:
        async with edge.session("s"):
            session = edge.registry.live("s")
        assert session is not None
        session.close()
        with trio.fail_after(20):
            while session.start_soon(nothing):
                await trio.lowlevel.checkpoint()
