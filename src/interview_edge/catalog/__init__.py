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
    SessionOfAnother,
    SessionRecord,
    SessionSummary,
    StoredChunks,
    StreamRecord,
)
from interview_edge.catalog.sqlite import open_sqlite_catalog
from interview_edge.catalog.sqlite_access import file_holds_keys
from interview_edge.settings import SettingsError

__all__ = [
    "Catalog",
    "CatalogUnavailable",
    "FinalizedResult",
    "IdempotentAnswer",
    "SessionIsDeleted",
    "SessionOfAnother",
    "SessionRecord",
    "SessionSummary",
    "StoredChunks",
    "StreamRecord",
    "catalog_file",
    "holds_keys",
    "open_catalog",
    "open_sqlite_catalog",
]

_SQLITE = "sqlite://"


def open_catalog(url: str) -> AbstractAsyncContextManager[Catalog]:
    """The catalog that `url` names: `sqlite:///absolute/path`. Raises SettingsError for any other."""
    return open_sqlite_catalog(_path(url))


def holds_keys(url: str) -> bool:
    """Whether the catalog of `url` has ever had an API key, as it lies there: nothing is made or changed, so
    that it may be asked beside a live server. Blocking. Raises SettingsError as `open_catalog` does,
    CatalogUnavailable.
    """
    return file_holds_keys(_path(url))


def catalog_file(url: str) -> Path:
    """Where the catalog of `url` lies, or will. Raises SettingsError as `open_catalog` does."""
    return _path(url)


def _path(url: str) -> Path:
    if url.startswith(_SQLITE + "/"):
        return Path(url.removeprefix(_SQLITE))
    scheme = url.partition(":")[0]  # the rest may hold a password
    raise SettingsError(f"catalog (EDGE_CATALOG) must be sqlite:///absolute/path, got {scheme}:...")
