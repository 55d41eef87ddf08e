"""Giving audio up: by age, or because somebody asked (contract storage.md, Retention).

The order is what makes it safe to stop anywhere: the catalog marks a file expired, the backend deletes its
object, the catalog notes that it is gone. From the first step on reads say that those seconds have expired;
what is left of the other two the next sweep finishes. No object that expired is written again: all of its
seqs are held, so a repeat of one is a duplicate.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from itertools import groupby
from typing import TypeVar

import attrs
import trio

from interview_edge.archive.store_calls import asking
from interview_edge.backends.protocol import BackendError, BackendUnavailable, ObjectInfo, StorageBackend
from interview_edge.catalog.files import FileCursor, FileRecords, StoredFile
from interview_edge.catalog.protocol import CatalogUnavailable
from interview_edge.core.keys import conflicts_prefix

PAGE = 500  # files looked at, marked and deleted at once

T = TypeVar("T")

# A block in which nobody opens the session: it gets True where the session isn't open, so may be swept.
UnlessLive = Callable[[str], AbstractAsyncContextManager[bool]]


@attrs.frozen
class Removal:
    """How a removal went. `removed` files have no object any more; `failed` says by key why one still has.

    `freed_bytes` are the sizes of the objects whose deletion the backend confirmed, each counted once,
    whoever else removed it meanwhile.
    """

    removed: Sequence[StoredFile] = ()
    failed: Mapping[str, BackendError] = attrs.field(factory=dict)
    freed_bytes: int = 0

    @property
    def outage(self) -> BackendUnavailable | None:
        """The answer that the store can't be reached, where there was one: no use in going on."""
        return next((e for e in self.failed.values() if isinstance(e, BackendUnavailable)), None)


@attrs.frozen
class RemovalCounts:
    """What a node has given up since its start, by age and by hand. `failed` counts tries, not objects."""

    files: int = 0
    freed_bytes: int = 0
    failed: int = 0


@attrs.frozen
class SweepReport:
    """What a sweep gave up, or in a dry run would. `sessions` are those that it took something from.

    `failed` objects are still in the store: the next sweep tries them again. `live` sessions had files of
    that age and kept them. `error` is the first thing that went wrong.
    """

    files: int = 0
    freed_bytes: int = 0
    failed: int = 0
    sessions: int = 0
    live: int = 0
    error: str | None = None


