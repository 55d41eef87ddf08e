"""For tests: audio recorded in somebody's name, and in the object store when it returns."""

from __future__ import annotations

from interview_edge.app import Edge
from interview_edge.core.models import Caller
from interview_edge.sessions.handle import SessionHandle
from nodes import second


def caller_of(key: str, owner: str = "alice") -> Caller:
    """Who shows a key made by `give_key`."""
    return Caller(owner, key.split("_")[1])


async def record(edge: Edge, session_id: str, caller: Caller, seqs: range) -> None:
    """These seconds of the session, stored, counted, and result.json written."""
    async with edge.registry.use(session_id, caller) as session:
        handle = SessionHandle(session, edge.parts)
        for seq in seqs:
            await handle.feed(second(seq), seq=seq)
        await handle.finalize()
