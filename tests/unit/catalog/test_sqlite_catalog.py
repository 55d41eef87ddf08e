"""What is the SQLite catalog's own: opening, durability across a reopen, errors at its boundary."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from interview_edge.catalog import CatalogUnavailable, SessionIsDeleted, open_catalog, open_sqlite_catalog
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
