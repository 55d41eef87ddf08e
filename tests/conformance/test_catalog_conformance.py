"""The built-in catalog keeps the contract, and the suite notices one that doesn't."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest

from interview_edge.catalog import Catalog, StoredChunks, open_sqlite_catalog
from interview_edge.testing import check_catalog


async def test_sqlite_keeps_the_contract(tmp_path: Path) -> None:
    files = itertools.count()
    await check_catalog(lambda: open_sqlite_catalog(tmp_path / f"{next(files)}.db"))


async def test_a_catalog_that_counts_duplicates_twice_is_told_so(tmp_path: Path) -> None:
    files = itertools.count()

    class CountsTwice:
        def __init__(self, catalog: Catalog) -> None:
            self._catalog = catalog

        def __getattr__(self, name: str) -> object:
            return getattr(self._catalog, name)

        async def record_stored(self, stored: StoredChunks) -> Sequence[int]:
            await self._catalog.record_stored(attrs.evolve(stored, extents=()))
            return await self._catalog.record_stored(stored)

    @asynccontextmanager
    async def open_broken() -> AsyncIterator[CountsTwice]:
        async with open_sqlite_catalog(tmp_path / f"{next(files)}.db") as catalog:
            yield CountsTwice(catalog)

    with pytest.raises(AssertionError, match="record_stored merges the ledger"):
        await check_catalog(open_broken)
