"""A node that runs short of memory: windows go first, then new sessions are refused; nothing held is lost."""

from __future__ import annotations

import pytest
import trio.testing

from asgi_calls import Answer, call, refused_upgrade
from interview_edge.app import Edge
from interview_edge.core.models import AckLevel
from interview_edge.errors import NODE_FULL, EdgeError
from interview_edge.sessions.memory_watch import MemoryWatch
from nodes import OpenNode, connect, second

BUDGET = 10_000_000


def look(edge: Edge, used: int) -> None:
    """As the node's own watch does every second, at `used` bytes."""
    MemoryWatch(edge.registry, used=lambda: used, budget=lambda: BUDGET).look()


def window_bytes(edge: Edge, session_id: str) -> int:
    session = edge.registry.live(session_id)
    assert session is not None
    return session.streams["mixed"].window.held_bytes


async def record(edge: Edge, session_id: str, seconds: int) -> None:
    async with connect(edge, session_id) as peer:
        for seq in range(1, seconds + 1):
            await peer.send_chunk(seq)
        await peer.answers(seconds)


async def test_over_80_percent_the_window_written_longest_ago_is_given_back(open_node: OpenNode) -> None:
    async with open_node(memory_check_interval=60) as edge:
        for name, at in (("second", 2_000), ("first", 1_000), ("third", 3_000)):
            await record(edge, name, 3)
            session = edge.registry.live(name)
            assert session is not None
            session.streams["mixed"].ledger.count_duplicate(at)  # the ledger's clock: when it last changed
        look(edge, int(BUDGET * 0.8))
        assert edge.registry.evicted_windows == 0
        look(edge, int(BUDGET * 0.8) + 96_001)
        assert [window_bytes(edge, name) for name in ("first", "second", "third")] == [0, 0, 96_000]
        assert edge.registry.evicted_windows == 2
        assert not edge.registry.short_of_memory
        # What was given back is still held, byte for byte.
        async with edge.session("first") as session:
            assert await session.chunk(2) == second(2)
        await record(edge, "new", 1)


async def test_over_95_percent_new_sessions_are_refused_and_running_ones_go_on(open_node: OpenNode) -> None:
    async with open_node(memory_check_interval=60) as edge:
        async with connect(edge, "running") as peer:
            await peer.send_chunk(1)
            await peer.answers(1)
            look(edge, int(BUDGET * 0.96))
            await peer.send_chunk(2)
            assert (await peer.answer())["status"] == "stored"
            refused = await refused_upgrade(edge.asgi_app, "/v1/audio/ws/new")
            assert isinstance(refused, Answer)
            assert (refused.status, refused.json()["code"]) == (503, "node_full")
            assert int(refused.headers["retry-after"]) > 0
            with pytest.raises(EdgeError) as error:
                async with edge.session("new"):
                    pass
            assert error.value.kind is NODE_FULL
        async with connect(edge, "running") as peer:  # its session is live: another socket of it is welcome
            await peer.send_chunk(3)
            assert (await peer.answer())["status"] == "stored"
        look(edge, int(BUDGET * 0.5))
        await record(edge, "new", 1)


async def test_what_no_journal_holds_is_never_given_back(open_node: OpenNode) -> None:
    async with open_node(ack=AckLevel.MEMORY, memory_check_interval=60) as edge:
        await record(edge, "s", 2)
        session = edge.registry.live("s")
        assert session is not None
        await session.settle()
        session.audio.unjournalled = 1  # as after a journal that failed
        look(edge, BUDGET)
        assert window_bytes(edge, "s") == 64_000
        session.audio.unjournalled = 0
        look(edge, BUDGET)
        assert window_bytes(edge, "s") == 0


async def test_the_node_watches_its_own_memory(open_node: OpenNode) -> None:
    """A budget that the process is over from its start."""
    async with open_node(memory_budget_mb=1, memory_check_interval=0.001) as edge:
        with trio.fail_after(5):
            while not edge.registry.short_of_memory:
                await trio.sleep(0.001)
        health = await call(edge.asgi_app, "GET", "/health")
        assert health.json()["checks"]["memory"]["status"] == "error"
