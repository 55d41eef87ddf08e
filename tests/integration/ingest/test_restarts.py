"""What a restart keeps: ledgers, windows, counts, VAD positions; at every ack level."""

from __future__ import annotations

from nodes import OpenNode, connect, second


async def test_a_client_resumes_where_it_was(open_node: OpenNode) -> None:
    async with open_node() as edge, connect(edge, "s") as client:
        for seq in (1, 2, 5):
            await client.send_chunk(seq)
        await client.send_chunk(2)
        await client.answers(4)
    async with open_node() as edge, connect(edge, "s") as client:
        ready = await client.hello()
        assert (ready["next_seq"], ready["missing"], ready["epoch"]) == (3, [[3, 4]], 2)
        assert ready["ingest"]["duplicate_chunks"] == 1
        async with edge.session("s") as session:
            assert [await session.chunk(seq) for seq in (1, 2, 5)] == [second(1), second(2), second(5)]
            assert await session.chunk(3) is None


async def test_the_window_is_rebuilt_from_the_journal(open_node: OpenNode) -> None:
    async with open_node(storage="memory://", drain_timeout=0.01) as edge, connect(edge, "s") as client:
        edge.parts.archive.journalled = lambda *_: None  # type: ignore[method-assign]  # keeps rows journalled
        for seq in (1, 2, 3):
            await client.send_chunk(seq)
        await client.answers(3)
    async with open_node(storage="memory://", drain_timeout=0.01) as edge, edge.registry.use("s") as session:
        assert session.streams["mixed"].window.read_last(3000) == second(1) + second(2) + second(3)
