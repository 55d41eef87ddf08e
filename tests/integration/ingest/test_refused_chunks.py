"""A chunk that was refused for want of space is asked for again: the socket ends, whatever else goes well."""

from __future__ import annotations

from trio.testing import MockClock

from nodes import OpenNode, connect, second

ROOM = 10**6  # bytes of the journal: some twenty chunks


async def test_acks_that_come_again_dont_keep_a_socket_that_refused_a_chunk(
    open_node: OpenNode, mock_clock: MockClock
) -> None:
    async with open_node(journal_max_bytes=ROOM) as edge, connect(edge, "s") as client:
        for seq in range(1, 41):
            await client.send_chunk(seq)
        refused = [answer["seq"] for answer in await client.answers(40) if answer["type"] == "error"]
        assert refused
        await edge.parts.archive.flush("s")
        await client.send_chunk(41)
        assert (await client.answer())["status"] == "stored"
        mock_clock.jump(edge.settings.storage_timeout * 2)
        mock_clock.rate = 1
        assert await client.closed_with() == (1013, "storage_unavailable")
        async with connect(edge, "s") as again:
            for seq in refused:
                await again.send_chunk(seq)
            assert {answer["type"] for answer in await again.answers(len(refused))} == {"ack"}
            assert (await again.status())["missing_chunks"] == 0


async def test_health_says_that_a_full_journal_takes_nothing(open_node: OpenNode) -> None:
    async with open_node(journal_min_free_bytes=10**15) as edge, connect(edge, "s") as client:
        await client.send_chunk(1, second(1))
        assert (await client.answer())["code"] == "storage_unavailable"
        full = edge.parts.journal.stats.full
        assert full is not None
        assert "bytes free" in full
