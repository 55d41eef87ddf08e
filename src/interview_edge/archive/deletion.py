"""Deleting a session, so that no crash between leaves a part of it that comes back.

The tombstone comes first: from then on the catalog refuses every write for the session, so whatever another
task or node still puts is found and removed by its own archive (archive.py). The next start goes on with what
was cut off.
"""

from __future__ import annotations

from interview_edge.archive.archive import Archive
from interview_edge.archive.objects import delete_objects
from interview_edge.backends.protocol import StorageBackend
from interview_edge.catalog.protocol import Catalog
from interview_edge.journal import Journal

STORE_TIMEOUT = 60.0  # seconds for one delete or one page of a listing


async def delete_session(
    session_id: str,
    *,
    journal: Journal,
    catalog: Catalog,
    backend: StorageBackend,
    archive: Archive,
    at: int,
) -> None:
    """Delete everything of a session: journal rows, objects, catalog rows. The tombstone (`at`, epoch ms)
    stays.

    Idempotent. When it raises (`CatalogUnavailable`, `JournalError`, `BackendError`, `trio.TooSlowError`) or
    is cancelled after the tombstone, the session stays deleted for everybody and `resume_deletions` removes
    the rest.
    """
    await catalog.mark_deleted(session_id, at)
    await archive.forget(session_id)
    await journal.drop_session(session_id)
    await delete_objects(backend, session_id, timeout=STORE_TIMEOUT)
    await catalog.purge_session(session_id)


async def resume_deletions(
    *, journal: Journal, catalog: Catalog, backend: StorageBackend, archive: Archive, at: int
) -> int:
    """Finish every deletion that a crash or an outage cut off; how many. For the start. Raises as
    `delete_session`.
    """
    under_way = await catalog.deletions_under_way()
    for session_id in under_way:
        await delete_session(
            session_id, journal=journal, catalog=catalog, backend=backend, archive=archive, at=at
        )
    return len(under_way)
