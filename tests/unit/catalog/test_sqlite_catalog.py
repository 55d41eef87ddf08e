"""What is the SQLite catalog's own: opening, durability across a reopen, errors at its boundary."""

from __future__ import annotations

from pathlib import Path

import apsw
import attrs
import pytest

from interview_edge.catalog import CatalogUnavailable, SessionIsDeleted, open_catalog, open_sqlite_catalog
from interview_edge.catalog.files import FileCursor, FileTotals
from interview_edge.catalog.sqlite_files import listing
from interview_edge.core.models import Extent, NewEvent, StreamKey
from interview_edge.sqlite import SchemaTooNew
from interview_edge.testing.catalog_steps import stored_chunks


async def test_everything_is_there_after_a_reopen(tmp_path: Path) -> None:
    async with open_catalog(f"sqlite://{tmp_path}/catalog.db") as catalog:
        await catalog.open_session("session", 1)
        await catalog.record_stored(stored_chunks(1, 3, duplicates=2))
        await catalog.append_events("session", [NewEvent(1, "resolve", {"a": 1})], at=5)
        before = await catalog.load_session("session")
    async with open_catalog(f"sqlite://{tmp_path}/catalog.db") as catalog:
        assert await catalog.load_session("session") == before
        assert [e.first for e in await catalog.extents(StreamKey("session"))] == [1]
        assert (await catalog.open_session("session", 9)).epoch == 2


@pytest.mark.parametrize("url", ["postgresql://host/db", "sqlite://relative.db", "/just/a/path", ""])
def test_another_url_is_refused_with_what_there_is(url: str) -> None:
    with pytest.raises(ValueError, match="sqlite:///absolute/path"):
        open_catalog(url)


async def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CatalogUnavailable, match="nowhere"):
        async with open_sqlite_catalog(tmp_path / "nowhere" / "catalog.db"):
            pass


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    async with open_sqlite_catalog(tmp_path / "catalog.db"):
        pass
    connection = apsw.Connection(str(tmp_path / "catalog.db"))
    connection.pragma("user_version", 999)
    connection.close()
    with pytest.raises(SchemaTooNew):
        async with open_sqlite_catalog(tmp_path / "catalog.db"):
            pass


async def test_a_failing_database_is_unavailable_and_nothing_of_the_call_is_seen(tmp_path: Path) -> None:
    async with open_sqlite_catalog(tmp_path / "catalog.db") as catalog:
        await catalog.open_session("session", 1)
        breaker = apsw.Connection(str(tmp_path / "catalog.db"))
        breaker.execute("ALTER TABLE identities RENAME TO gone")
        with pytest.raises(CatalogUnavailable):
            await catalog.record_stored(stored_chunks(1, 3))
        assert await catalog.extents(StreamKey("session")) == []
        breaker.execute("ALTER TABLE gone RENAME TO identities")
        breaker.close()
        assert await catalog.record_stored(stored_chunks(1, 3)) == []


async def test_one_callers_tombstone_does_not_disturb_the_others(tmp_path: Path) -> None:
    async with open_sqlite_catalog(tmp_path / "catalog.db") as catalog:
        await catalog.mark_deleted("deleted", 1)
        with pytest.raises(SessionIsDeleted):
            await catalog.open_session("deleted", 2)
        assert (await catalog.open_session("session", 2)).epoch == 1


async def test_finding_a_late_second_costs_the_same_as_finding_an_early_one(tmp_path: Path) -> None:
    """The search is bounded by the stream's longest extent, not by how many came before."""
    path = tmp_path / "catalog.db"
    async with open_sqlite_catalog(path) as catalog:
        step = stored_chunks(1, 1)
        many = [Extent(n, n, f"o/{n}", 32_000, b"h" * 32) for n in range(1, 2_001)]
        await catalog.record_stored(type(step)(step.key, many, {}, step.ledger, 1))
        reader = apsw.Connection(str(path))
        (plan,) = [
            detail
            for *_, detail in reader.execute(
                "EXPLAIN QUERY PLAN SELECT 1 FROM objects o "
                "JOIN streams s ON s.session_id = o.session_id AND s.stream = o.stream "
                "WHERE o.session_id = 'session' AND o.stream = 'mixed' "
                "AND o.first > 1500 - s.longest_extent AND o.last >= 1500 AND o.first <= 1500"
            )
            if " o " in detail
        ]
        reader.close()
        assert "first>?" in plan
        assert "first<?" in plan
        assert [e.first for e in await catalog.extents(step.key, 1_500, 1_500)] == [1_500]


async def test_files_of_an_older_version_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    key = StreamKey("session")
    async with open_sqlite_catalog(path) as catalog:
        await catalog.record_stored(stored_chunks(1, 1, key=key))
        segment = stored_chunks(2, 3, key=key)
        parts = [Extent(n, n, "o/segment", 32_000, b"h" * 32, "flac", object_size=9_000) for n in (2, 3)]
        await catalog.record_stored(attrs.evolve(segment, extents=parts))
        await catalog.files.expire("session", ["o/1-1"])
        counted = await catalog.files.totals()
    assert counted == FileTotals(1, 9_000, 1)
    _undo_the_migrations(path)
    async with open_sqlite_catalog(path) as catalog:
        assert await catalog.files.totals() == counted
        assert await catalog.files.sessions_to_sweep(10**9, limit=5) == ["session"]


def _undo_the_migrations(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.execute(
        "DROP INDEX objects_undeleted; DROP INDEX objects_expired; "
        "ALTER TABLE streams DROP COLUMN file_count; "
        "ALTER TABLE streams DROP COLUMN file_bytes; ALTER TABLE sessions DROP COLUMN swept_before; "
        "DROP TABLE untranscribed; DROP INDEX sessions_lines_missing; "
        "ALTER TABLE sessions DROP COLUMN lines_missing"
    )
    connection.pragma("user_version", 2)
    connection.close()


async def test_a_page_of_files_is_found_and_not_searched(tmp_path: Path) -> None:
    """However many files a session has, a page of them costs what it shows."""
    path = tmp_path / "catalog.db"
    async with open_sqlite_catalog(path) as catalog:
        await catalog.record_stored(stored_chunks(1, 1))
        seen: list[str] = []
        reader = apsw.Connection(str(path))
        reader.exec_trace = lambda _, statement, __: not seen.append(statement)
        cursor = FileCursor(created_at=1_000, session_id="session", stream="mixed", first=500, key="o/500")
        assert listing(reader, 50, cursor, None, None, None) == []
        reader.exec_trace = None
        (files,) = [statement for statement in seen if "objects o" in statement]
        plan = [
            row[3] for row in reader.execute(f"EXPLAIN QUERY PLAN {files}", ["session", "mixed", 1, "o", 9])
        ]
        reader.close()
    assert any("SEARCH o USING INDEX" in step and "(stream,first)>(?,?)" in step for step in plan), plan
    assert "USE TEMP B-TREE FOR ORDER BY" not in plan
