"""The one seam to SQLite (APSW): a database on its own thread, transactions, migrations, group commit.

Every SQLite file of the node is opened here, so that each is in WAL mode with `synchronous=FULL`: a
transaction whose commit returned survives kill -9 and power loss. The standard library's sqlite3 never
touches these files: two SQLite copies in one process break each other's POSIX locks
(sqlite.org/howtocorrupt.html, 2.2.1).
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar, cast

import apsw
import apsw.aio
import attrs
import trio

T = TypeVar("T")

BUSY_TIMEOUT_MS = 5_000  # only another process (a shell, a backup) can make us wait
OPEN_TIMEOUT = 10.0
CLOSE_TIMEOUT = 5.0
WAL_SIZE_LIMIT = (
    64 * 2**20
)  # a checkpoint cuts a WAL that grew beyond this, so that a burst's disk comes back


class SchemaTooNew(Exception):
    """The file was written by a newer version of this program: starting would risk it."""


class Database:
    """One SQLite file on its own thread. Made by `open_database`.

    A transaction belongs to the connection, not to a task, so each is one synchronous function that runs on
    the thread from BEGIN to COMMIT; two tasks' statements can never interleave in it.
    """

    def __init__(self, connection: apsw.AsyncConnection) -> None:
        self._connection = connection

    async def run(self, work: Callable[[apsw.Connection], T]) -> T:
        """Run `work(connection)` on the database's thread, after what was handed in before, and return its
        result.

        Raises what `work` raises. When cancelled, work that has not begun never begins; work under way is
        interrupted or finishes, its transaction whole or not at all.
        """
        # Without this APSW takes the deadline from trio and may raise TooSlowError just before trio cancels:
        # a caller's `move_on_after` would then let that error through.
        token = apsw.aio.deadline.set(math.inf)
        try:
            # On its own thread the connection behaves as a plain one; the stubs have two classes for it.
            return cast(T, await self._connection.async_run(work, cast(apsw.Connection, self._connection)))
        finally:
            apsw.aio.deadline.reset(token)

    async def transact(self, work: Callable[[apsw.Connection], T]) -> T:
        """`run` as one transaction: durable when it returns, rolled back when it raises."""
        return await self.run(partial(in_transaction, work=work))


def in_transaction(connection: apsw.Connection, work: Callable[[apsw.Connection], T]) -> T:
    """Run `work` between BEGIN IMMEDIATE and COMMIT, on the database's thread. Rolls back where either
    fails.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = work(connection)
        connection.execute("COMMIT")
    except BaseException:  # APSW interrupts a cancelled call with a BaseException of its own
        # SQLite itself rolls back on some errors (FULL, IOERR); then there is nothing left to do.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return result


def in_snapshot(connection: apsw.Connection, work: Callable[[apsw.Connection], T]) -> T:
    """Run `work`, which only reads, so that all its statements see one state of the database."""
    connection.execute("BEGIN")
    try:
        return work(connection)
    finally:
        connection.execute("ROLLBACK")


@asynccontextmanager
async def open_database(
    path: Path,
    *,
    migrations: str | None = None,
    page_size: int = 4096,
    incremental_vacuum: bool = False,
    vfs: str | None = None,
) -> AsyncIterator[Database]:
    """Open `path` (made where it is missing), bring its schema up to date, and close it at the end.

    `migrations` is the package whose `migrations/*.sql` make the schema; None opens the file as it is, for a
    second connection that only reads. `page_size` and `incremental_vacuum` count for new files only.
    Raises `apsw.Error` and `SchemaTooNew`.
    """
    # Named outright: APSW would guess it from what happens to be imported.
    token = apsw.async_controller.set(apsw.aio.Trio)  # type: ignore[arg-type]  # stub: an instance; APSW wants a factory
    try:
        # A cancelled open would leave its thread behind, waiting for ever, so that the process never exits.
        with trio.fail_after(OPEN_TIMEOUT, shield=True):
            connection = await apsw.Connection.as_async(str(path), vfs=vfs)
    except trio.TooSlowError:
        raise apsw.CantOpenError(f"{path} did not open within {OPEN_TIMEOUT:g} s") from None
    finally:
        apsw.async_controller.reset(token)
    database = Database(connection)
    try:
        await database.run(partial(configure, page_size=page_size, incremental_vacuum=incremental_vacuum))
        if migrations is not None:
            await database.run(partial(migrate, package=migrations))
            # SQLite syncs the folder for its WAL, not for a new main file.
            await trio.to_thread.run_sync(sync_folder, path.parent)
        yield database
    finally:
        # The last close moves the WAL into the file; where the disk fails that, the WAL keeps it for the next
        # start.
        with trio.move_on_after(CLOSE_TIMEOUT, shield=True), suppress(apsw.Error):
            await connection.aclose()


