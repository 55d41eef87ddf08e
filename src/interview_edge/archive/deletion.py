"""Deleting a session, so that no crash between leaves a part of it that comes back.

The tombstone comes first: from then on the catalog refuses every write for the session, so whatever another
task or node still puts is found and removed by its own archive (archive.py). The next start goes on with what
was cut off.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog
import trio

from interview_edge.archive.archive import Archive
from interview_edge.archive.objects import delete_objects
from interview_edge.backends.protocol import BackendError, StorageBackend
from interview_edge.catalog.protocol import Catalog, CatalogUnavailable
from interview_edge.journal import Journal, JournalError

_log = structlog.get_logger(__name__)

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
    await finish_deletion(session_id, journal=journal, catalog=catalog, backend=backend)


async def finish_deletion(
    session_id: str, *, journal: Journal, catalog: Catalog, backend: StorageBackend
) -> None:
    """Remove what is left of a session that has a tombstone, and that no archive works on. Idempotent; raises
    as `delete_session` does.
    """
    await journal.drop_session(session_id)
    await delete_objects(backend, session_id, timeout=STORE_TIMEOUT)
    await catalog.purge_session(session_id)


async def resume_deletions(
    *,
    journal: Journal,
    catalog: Catalog,
    backend: StorageBackend,
    archive: Archive,
    now_ms: Callable[[], int],
    retry_interval: float,
) -> None:
    """Finish every deletion that a crash or an outage cut off. A task of the node's start.

    Returns when none is left. What fails is tried again every `retry_interval` seconds, for ever and after
    the others: a store that is down keeps no node from starting, and one locked object no other deletion.
    """
    failed = True
    while failed:
        failed = False
        try:
            waiting = await catalog.deletions_under_way()
        except CatalogUnavailable as error:
            waiting, failed = [], True
            _log.warning("deletions can't go on now", error=str(error))
        for session_id in waiting:
            try:
                await delete_session(
                    session_id,
                    journal=journal,
                    catalog=catalog,
                    backend=backend,
                    archive=archive,
                    at=now_ms(),
                )
            except (CatalogUnavailable, JournalError, BackendError, trio.TooSlowError) as error:
                failed = True
                _log.warning("a deletion can't go on now", session_id=session_id, error=str(error))
            except Exception as error:  # a plugin may raise anything; the node has other sessions to serve
                failed = True  # the text may hold a secret
                _log.error("a deletion failed", session_id=session_id, error=type(error).__name__)
        if failed:
            await trio.sleep(retry_interval)
