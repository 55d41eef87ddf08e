"""The database of sessions, ledgers, the object table, events, idempotency keys, results."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path

from interview_edge.catalog.protocol import (
    Catalog,
    CatalogUnavailable,
    FinalizedResult,
    IdempotentAnswer,
    SessionIsDeleted,
    SessionRecord,
    SessionSummary,
    StoredChunks,
    StreamRecord,
)
from interview_edge.catalog.sqlite import open_sqlite_catalog

__all__ = [
    "Catalog",
    "CatalogUnavailable",
    "FinalizedResult",
    "IdempotentAnswer",
    "SessionIsDeleted",
    "SessionRecord",
    "SessionSummary",
    "StoredChunks",
    "StreamRecord",
    "open_catalog",
    "open_sqlite_catalog",
]

_SQLITE = "sqlite://"


def open_catalog(url: str) -> AbstractAsyncContextManager[Catalog]:
    """The catalog that `url` names: `sqlite:///absolute/path`. Raises ValueError for any other."""
    if url.startswith(_SQLITE + "/"):
        return open_sqlite_catalog(Path(url.removeprefix(_SQLITE)))
    raise ValueError(f"not a catalog: {url!r}; it must be sqlite:///absolute/path")
