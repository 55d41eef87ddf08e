"""From a URL to an open backend, by entry point: plugins and built-ins are found the same way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import EntryPoint, entry_points

from interview_edge.backends.protocol import BackendFactory, StorageBackend
from interview_edge.backends.urls import BackendURLError, scheme_of

GROUP = "interview_edge.backends"


@asynccontextmanager
async def open_backend(url: str, options: Mapping[str, str] | None = None) -> AsyncIterator[StorageBackend]:
    """The backend of `url`'s scheme, closed at the end of the block.

    Raises BackendURLError where the scheme is unknown, two packages claim it, or its package doesn't import;
    what the backend's own opening raises passes through.
    """
    factory = _load(scheme_of(url))
    async with factory(url, {} if options is None else options) as backend:
        yield backend


def _load(scheme: str) -> BackendFactory:
    found = [entry for entry in entry_points(group=GROUP) if entry.name == scheme]
    if not found:
        known = ", ".join(sorted({entry.name for entry in entry_points(group=GROUP)}))
        raise BackendURLError(f"no storage backend for {scheme}:// (known: {known}; plugins can add more)")
    # The same package found twice (on two path entries) is one; two packages are a guess we don't make.
    if len({entry.value for entry in found}) > 1:
        packages = " and ".join(sorted(_package(entry) for entry in found))
        raise BackendURLError(f"{packages} both provide a storage backend for {scheme}://; remove one")
    try:
        factory: BackendFactory = found[0].load()
    except Exception as error:  # whatever a plugin's import raises, the operator must hear whose it is
        raise BackendURLError(
            f"the storage backend for {scheme}:// ({found[0].value} of {_package(found[0])}) "
            f"can't be loaded: {type(error).__name__}: {error}"
        ) from error
    return factory


def _package(entry: EntryPoint) -> str:
    return "an unnamed package" if entry.dist is None else entry.dist.name
