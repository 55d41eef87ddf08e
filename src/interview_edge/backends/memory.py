"""Objects in this process's memory: for tests and for trying things out. Nothing outlives the backend."""

from __future__ import annotations

import bisect
import datetime
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import attrs
import trio

from interview_edge.backends.keys import check_range, normal_metadata, validate_key
from interview_edge.backends.protocol import BackendUnavailable, ObjectInfo, ObjectNotFound
from interview_edge.backends.urls import BackendURLError, parse_url


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


class MemoryBackend:
    """A `StorageBackend` on a dict. Two backends share nothing, whatever their URLs."""

    def __init__(self, *, now: Callable[[], datetime.datetime] = _now) -> None:
        self._now = now
        self._objects: dict[str, tuple[ObjectInfo, bytes]] = {}
        self._keys: list[str] = []  # sorted; code points sort as their UTF-8 bytes do
        self._closed = False

    async def put(
        self,
        key: str,
        data: bytes,
        *,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
        if_absent: bool = False,
    ) -> bool:
        """See `StorageBackend.put`. Durable as long as the backend lives."""
        normal = normal_metadata(metadata)
        await self._enter(key)
        if key in self._objects:
            if if_absent:
                return False
        else:
            bisect.insort(self._keys, key)
        info = ObjectInfo(key, len(data), self._now(), content_type, normal)
        self._objects[key] = info, bytes(data)  # a copy of a mutable buffer, the object itself if it is bytes
        return True

    async def get(self, key: str) -> bytes:
        """See `StorageBackend.get`."""
        await self._enter(key)
        return self._find(key)[1]

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        """See `StorageBackend.get_range`."""
        check_range(start, length)
        await self._enter(key)
        return self._find(key)[1][start : start + length]

    async def head(self, key: str) -> ObjectInfo:
        """See `StorageBackend.head`."""
        await self._enter(key)
        return self._find(key)[0]

    async def delete(self, key: str) -> None:
        """See `StorageBackend.delete`."""
        await self._enter(key)
        if self._objects.pop(key, None) is not None:
            del self._keys[bisect.bisect_left(self._keys, key)]

    # A plain async generator is safe here: no nursery and no cancel scope is open at a yield.
    async def list(
        self, prefix: str, *, after: str | None = None, limit: int | None = None
    ) -> AsyncIterator[ObjectInfo]:
        """See `StorageBackend.list`. Objects put while it runs may or may not be seen."""
        given = 0
        while limit is None or given < limit:
            await self._enter()
            if after is None or after < prefix:
                at = bisect.bisect_left(self._keys, prefix)
            else:
                at = bisect.bisect_right(self._keys, after)
            if at == len(self._keys) or not self._keys[at].startswith(prefix):
                return
            after = self._keys[at]
            given += 1
            info, _ = self._objects[after]
            yield attrs.evolve(info, content_type=None, metadata={})

    async def aclose(self) -> None:
        """Forget everything."""
        self._closed = True
        self._objects.clear()
        self._keys.clear()
        await trio.lowlevel.checkpoint()

    async def _enter(self, key: str | None = None) -> None:
        # Before the effect, so that a cancelled call has none; from here on a method runs to its end at once.
        if key is not None:
            validate_key(key)
        await trio.lowlevel.checkpoint()
        if self._closed:
            raise BackendUnavailable("the memory backend is closed")

    def _find(self, key: str) -> tuple[ObjectInfo, bytes]:
        try:
            return self._objects[key]
        except KeyError:
            raise ObjectNotFound(key) from None


@asynccontextmanager
async def open_memory(url: str, options: Mapping[str, str]) -> AsyncIterator[MemoryBackend]:
    """`memory://`: an empty store that ends with the block. Takes no options."""
    parts = parse_url(url)
    if parts.host or parts.path or options:
        raise BackendURLError("memory:// takes no name, no path and no options")
    backend = MemoryBackend()
    try:
        yield backend
    finally:
        await backend.aclose()
