"""Deleting a session of this node (contract ingest.md, DELETE): refused while a socket is open, final
afterwards.
"""

from __future__ import annotations

import trio

from interview_edge.archive.deletion import delete_session
from interview_edge.core.models import TRUSTED, Caller
from interview_edge.errors import SESSION_DELETED, SESSION_LIVE, SESSION_NOT_FOUND, EdgeError
from interview_edge.sessions.node_parts import NodeParts
from interview_edge.sessions.registry import Registry
from interview_edge.sessions.session import Session


async def delete(session_id: str, registry: Registry, parts: NodeParts, caller: Caller = TRUSTED) -> None:
    """Delete everything of a session. Idempotent; after the tombstone the next start finishes what was cut
    off.

    Raises EdgeError (session_live; session_not_found, also for one that the caller may not see),
    CatalogUnavailable, JournalError, BackendError.
    """
    # Who comes before the tombstone is there waits for it: nothing may be acked that is then deleted.
    async with registry.hold_back(session_id) as session:
        owner = session.owner if session is not None else await parts.catalog.owner_of(session_id)
        if owner is None or not caller.may_see(owner):
            raise EdgeError(SESSION_NOT_FOUND)
        if session is not None:
            await _end_open_session(session, parts)
        else:
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


async def _end_open_session(session: Session, parts: NodeParts) -> None:
    """Set the tombstone through the state lane: a resolve or a finalize under way ends first, a later one
    finds it.
    """
    async with session.state_lane():
        if session.sockets:
            raise EdgeError(SESSION_LIVE)
        try:
            await parts.catalog.mark_deleted(session.session_id, parts.wall_ms())
        except trio.Cancelled:
            session.close()  # nobody heard whether the tombstone is there: the next opening asks the catalog
            raise
        session.close(SESSION_DELETED)