class FileRemover:
    """Gives files up. One a node; any number of callers at once. Between calls it keeps `counts` alone."""

    def __init__(
        self, files: FileRecords, backend: StorageBackend, *, concurrency: int, timeout: float
    ) -> None:
        """`concurrency` bounds the deletions under way, `timeout` (seconds) each call of the backend and, in
        a sweep, of the catalog.
        """
        self._files = files
        self._backend = backend
        self._concurrency = concurrency
        self._limiter = trio.CapacityLimiter(concurrency)
        self._timeout = timeout
        self.counts = RemovalCounts()

    async def remove(self, files: Sequence[StoredFile]) -> Removal:
        """Mark these files expired, delete their objects and note that they are gone.

        One that was gone before is in neither part of the answer. After the first answer that the store can't
        be reached no deletion is begun: the rest are marked, and fail with it. Raises `CatalogUnavailable`;
        then, and when it is cancelled, some files may be marked and some objects deleted: call it again, or
        let the next sweep finish. The caller sets the deadline.
        """
        removed: list[StoredFile] = []
        failed: dict[str, BackendError] = {}
        freed, outage = 0, None
        for session_id, keys in _pages(files):
            expired = await self._files.expire(session_id, keys)
            if outage is not None:
                failed |= {file.key: outage for file in expired}
                continue
            removal = await self._delete(expired)
            removed += removal.removed
            failed |= removal.failed
            freed += removal.freed_bytes
            outage = removal.outage
        return Removal(removed, failed, freed)

    async def sweep(self, before_ms: int, *, unless_live: UnlessLive, dry_run: bool = False) -> SweepReport:
        """Give up every file that was stored before `before_ms` (epoch ms) and conflicts kept since before
        then; first what earlier removals left. A dry run changes nothing.

        Sessions that are live keep theirs. A store that can't be reached ends it: the next sweep goes on.
        Raises `CatalogUnavailable`; then, and when it is cancelled, what was given up stays given up. Memory
        is a page's, however many files there are.
        """
        sweep = _Sweep(before_ms, unless_live, dry_run)
        tally = _Tally()
        await self._finish(tally, dry_run)
        after = ""
        while not tally.stopped and (
            due := await self._ask(self._files.sessions_to_sweep(before_ms, limit=PAGE, after=after))
        ):
            for session_id in due:
                if not tally.stopped:
                    await self._sweep_session(session_id, sweep, tally)
            after = due[-1]
        return tally.report()

    async def finish(self) -> SweepReport:
        """Delete what earlier removals marked and left, and nothing else. Raises and ends as `sweep` does."""
        tally = _Tally()
        await self._finish(tally)
        return tally.report()

    async def _finish(self, tally: _Tally, dry_run: bool = False) -> None:
        after: tuple[str, str] | None = None
        while not tally.stopped and (
            files := await self._ask(self._files.undeleted(limit=PAGE, after=after))
        ):
            after = files[-1].session_id, files[-1].key
            if dry_run:
                tally.count_freed(len(files), sum(file.size for file in files))
                continue
            for _, part in groupby(files, lambda file: file.session_id):
                tally.count(await self._delete(list(part)))

    async def _sweep_session(self, session_id: str, sweep: _Sweep, tally: _Tally) -> None:
        before = tally.files
        swept = await self._sweep_files(session_id, sweep, tally) and await self._sweep_conflicts(
            session_id, sweep, tally
        )
        tally.sessions += tally.files > before
        if swept and not sweep.dry_run:
            await self._ask(self._files.record_swept(session_id, sweep.before_ms))

    async def _sweep_files(self, session_id: str, sweep: _Sweep, tally: _Tally) -> bool:
        """Whether the session has no file of that age any more."""
        cursor: FileCursor | None = None
        while page := await self._ask(
            self._files.listing(
                limit=PAGE, after=cursor, session_id=session_id, stored_before=sweep.before_ms
            )
        ):
            cursor = page[-1].cursor
            # Held back for the mark alone: whoever opens the session after it finds that they have expired.
            async with sweep.unless_live(session_id) as may_be_swept:
                if not may_be_swept:
                    tally.live += 1
                    return False
                if sweep.dry_run:
                    tally.count_freed(len(page), sum(file.size for file in page))
                    continue
                expired = await self._ask(self._files.expire(session_id, [file.key for file in page]))
            tally.count(await self._delete(expired))
            if tally.stopped:
                return False
        return True

    async def _sweep_conflicts(self, session_id: str, sweep: _Sweep, tally: _Tally) -> bool:
        """Whether the session keeps no conflict of that age any more. No table names them, so the store's own
        times count.
        """
        prefix, after = conflicts_prefix(session_id), None
        while True:
            try:
                with asking(self._timeout):
                    page = [info async for info in self._backend.list(prefix, after=after, limit=PAGE)]
            except BackendError as error:
                tally.fail([error])
                return False
            old = [info for info in page if info.modified.timestamp() * 1000 < sweep.before_ms]
            if old and not await self._remove_conflicts(session_id, old, sweep, tally):
                return False
            if len(page) < PAGE:
                return True
            after = page[-1].key

    async def _remove_conflicts(
        self, session_id: str, objects: Sequence[ObjectInfo], sweep: _Sweep, tally: _Tally
    ) -> bool:
        async with sweep.unless_live(session_id) as may_be_swept:
            if not may_be_swept:
                tally.live += 1
                return False
        if sweep.dry_run:
            tally.count_freed(len(objects), sum(info.size for info in objects))
            return True
        failed = await self._delete_objects([info.key for info in objects])
        freed = [info.size for info in objects if info.key not in failed]
        tally.count_freed(len(freed), sum(freed))
        tally.fail(failed.values())
        self._count(len(freed), sum(freed), len(failed))
        return not failed

    # -- deleting

    async def _delete(self, files: Sequence[StoredFile]) -> Removal:
        """Delete the objects of expired files, all of one session, and note it."""
        failed = await self._delete_objects([file.key for file in files])
        removed = [file for file in files if file.key not in failed]
        freed = 0
        if removed:
            keys = [file.key for file in removed]
            first_noted = set(await self._ask(self._files.record_gone(removed[0].session_id, keys)))
            freed = sum(file.size for file in removed if file.key in first_noted)
        self._count(len(removed), freed, len(failed))
        return Removal(removed, failed, freed)

    async def _delete_objects(self, keys: Sequence[str]) -> dict[str, BackendError]:
        """Delete them; why some are still there, by key."""
        failed: dict[str, BackendError] = {}
        outage: BackendUnavailable | None = None
        waiting = iter(keys)

        async def delete_some() -> None:
            nonlocal outage
            for key in waiting:  # the next one that no other task has taken
                if outage is not None:
                    failed[key] = outage
                    continue
                try:
                    async with self._limiter:
                        with asking(self._timeout):
                            await self._backend.delete(key)
                except BackendError as error:
                    # Without its traceback, which holds this very frame: a cycle for the collector.
                    failed[key] = error.with_traceback(None)
                    if isinstance(error, BackendUnavailable):
                        outage = error

        async with trio.open_nursery() as nursery:
            for _ in range(min(self._concurrency, len(keys))):
                nursery.start_soon(delete_some)
        return failed

    def _count(self, files: int, freed: int, failed: int) -> None:
        before = self.counts
        self.counts = RemovalCounts(before.files + files, before.freed_bytes + freed, before.failed + failed)

    async def _ask(self, answer: Awaitable[T]) -> T:
        """One call of the catalog, with the deadline."""
        try:
            with trio.fail_after(self._timeout):
                return await answer
        except trio.TooSlowError:
            raise CatalogUnavailable(f"the catalog took over {self._timeout:g} s") from None