def configure(connection: apsw.Connection, *, page_size: int, incremental_vacuum: bool) -> None:
    """Set what every connection of ours has. On the database's thread, before the schema."""
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    # Both are laid down with the first page, so they come before everything that writes.
    connection.pragma("page_size", page_size)
    if incremental_vacuum:
        connection.pragma("auto_vacuum", "INCREMENTAL")
    mode = connection.pragma("journal_mode", "wal")
    if mode != "wal":
        raise apsw.CantOpenError(
            f"SQLite can't use WAL here (journal_mode stays {mode!r}); is it a network disk?"
        )
    connection.pragma("synchronous", "FULL")
    connection.pragma("foreign_keys", "ON")
    connection.pragma("journal_size_limit", WAL_SIZE_LIMIT)
    # "x" is an identifier and never a string: a misspelt column is an error.
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 0)


def sync_folder(folder: Path) -> None:
    """fsync a folder: entries made, renamed or deleted in it survive power loss from here on."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def migrate(connection: apsw.Connection, *, package: str) -> None:
    """Apply the migrations of `package` that the file lacks: its `migrations/NNNN_what.sql`, numbered from 1
    without holes.

    Forward only, each in its own transaction with `user_version` = its number. Raises `SchemaTooNew` where
    the file has a higher number than this program knows.
    """
    folder = files(package) / "migrations"
    scripts = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    version = connection.pragma("user_version")
    if version > len(scripts):
        raise SchemaTooNew(
            f"schema {version} of {connection.filename} is newer than this program's {len(scripts)}"
        )
    for number, script in enumerate(scripts, start=1):
        if not script.name.startswith(f"{number:04d}_"):
            raise ValueError(f"migration {script.name} of {package} should have number {number:04d}")
        if number > version:
            in_transaction(connection, partial(_apply, text=script.read_text("utf-8"), number=number))


def _apply(connection: apsw.Connection, *, text: str, number: int) -> None:
    connection.execute(text)
    connection.pragma("user_version", number)


@attrs.define(eq=False)
class _Piece:
    """One caller's work, and how it went."""

    work: Callable[[apsw.Connection], Any]
    settled: trio.Event = attrs.field(factory=trio.Event)
    result: Any = None
    error: BaseException | None = None


class GroupCommit:
    """Many callers' small transactions as few large ones: one fsync serves all that waited.

    While one batch commits the next gathers. Each piece of work runs in a savepoint of its own, so a piece
    that raises fails alone; an error of the database (disk full, I/O) fails the whole batch, of which nothing
    is kept.
    """

    def __init__(self, database: Database, *, max_batch: int = 256, max_waiting: int = 4096) -> None:
        self._database = database
        self._max_batch = max_batch
        self._waiting: deque[_Piece] = deque()
        self._room = trio.CapacityLimiter(max_waiting)
        self._wakeup = trio.Event()
        self._closed = False

    async def run(self, work: Callable[[apsw.Connection], T]) -> T:
        """Run `work(connection)` inside the next transaction; its result, once that is durable.

        Raises what `work` raises, `apsw.Error` where the transaction failed, `apsw.ConnectionClosedError`
        once `serve` has ended. A cancelled caller's work either never begins or commits whole.
        """
        piece = _Piece(work)
        async with self._room:
            if self._closed:
                raise apsw.ConnectionClosedError("the database is closed")
            self._waiting.append(piece)
            self._wakeup.set()
            try:
                await piece.settled.wait()
            except trio.Cancelled:
                if piece in self._waiting:
                    self._waiting.remove(piece)
                raise
        if piece.error is not None:
            raise piece.error
        return cast(T, piece.result)

    @property
    def closed(self) -> bool:
        """Whether `close` was called, or `serve` has ended."""
        return self._closed

    def close(self) -> None:
        """Take no more work; `serve` commits what waits and returns."""
        self._closed = True
        self._wakeup.set()

    async def serve(self) -> None:
        """Commit what is handed in until `close` or a cancellation: the owner's nursery runs this task."""
        batch: list[_Piece] = []
        try:
            while True:
                while not self._waiting:
                    if self._closed:
                        return
                    self._wakeup = trio.Event()
                    await self._wakeup.wait()
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._max_batch))]
                try:
                    await self._database.transact(partial(_run_pieces, pieces=batch))
                except apsw.Error as error:
                    for piece in batch:
                        piece.error = error
                for piece in batch:
                    piece.settled.set()
        finally:
            self._closed = True
            for piece in (*batch, *self._waiting):
                if not piece.settled.is_set():
                    piece.error = apsw.ConnectionClosedError("the database was closed during the call")
                    piece.settled.set()


def _run_pieces(connection: apsw.Connection, *, pieces: list[_Piece]) -> None:
    for piece in pieces:
        try:
            with connection:  # inside a transaction this is a savepoint
                piece.result = piece.work(connection)
        except apsw.ConstraintError as error:
            piece.error = error
        except apsw.Error:
            raise  # the database's trouble, so everybody's
        except Exception as error:  # whatever a caller's work raises is that caller's
            piece.error = error
