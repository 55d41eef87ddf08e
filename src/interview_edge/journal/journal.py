"""The journal: the node's own durable spool. Its commit is the ack.

What it promises: once `Append.done(None)` was called, the chunk survives kill -9, power loss and a full disk
(WAL with synchronous=FULL: the commit's fsync came before), byte for byte, until `trim` or `drop_session`
names it. It is never dropped for age, size or errors: a journal that can't commit keeps what it was given and
retries for ever, and one that is full refuses new chunks. It is one file on one node: the loss of that disk
is beyond it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import apsw
import attrs
import trio

from interview_edge.core.models import StreamKey
from interview_edge.core.pcm import CHUNK_BYTES
from interview_edge.journal import tables
from interview_edge.journal.damage import ensure_sound
from interview_edge.journal.errors import (
    JournalBusy,
    JournalClosed,
    JournalConflict,
    JournalFull,
    JournalUnavailable,
)
from interview_edge.journal.records import Append, JournalledStream, JournalRow, ObjectPlan
from interview_edge.sqlite import Database, in_transaction, open_database

T = TypeVar("T")

# A chunk's audio is four pages of its own. Smaller ones cost more CPU; of larger ones more is written for the
# few small columns beside it (a commit of one chunk: 99 kB with 8 KiB, 129 with 16).
PAGE_SIZE = 8_192
BATCH_BYTES = 8 * 10**6
BATCH_ENTRIES = 256
ENTRY_BYTES = 1_024  # what an entry costs beside its PCM, so that repeats fill the queue too
MAX_ROWS = 10_000


@attrs.frozen
class JournalStats:
    """The journal at this moment. `rows` and `bytes` (of PCM) are committed, `queued_*` are not yet.

    `stalled` says why commits fail, `full` why new chunks are refused; None where they aren't.
    """

    rows: int
    bytes: int
    used_bytes: int
    queued_entries: int
    queued_bytes: int
    stalled: str | None
    full: str | None = None


def _nothing(*_: object) -> None:
    """What is told to an owner that doesn't listen."""


