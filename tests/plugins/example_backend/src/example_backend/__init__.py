"""An example of a storage plugin: objects in one SQLite file, as `example:///path/to/file`.

It imports only what plugins may rely on: `interview_edge.backends`.
"""

# ruff: noqa: S608 (the statements are put together from constants)
from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import trio

from interview_edge.backends import (
    BackendRefused,
    BackendUnavailable,
    ObjectInfo,
    ObjectNotFound,
    StorageBackend,
    normal_metadata,
    validate_key,
)

T = TypeVar("T")

# A TEXT key of SQLite sorts by its UTF-8 bytes, as the contract wants it.
SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    key TEXT PRIMARY KEY,
    data BLOB NOT NULL,
    modified REAL NOT NULL,
    type TEXT NOT NULL,
    metadata TEXT NOT NULL
) WITHOUT ROWID
"""
INFO = "key, length(data), modified, type, metadata"


class ExampleBackend:
    """A `StorageBackend`. One connection, one thread at a time: simple rather than fast."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._one_at_a_time = trio.CapacityLimiter(1)

    async def put(
        self,
        key: str,
        data: bytes,
        *,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
        if_absent: bool = False,
    ) -> bool:
        """See `StorageBackend.put`."""
        validate_key(key)
        normal = json.dumps(normal_metadata(metadata))
        row = (key, data, datetime.now(UTC).timestamp(), content_type, normal)
        statement = f"INSERT OR {'IGNORE' if if_absent else 'REPLACE'} INTO objects VALUES (?, ?, ?, ?, ?)"
        return await self._run(lambda: self._connection.execute(statement, row).rowcount > 0)

    async def get(self, key: str) -> bytes:
        """See `StorageBackend.get`."""
        return bytes(await self._one(key, "data"))

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        """See `StorageBackend.get_range`."""
        return (await self.get(key))[start : start + length]

    async def head(self, key: str) -> ObjectInfo:
        """See `StorageBackend.head`."""
        validate_key(key)
        rows = await self._rows(f"SELECT {INFO} FROM objects WHERE key = ?", key)
        if not rows:
            raise ObjectNotFound(key)
        return _info(rows[0])

    async def delete(self, key: str) -> None:
        """See `StorageBackend.delete`."""
        validate_key(key)
        await self._rows("DELETE FROM objects WHERE key = ?", key)

    async def list(
        self, prefix: str, *, after: str | None = None, limit: int | None = None
    ) -> AsyncIterator[ObjectInfo]:
        """See `StorageBackend.list`. One query a page of 100."""
        page = f"SELECT {INFO} FROM objects WHERE key > ? AND key >= ? ORDER BY key LIMIT ?"
        given = 0
        after = after or ""
        while rows := await self._rows(
            page, after, prefix, 100 if limit is None else min(100, limit - given)
        ):
            for row in rows:
                info = _info(row)
                if not info.key.startswith(prefix):
                    return
                yield info
                after, given = info.key, given + 1

    async def aclose(self) -> None:
        """See `StorageBackend.aclose`."""
        await trio.to_thread.run_sync(self._connection.close, limiter=self._one_at_a_time)

    async def _one(self, key: str, column: str) -> bytes:
        validate_key(key)
        rows = await self._rows(f"SELECT {column} FROM objects WHERE key = ?", key)
        if not rows:
            raise ObjectNotFound(key)
        return rows[0][0]

    async def _rows(self, statement: str, *arguments: object) -> list[tuple]:
        return await self._run(lambda: self._connection.execute(statement, arguments).fetchall())

    async def _run(self, call: Callable[[], T]) -> T:
        try:
            return await trio.to_thread.run_sync(call, limiter=self._one_at_a_time)
        except sqlite3.DatabaseError as error:
            raise BackendUnavailable(f"example storage: {error}") from error


def _info(row: tuple) -> ObjectInfo:
    key, size, modified, content_type, metadata = row
    return ObjectInfo(key, size, datetime.fromtimestamp(modified, UTC), content_type, json.loads(metadata))


@asynccontextmanager
async def open_example(url: str, options: Mapping[str, str]) -> AsyncIterator[StorageBackend]:
    """What the entry point names."""
    path = unquote(urlsplit(url).path)
    if not path or options:
        raise BackendRefused(
            "example:// takes the path of a file and no options: example:///var/lib/objects.db"
        )
    # Autocommit; every statement is a transaction, and FULL (the default) syncs it.
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    backend = ExampleBackend(connection)
    try:
        connection.execute(SCHEMA)
        yield backend
    finally:
        await backend.aclose()
