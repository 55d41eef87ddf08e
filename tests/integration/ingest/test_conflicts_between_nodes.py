"""At ack level `backend`: another node stored other bytes at the seq first (design.md, two nodes)."""

from __future__ import annotations

from interview_edge.catalog.protocol import StoredChunks
from interview_edge.core.models import AckLevel, Extent, LedgerSnapshot, StreamKey
from interview_edge.core.pcm import identify
from nodes import OpenNode, connect, second


async def test_the_first_bytes_stand_and_the_client_is_told(open_node: OpenNode) -> None:
    async with open_node(ack=AckLevel.BACKEND) as edge, connect(edge, "s") as client:
        await client.hello()
        other, key = second(99), StreamKey("s")
        sha256, identity = identify(other, final=False)
        await edge.parts.backend.put("sessions/s/elsewhere.pcm", other)
        await edge.parts.catalog.record_stored(
            StoredChunks(
                key=key,
                extents=[Extent(1, 1, "sessions/s/elsewhere.pcm", len(other), sha256)],
                identities={1: identity},
                ledger=LedgerSnapshot(held=((1, 1),), started_at=1, updated_at=1),
                stored_at=1,
            )
        )
        await client.send_chunk(1)
        answer = await client.answer()
        assert (answer["type"], answer["code"], answer["seq"]) == ("error", "chunk_conflict", 1)
        await edge.parts.archive.flush("s")
        assert await edge.parts.reader.chunk(key, 1) == other
        kept = [info.key async for info in edge.parts.backend.list("sessions/s/conflicts/")]
        assert len(kept) == 1
        assert await edge.parts.backend.get(kept[0]) == second(1)
        events = await edge.parts.catalog.events("s")
        assert [event.type for event in events] == ["conflict"]
