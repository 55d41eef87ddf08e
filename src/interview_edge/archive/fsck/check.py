"""The whole check: what deletions left, then the store against the catalog, then the catalog against it.

In this order, since a repair gains by it: what is adopted or copied back is there when the catalog's side is
looked at. Nothing that is held is ever deleted, whatever the options: only what expired, what belongs to a
deleted session, and copies whose original was just read and found right.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing

import attrs

from interview_edge.archive.deletion import finish_deletion
from interview_edge.archive.fsck.access import PAGE, FsckAccess, FsckOptions
from interview_edge.archive.fsck.findings import Finding, FindingTray, Kind, State, Summary
from interview_edge.archive.fsck.recorded_side import RecordedSide
from interview_edge.archive.fsck.stored_side import StoredSide
from interview_edge.archive.retention import FileRemover
from interview_edge.backends.protocol import StorageBackend
from interview_edge.catalog.protocol import Catalog
from interview_edge.core.keys import session_prefix
from interview_edge.core.models import StreamKey
from interview_edge.journal import Journal

ROOT = "sessions/"  # what lies elsewhere in the store is somebody else's


@attrs.frozen
class Progress:
    """How far a check is: objects of the store looked at, then sessions of the catalog."""

    objects: int
    sessions: int


@attrs.frozen(kw_only=True)
class Fsck:
    """What a check works on. No node may run on the journal, nor, where something is repaired, on the store.

    `concurrency` bounds deletions, `timeout` (seconds) each call of the store; `now_ms` is epoch ms.
    """

    journal: Journal
    catalog: Catalog
    backend: StorageBackend
    options: FsckOptions
    concurrency: int
    timeout: float
    now_ms: Callable[[], int]

    async def run(
        self, on_finding: Callable[[Finding], None], on_progress: Callable[[Progress], None]
    ) -> Summary:
        """Check everything; findings come as each stream is done with.

        Raises `BackendError`, `CatalogUnavailable`, `JournalError`, `trio.TooSlowError` where a room can't be
        read or written; what was repaired until then stays repaired. May be cancelled anywhere, and run
        again. Memory is that of an hour of a stream's rows, however much there is.
        """
        tray = FindingTray(on_finding)
        access = FsckAccess(
            self.journal, self.catalog, self.backend, self.options, tray, self.now_ms, self.timeout
        )
        await self._finish_deletions(tray)
        stored = StoredSide(access)
        async with aclosing(access.listing(ROOT)) as pages:
            async for page in pages:
                await stored.look_at(page)
                on_progress(Progress(stored.objects, 0))
        if self.options.repair:
            # What expired is deleted by now: the catalog hears of it.
            await FileRemover(
                self.catalog.files, self.backend, concurrency=self.concurrency, timeout=self.timeout
            ).finish()
        sessions = await self._look_at_recorded(
            RecordedSide(access), lambda done: on_progress(Progress(stored.objects, done))
        )
        tray.flush()
        return Summary(sessions, stored.objects, stored.size, stored.under_way, tray.counts)

    async def _finish_deletions(self, tray: FindingTray) -> None:
        for session_id in await self.catalog.deletions_under_way():
            if self.options.repair:
                await finish_deletion(
                    session_id, journal=self.journal, catalog=self.catalog, backend=self.backend
                )
            state = State.REPAIRED if self.options.repair else State.REPAIRABLE
            tray.add(Kind.REMAINS, state, session_id=session_id, key=session_prefix(session_id))

    async def _look_at_recorded(self, recorded: RecordedSide, on_session: Callable[[int], None]) -> int:
        done, before = 0, None
        while page := await self.catalog.list_sessions(limit=PAGE, before=before):
            for session in page:
                for name, ledger in session.streams.items():
                    await recorded.look_at(StreamKey(session.session_id, name), ledger)
                done += 1
                on_session(done)
            before = page[-1].created_at, page[-1].session_id
        return done
