"""The SQLite seam: transactions on the database's thread, migrations, one commit for many callers."""

from __future__ import annotations

import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import apsw
import pytest
import trio
import trio.lowlevel
import trio.testing

from interview_edge.sqlite import Database, GroupCommit, SchemaTooNew, in_transaction, migrate, open_database


def add(connection: apsw.Connection, n: int) -> int:
    connection.execute("INSERT INTO numbers VALUES (?)", (n,))
    return n * 10


def numbers(connection: apsw.Connection) -> list[int]:
    return [n for (n,) in connection.execute("SELECT n FROM numbers ORDER BY n")]


@asynccontextmanager
async def open_numbers(path: Path) -> AsyncIterator[Database]:
    async with open_database(path) as database:
        await database.transact(
            lambda c: c.execute("CREATE TABLE IF NOT EXISTS numbers (n INTEGER PRIMARY KEY)").fetchall()
        )
        yield database


@asynccontextmanager
async def serving(database: Database, **options: int) -> AsyncIterator[GroupCommit]:
    async with trio.open_nursery() as nursery:
        commits = GroupCommit(database, **options)
        nursery.start_soon(commits.serve)
        try:
            yield commits
        finally:
            commits.close()


async def test_a_connection_is_set_up_to_survive_power_loss(tmp_path: Path) -> None:
    async with open_numbers(tmp_path / "a.db") as database:
        settings = await database.run(
            lambda c: [c.pragma(name) for name in ("journal_mode", "synchronous", "foreign_keys")]
        )
    assert settings == ["wal", 2, 1]


async def test_a_cancelled_open_leaves_no_thread_behind(tmp_path: Path) -> None:
    before = threading.active_count()
    with trio.move_on_after(0):
        async with open_database(tmp_path / "a.db"):
            pytest.fail("a cancelled open went on")
    with trio.fail_after(5):
        while threading.active_count() > before:
            await trio.sleep(0.001)


async def test_a_transaction_that_raises_leaves_nothing(tmp_path: Path) -> None:
    def add_then_fail(connection: apsw.Connection) -> None:
        add(connection, 1)
        raise LookupError

    async with open_numbers(tmp_path / "a.db") as database:
        with pytest.raises(LookupError):
            await database.transact(add_then_fail)
        assert await database.transact(partial(add, n=2)) == 20
        assert await database.run(numbers) == [2]


async def test_a_cancelled_transaction_happens_whole_or_not_at_all(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def add_slowly(connection: apsw.Connection) -> None:
        add(connection, 1)
        begun.set()
        assert go_on.wait(5)
        add(connection, 2)

    async with open_numbers(tmp_path / "a.db") as database:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(database.transact, add_slowly)
            await trio.to_thread.run_sync(begun.wait)
            nursery.cancel_scope.cancel()
        go_on.set()
        assert await database.run(numbers) in ([], [1, 2])


async def test_a_deadline_is_a_cancellation_and_not_an_error(tmp_path: Path) -> None:
    """APSW would raise TooSlowError out of the block at about the same moment."""
    async with open_numbers(tmp_path / "a.db") as database:
        for _ in range(20):
            with trio.move_on_after(0.001) as scope:
                await database.run(
                    lambda c: c.execute(
                        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
                    ).fetchall()
                )
            assert scope.cancelled_caught


async def test_callers_that_wait_share_a_transaction_and_fail_alone(tmp_path: Path) -> None:
    outcomes: dict[str, object] = {}
    transactions: list[int] = []

    async def call(name: str, commits: GroupCommit, work: Callable[[apsw.Connection], object]) -> None:
        try:
            outcomes[name] = await commits.run(work)
        except (LookupError, apsw.ConstraintError) as error:
            outcomes[name] = type(error)

    def add_then_fail(connection: apsw.Connection) -> None:
        add(connection, 3)
        raise LookupError

    async with open_numbers(tmp_path / "a.db") as database:
        await database.run(lambda c: c.set_commit_hook(lambda: bool(transactions.append(1))))
        async with serving(database) as commits, trio.open_nursery() as nursery:
            nursery.start_soon(call, "first", commits, partial(add, n=1))
            nursery.start_soon(call, "second", commits, partial(add, n=2))
            nursery.start_soon(call, "own error", commits, add_then_fail)
            nursery.start_soon(call, "same key twice", commits, lambda c: [add(c, 4), add(c, 4)])
        assert outcomes == {
            "first": 10,
            "second": 20,
            "own error": LookupError,
            "same key twice": apsw.ConstraintError,
        }
        assert await database.run(numbers) == [1, 2]
        assert len(transactions) < 4


async def test_trouble_of_the_database_is_every_callers_and_nothing_is_kept(tmp_path: Path) -> None:
    def fail(_: apsw.Connection) -> None:
        raise apsw.FullError("as the test asked")

    failed: list[int] = []

    async def call(commits: GroupCommit, work: Callable[[apsw.Connection], object]) -> None:
        with pytest.raises(apsw.FullError):
            await commits.run(work)
        failed.append(1)

    async with open_numbers(tmp_path / "a.db") as database:
        commits = GroupCommit(database)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, commits, partial(add, n=1))
            nursery.start_soon(call, commits, fail)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(commits.serve)
            while len(failed) < 2:
                await trio.lowlevel.checkpoint()
            assert await commits.run(partial(add, n=2)) == 20
            commits.close()
        assert await database.run(numbers) == [2]