class Journal:
    """See the module's text for the promise. Made by `open_journal`; used on the trio thread only."""

    def __init__(
        self,
        writer: Database,
        reader: Database,
        space: tables.Space,
        path: Path,
        *,
        max_bytes: int,
        min_free_bytes: int,
        queue_bytes: int,
        retry_interval: float,
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._space = space  # replaced by the writer's thread only, right after its commits
        self._folder = path.parent
        self._free = _free_bytes(self._folder)
        self._max_bytes = max_bytes
        self._min_free_bytes = min_free_bytes
        self._max_queued = queue_bytes
        self._retry_interval = retry_interval
        self._queue: deque[Append] = deque()
        self._queued_entries = self._queued_bytes = 0  # the batch under way included
        self._wakeup = trio.Event()
        self._room = trio.lowlevel.ParkingLot()
        self._closing = trio.Event()
        self._close_scope = trio.CancelScope(shield=True)
        self._stalled: Exception | None = None
        self._on_batch: Callable[[], None] = _nothing
        self._on_stall: Callable[[Exception], None] = _nothing
        self._on_recover: Callable[[], None] = _nothing

    def listen(
        self,
        *,
        on_batch: Callable[[], None] = _nothing,
        on_stall: Callable[[Exception], None] = _nothing,
        on_recover: Callable[[], None] = _nothing,
    ) -> None:
        """Register the owner's callbacks, called on the trio thread; they must not raise.

        `on_batch` after the `done`s of each batch, `on_stall` once when commits begin to fail, `on_recover`
        once when they work again (before that batch's `done`s).
        """
        self._on_batch, self._on_stall, self._on_recover = on_batch, on_stall, on_recover

    # -- appending

    def append(self, entry: Append) -> None:
        """Queue a chunk for the next commit; `entry.done` tells the outcome. Never blocks.

        Raises `JournalBusy`, `JournalFull` or `JournalClosed`; `entry.done` is then never called.
        """
        if self._closing.is_set():
            raise JournalClosed("the journal is closed")
        size = _weight(entry)
        if self._queued_bytes + size > self._max_queued:
            raise JournalBusy(f"{self._queued_bytes} bytes wait for their commit")
        if not entry.repeat:
            self._ensure_space(self._queued_bytes + size)
        self._queue.append(entry)
        self._queued_entries += 1
        self._queued_bytes += size
        self._wakeup.set()

    @property
    def has_room(self) -> bool:
        """Whether `append` would take a chunk as far as the queue is concerned."""
        return self._queued_bytes + ENTRY_BYTES + CHUNK_BYTES <= self._max_queued

    async def wait_for_room(self) -> None:
        """Wait until the queue has room for a chunk or the journal closes. No deadline
        of its own: a journal that can't commit makes none.
        """
        while not self.has_room and not self._closing.is_set():
            await self._room.park()

    def _ensure_space(self, wanted: int) -> None:
        full = self._why_full(wanted)
        if full is not None:
            raise JournalFull(full)

    def _why_full(self, wanted: int) -> str | None:
        """Why `wanted` bytes more can't be taken; None where they can."""
        if self._space.used + wanted > self._max_bytes:
            return f"the journal holds {self._space.used} bytes of at most {self._max_bytes}"
        if self._free - wanted >= self._min_free_bytes:
            return None
        # Somebody else may have freed the disk since the last commit: ask again before refusing (a few µs).
        self._free = _free_bytes(self._folder)
        if self._free - wanted < self._min_free_bytes:
            return f"the disk has {self._free} bytes free; {self._min_free_bytes} are kept"
        return None

    @property
    def stalled(self) -> Exception | None:
        """Why commits fail at present; None when they work."""
        return self._stalled

    @property
    def stats(self) -> JournalStats:
        space = self._space
        self._free = _free_bytes(self._folder)  # others may have taken it since the last commit
        return JournalStats(
            rows=space.rows,
            bytes=space.bytes,
            used_bytes=space.used,
            queued_entries=self._queued_entries,
            queued_bytes=self._queued_bytes,
            stalled=None if self._stalled is None else str(self._stalled),
            full=self._why_full(self._queued_bytes + ENTRY_BYTES + CHUNK_BYTES),
        )

    # -- the committer

    async def _commit_forever(self) -> None:
        """The one committer. Shielded, since a cancelled owner still wants its last entries safe; `_close`,
        which always runs, sets the shield's deadline."""
        batch: list[Append] = []
        with self._close_scope:
            while await self._something_queued():
                batch = self._take()
                conflicts = await self._insert(batch)
                if conflicts is None:
                    break
                self._settle(batch, conflicts)
                batch = []
        for entry in (*batch, *self._queue):
            entry.done(JournalClosed("the journal closed before this commit was known to be durable"))
        self._queue.clear()
        self._queued_entries = self._queued_bytes = 0

    async def _something_queued(self) -> bool:
        """Wait for entries; False when there are none and none will come."""
        while not self._queue:
            if self._closing.is_set():
                return False
            self._wakeup = trio.Event()
            await self._wakeup.wait()
        return True

    def _take(self) -> list[Append]:
        batch: list[Append] = []
        room = BATCH_BYTES
        while self._queue and len(batch) < BATCH_ENTRIES and room > 0:
            entry = self._queue.popleft()
            batch.append(entry)
            room -= _weight(entry)
        return batch

    async def _insert(self, batch: list[Append]) -> frozenset[int] | None:
        """Commit the batch, however often it takes; the positions of conflicts. None where the journal is
        closing and it still fails."""
        while True:
            last_try = self._closing.is_set()
            try:
                conflicts = await self._writer.run(partial(self._write, batch=batch))
            except apsw.Error as error:
                if self._stalled is None:
                    self._stalled = error
                    self._on_stall(error)
                self._stalled = error
                if last_try:
                    return None
                with trio.move_on_after(self._retry_interval):
                    await self._closing.wait()
            else:
                if self._stalled is not None:
                    self._stalled = None
                    self._on_recover()
                return conflicts

    def _write(self, connection: apsw.Connection, batch: list[Append]) -> frozenset[int]:
        """On the writer's thread: one batch, one transaction."""
        inserted = in_transaction(connection, partial(tables.insert, batch=batch))
        self._space = self._space.plus(inserted.space)
        return inserted.conflicts

    def _settle(self, batch: list[Append], conflicts: frozenset[int]) -> None:
        """Tell every entry of a committed batch, in order and without a checkpoint between."""
        self._free = _free_bytes(self._folder)
        self._queued_entries -= len(batch)
        self._queued_bytes -= sum(map(_weight, batch))
        for position, entry in enumerate(batch):
            if position in conflicts:
                entry.done(
                    JournalConflict(f"another chunk is journalled at seq {entry.chunk.seq} of {entry.key}")
                )
            else:
                entry.done(None)
        self._room.unpark_all()  # who is woken may find that it has nothing to append any more
        self._on_batch()

    def _close(self, timeout: float) -> None:
        self._closing.set()
        self._wakeup.set()
        self._room.unpark_all()
        self._close_scope.deadline = trio.current_time() + timeout

    # -- reading: on a connection of its own, so that no commit waits for a read

    async def streams(self) -> Sequence[JournalledStream]:
        """Every stream with something in the journal. Reads all rows' small columns: for the start."""
        return await self._ask(self._reader, tables.streams)

    async def repeats(self, session_id: str) -> dict[str, int]:
        """The session's streams that are in the journal, each with the repeats that the catalog doesn't count
        yet.
        """
        return await self._ask(self._reader, partial(tables.repeats, session_id=session_id))

    async def rows(
        self, key: StreamKey, first: int = 1, last: int | None = None, *, limit: int = MAX_ROWS
    ) -> Sequence[JournalRow]:
        """Rows of `first..last`, ascending, at most `limit`; their audio is not read."""
        return await self._ask(
            self._reader, partial(tables.rows, key=key, first=first, last=last, limit=limit)
        )

    async def read(self, key: StreamKey, first: int, last: int) -> Sequence[tuple[int, bytes]]:
        """(seq, PCM) of those of `first..last` that are journalled, ascending. The caller bounds the range.

        Each is checked against its sha256; raises `JournalDamaged` where one doesn't match.
        """
        return await self._ask(self._reader, partial(tables.read, key=key, first=first, last=last))

    async def plans(self, key: StreamKey) -> Sequence[ObjectPlan]:
        """The stream's plans, in order of `first`."""
        return await self._ask(self._reader, partial(tables.plans, key=key))

    # -- the archive's writes: between two batches, each one transaction

    async def record_plans(self, plans: Iterable[ObjectPlan]) -> None:
        """Write plans down, durably, before their puts. One that stands for the same seqs stays as it is."""
        plans = tuple(plans)
        await self._ask(
            self._writer,
            lambda connection: in_transaction(connection, lambda c: tables.write_plans(c, plans)),
        )

    async def trim(self, key: StreamKey, seqs: Iterable[tuple[int, int]], duplicates: int = 0) -> None:
        """Forget the seqs in these ranges (first, last), the plans that lie wholly in one of them, and
        `duplicates` counted repeats; the stream too when nothing of it is left. One transaction; idempotent
        but for `duplicates`.

        Only for what the backend confirmed and the catalog committed (invariant 4).
        """
        await self._forget(partial(tables.trim, key=key, ranges=tuple(seqs), duplicates=duplicates))

    async def drop_session(self, session_id: str) -> None:
        """Forget everything of a deleted session. Idempotent."""
        await self._forget(partial(tables.drop_session, session_id=session_id))

    async def _forget(self, work: Callable[[apsw.Connection], tables.Space]) -> None:
        def delete(connection: apsw.Connection) -> None:
            self._space = self._space.plus(in_transaction(connection, work))
            tables.give_back_pages(connection)

        await self._ask(self._writer, delete)

    async def _ask(self, database: Database, work: Callable[[apsw.Connection], T]) -> T:
        try:
            return await database.run(work)
        except apsw.Error as error:
            raise JournalUnavailable(str(error)) from error


def _weight(entry: Append) -> int:
    """Bytes that an entry counts in the queue."""
    return ENTRY_BYTES if entry.repeat else ENTRY_BYTES + len(entry.chunk.pcm)


def _free_bytes(folder: Path) -> int:
    try:
        stat = os.statvfs(folder)
    except OSError:  # a failing disk: it takes no more, and what it took goes on
        return 0
    return stat.f_bavail * stat.f_frsize


@asynccontextmanager
async def open_journal(
    path: Path,
    *,
    max_bytes: int,
    min_free_bytes: int,
    queue_bytes: int,
    retry_interval: float,
    salvage: bool = False,
    close_timeout: float = 5.0,
    vfs: str | None = None,
) -> AsyncIterator[Journal]:
    """Open the journal and run its committer; at the end, commit what is queued within `close_timeout`.

    Raises `JournalDamaged` for a damaged file, which stays untouched, unless `salvage` says to go on with
    what can be saved (see damage.py). `vfs` names another APSW VFS, for tests. Cancelling the owner still
    commits what is queued, within the same `close_timeout`.
    """
    await trio.to_thread.run_sync(
        partial(ensure_sound, path, salvage=salvage, page_size=PAGE_SIZE, vfs=vfs), abandon_on_cancel=False
    )
    open_file = partial(open_database, path, vfs=vfs, page_size=PAGE_SIZE, incremental_vacuum=True)
    async with open_file(migrations="interview_edge.journal") as writer, open_file() as reader:
        journal = Journal(
            writer,
            reader,
            await writer.run(tables.measure),
            path,
            max_bytes=max_bytes,
            min_free_bytes=min_free_bytes,
            queue_bytes=queue_bytes,
            retry_interval=retry_interval,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(journal._commit_forever)
            try:
                yield journal
            finally:
                journal._close(close_timeout)