def _pages(files: Sequence[StoredFile]) -> Iterator[tuple[str, list[str]]]:
    """The files' keys, those of one session together, at most a page at once."""
    for session_id, part in groupby(files, lambda file: file.session_id):
        keys = [file.key for file in part]
        for start in range(0, len(keys), PAGE):
            yield session_id, keys[start : start + PAGE]


@attrs.frozen
class _Sweep:
    """What a sweep goes by."""

    before_ms: int
    unless_live: UnlessLive
    dry_run: bool


@attrs.define(eq=False)
class _Tally:
    """What a sweep has done so far; `stopped`: the store can't be reached."""

    files: int = 0
    freed_bytes: int = 0
    failed: int = 0
    sessions: int = 0
    live: int = 0
    error: BackendError | None = None
    stopped: bool = False

    def count(self, removal: Removal) -> None:
        self.count_freed(len(removal.removed), removal.freed_bytes)
        self.fail(removal.failed.values())

    def count_freed(self, files: int, freed: int) -> None:
        self.files += files
        self.freed_bytes += freed

    def fail(self, errors: Collection[BackendError]) -> None:
        """So many objects are still there, for these reasons."""
        self.failed += len(errors)
        for error in errors:
            self.error = self.error or error
            self.stopped = self.stopped or isinstance(error, BackendUnavailable)

    def report(self) -> SweepReport:
        error = None if self.error is None else f"{type(self.error).__name__}: {self.error}"
        return SweepReport(self.files, self.freed_bytes, self.failed, self.sessions, self.live, error)