async def test_a_cancelled_caller_takes_back_what_has_not_begun(tmp_path: Path) -> None:
    async with open_numbers(tmp_path / "a.db") as database:
        commits = GroupCommit(database)
        with trio.move_on_after(0):
            await commits.run(partial(add, n=1))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(commits.serve)
            await commits.run(partial(add, n=2))
            commits.close()
        assert await database.run(numbers) == [2]


async def test_a_closed_committer_refuses_and_a_cancelled_one_frees_its_callers(tmp_path: Path) -> None:
    async with open_numbers(tmp_path / "a.db") as database:
        async with serving(database) as commits:
            assert await commits.run(partial(add, n=1)) == 10
        with pytest.raises(apsw.ConnectionClosedError):
            await commits.run(partial(add, n=2))
        abandoned = GroupCommit(database)
        async with trio.open_nursery() as callers:
            callers.start_soon(_expect_closed, abandoned)
            await trio.testing.wait_all_tasks_blocked()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(abandoned.serve)
                nursery.cancel_scope.cancel()


async def _expect_closed(commits: GroupCommit) -> None:
    with pytest.raises(apsw.ConnectionClosedError):
        await commits.run(partial(add, n=3))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An importable package with two migrations."""
    folder = tmp_path / "somebodys_schema" / "migrations"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    (folder / "0001_first.sql").write_text("CREATE TABLE first (n INTEGER); INSERT INTO first VALUES (1);")
    (folder / "0002_second.sql").write_text("CREATE TABLE second (n INTEGER);")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "somebodys_schema", raising=False)
    return folder


def test_migrations_are_applied_once_and_in_order(package: Path) -> None:
    connection = apsw.Connection(":memory:")
    for _ in range(2):
        migrate(connection, package="somebodys_schema")
    assert connection.pragma("user_version") == 2
    assert connection.execute("SELECT count(*) FROM first").get == 1
    (package / "0003_third.sql").write_text("DROP TABLE second;")
    migrate(connection, package="somebodys_schema")
    assert connection.pragma("user_version") == 3
    connection.close()


def test_a_migration_that_fails_leaves_the_file_at_the_one_before(package: Path) -> None:
    (package / "0002_second.sql").write_text("CREATE TABLE second (n INTEGER); SELECT no_such_function();")
    connection = apsw.Connection(":memory:")
    with pytest.raises(apsw.SQLError):
        migrate(connection, package="somebodys_schema")
    assert connection.pragma("user_version") == 1
    assert connection.execute("SELECT count(*) FROM sqlite_schema").get == 1
    connection.close()


def test_a_file_of_a_newer_version_is_refused(package: Path) -> None:
    connection = apsw.Connection(":memory:")
    connection.pragma("user_version", 3)
    with pytest.raises(SchemaTooNew, match="newer"):
        migrate(connection, package="somebodys_schema")
    connection.close()


def test_a_hole_in_the_numbers_is_refused(package: Path) -> None:
    (package / "0004_fourth.sql").write_text("SELECT 1;")
    connection = apsw.Connection(":memory:")
    with pytest.raises(ValueError, match="0003"):
        migrate(connection, package="somebodys_schema")
    connection.close()


def test_a_rollback_by_sqlite_itself_is_left_alone() -> None:
    connection = apsw.Connection(":memory:")

    def roll_back(c: apsw.Connection) -> None:
        c.execute("ROLLBACK")
        raise LookupError

    with pytest.raises(LookupError):
        in_transaction(connection, roll_back)
    assert not connection.in_transaction
    connection.close()
