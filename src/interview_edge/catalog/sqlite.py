"""The catalog on SQLite: the default, embedded one. One node's; several nodes share PostgreSQL instead.

Writes of all callers go through one group commit; reads have a connection of their own and never wait for a
write.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import apsw
import trio

from interview_edge.catalog import objects, queries
from interview_edge.catalog.protocol import (
    CatalogUnavailable,
    FinalizedResult,
    IdempotentAnswer,
    SessionRecord,
    SessionSummary,
    StoredChunks,
)
from interview_edge.catalog.sqlite_access import SqliteAccess
from interview_edge.catalog.sqlite_files import SqliteFiles
from interview_edge.core.models import (
    TRUSTED,
    Caller,
    Event,
    Extent,
    NewEvent,
    SessionState,
    StreamKey,
    Utterance,
    VadPosition,
)
from interview_edge.sqlite import CLOSE_TIMEOUT, Database, GroupCommit, in_snapshot, open_database

T = TypeVar("T")


class SqliteCatalog:
    """A `Catalog` in one SQLite file. Made by `open_sqlite_catalog`."""

    def __init__(self, commits: GroupCommit, reader: Database) -> None:
        self._commits = commits
        self._reader = reader
        self.access = SqliteAccess(self._write, self._read)
        self.files = SqliteFiles(self._write, self._read)

    async def _write(self, work: Callable[[apsw.Connection], T]) -> T:
        try:
            return await self._commits.run(work)
        except apsw.Error as error:
            raise CatalogUnavailable(f"{type(error).__name__}: {error}") from error

    async def _read(self, work: Callable[[apsw.Connection], T]) -> T:
        if self._commits.closed:
            raise CatalogUnavailable("the catalog is closed")
        try:
            return await self._reader.run(partial(in_snapshot, work=work))
        except apsw.Error as error:
            raise CatalogUnavailable(f"{type(error).__name__}: {error}") from error

    # -- sessions

    async def open_session(self, session_id: str, at: int, caller: Caller = TRUSTED) -> SessionRecord:
        return await self._write(partial(queries.open_session, session_id=session_id, at=at, caller=caller))

    async def owner_of(self, session_id: str) -> str | None:
        return await self._read(partial(queries.owner_of, session_id=session_id))

    async def load_session(self, session_id: str) -> SessionRecord | None:
        return await self._read(partial(queries.load_session, session_id=session_id))

    async def list_sessions(
        self, *, limit: int, before: tuple[int, str] | None = None, owner: str | None = None
    ) -> Sequence[SessionSummary]:
        return await self._read(partial(queries.list_sessions, limit=limit, before=before, owner=owner))

    # -- the object table

    async def record_stored(self, stored: StoredChunks) -> Sequence[int]:
        return await self._write(partial(objects.record_stored, stored=stored))

    async def extents(self, key: StreamKey, first: int = 1, last: int | None = None) -> Sequence[Extent]:
        return await self._read(partial(objects.extents, key=key, first=first, last=last))

    async def identities(self, key: StreamKey, seqs: Sequence[int]) -> Mapping[int, bytes]:
        return await self._read(partial(objects.identities, key=key, seqs=seqs))

    async def held_objects(self, session_id: str) -> Sequence[str]:
        return await self._read(partial(objects.held_objects, session_id=session_id))

    # -- events, state, VAD

    async def append_events(
        self,
        session_id: str,
        events: Sequence[NewEvent],
        *,
        at: int,
        state: SessionState | None = None,
        vad: Mapping[str, VadPosition] | None = None,
        answer: IdempotentAnswer | None = None,
        heard: Sequence[Utterance] = (),
        written: Sequence[Utterance] = (),
    ) -> Sequence[Event]:
        return await self._write(
            partial(
                queries.append_events,
                session_id=session_id,
                events=tuple(events),
                at=at,
                state=state,
                vad=dict(vad or {}),
                answer=answer,
                heard=tuple(heard),
                written=tuple(written),
            )
        )

    async def untranscribed(
        self, *, limit: int, after: tuple[str, Utterance] | None = None
    ) -> Sequence[tuple[str, Utterance]]:
        return await self._read(partial(queries.untranscribed, limit=limit, after=after))

    async def events(
        self, session_id: str, *, after: int = 0, limit: int = 100, types: Sequence[str] | None = None
    ) -> Sequence[Event]:
        return await self._read(
            partial(queries.events, session_id=session_id, after=after, limit=limit, types=types)
        )

    async def idempotent_answer(
        self, session_id: str, key: str, *, not_before: int
    ) -> IdempotentAnswer | None:
        return await self._read(
            partial(queries.idempotent_answer, session_id=session_id, key=key, not_before=not_before)
        )

    async def forget_idempotent_answers(self, before: int) -> int:
        return await self._write(partial(queries.forget_idempotent_answers, before=before))

    # -- finalize and delete

    async def record_finalized(self, session_id: str, result: FinalizedResult) -> None:
        await self._write(partial(queries.record_finalized, session_id=session_id, result=result))

    async def count_untranscribed(self, session_id: str, *, stream: str | None = None) -> int:
        return await self._read(partial(queries.count_untranscribed, session_id=session_id, stream=stream))

    async def results_to_renew(self, *, limit: int, after: str = "") -> Sequence[str]:
        return await self._read(partial(queries.results_to_renew, limit=limit, after=after))

    async def mark_deleted(self, session_id: str, at: int) -> None:
        await self._write(partial(queries.mark_deleted, session_id=session_id, at=at))

    async def deletions_under_way(self) -> Sequence[str]:
        return await self._read(queries.deletions_under_way)

    async def purge_session(self, session_id: str) -> None:
        await self._write(partial(queries.purge_session, session_id=session_id))

    async def aclose(self) -> None:
        """Take no more calls; what waits is still committed. The file closes with `open_sqlite_catalog`."""
        self._commits.close()
        await trio.lowlevel.checkpoint()


@asynccontextmanager
async def open_sqlite_catalog(path: Path, *, vfs: str | None = None) -> AsyncIterator[SqliteCatalog]:
    """Open the catalog in `path`, made where it is missing. `vfs` names another APSW VFS, for tests.

    Raises `CatalogUnavailable` where the file can't be opened, `SchemaTooNew` where a newer version wrote it.
    """
    open_file = partial(open_database, path, vfs=vfs)
    async with AsyncExitStack() as stack:
        try:
            writer = await stack.enter_async_context(open_file(migrations="interview_edge.catalog"))
            reader = await stack.enter_async_context(open_file())
        except apsw.Error as error:
            raise CatalogUnavailable(f"{path}: {type(error).__name__}: {error}") from error
        async with trio.open_nursery() as nursery:
            commits = GroupCommit(writer)
            nursery.start_soon(commits.serve)
            try:
                yield SqliteCatalog(commits, reader)
            finally:
                commits.close()
                nursery.cancel_scope.deadline = trio.current_time() + CLOSE_TIMEOUT
