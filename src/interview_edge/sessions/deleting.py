"""Deleting a session of this node (contract ingest.md, DELETE): refused while a socket is open, final
afterwards.
"""

from __future__ import annotations

from interview_edge.archive.deletion import delete_session
from interview_edge.errors import SESSION_LIVE, SESSION_NOT_FOUND, EdgeError
from interview_edge.sessions.node_parts import NodeParts
from interview_edge.sessions.registry import Registry


async def delete(session_id: str, registry: Registry, parts: NodeParts) -> None:
    """Delete everything of a session. Idempotent; after the tombstone the next start finishes what was cut
    off.

    Raises EdgeError (session_live, session_not_found), CatalogUnavailable, JournalError, BackendError.
    """
    session = registry.live(session_id)
    if session is None:
        if await parts.catalog.load_session(session_id) is None:
            raise EdgeError(SESSION_NOT_FOUND)
        await parts.catalog.mark_deleted(session_id, parts.wall_ms())
    else:
        # Through the state lane: a resolve or a finalize under way ends first, a later one finds the
        # tombstone.
        async with session.state_lane():
            if session.sockets:
                raise EdgeError(SESSION_LIVE)
            await parts.catalog.mark_deleted(session_id, parts.wall_ms())
    await registry.close_one(session_id)
    await delete_session(
        session_id,
        journal=parts.journal,
        catalog=parts.catalog,
        backend=parts.backend,
        archive=parts.archive,
        at=parts.wall_ms(),
    )
