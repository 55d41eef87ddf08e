"""The local disk: `file:///dir`. Durable on return: each file and its folder are synced."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import islice
from pathlib import Path
from typing import ParamSpec, TypeVar

import trio

from interview_edge.backends.attributes import Description
from interview_edge.backends.files import FileStore, check_file_key
from interview_edge.backends.grouping import MAX_GROUP, GroupedPuts
from interview_edge.backends.keys import check_range, normal_metadata
from interview_edge.backends.protocol import BackendError, BackendUnavailable, ObjectInfo, ObjectPut
from interview_edge.backends.urls import BackendURLError, parse_url, scheme_of
from interview_edge.backends.writing import NewFile

MAX_THREADS = 16  # disks gain little from more, and each holds a descriptor or three
_PAGE = 256
_TAKES = "file:// takes an absolute path and no options: file:///var/lib/interview-edge"

P = ParamSpec("P")
T = TypeVar("T")


class LocalBackend:
    """A `StorageBackend` and `GroupPutter` on a `FileStore`, whose calls it runs in threads of its own
    limits; puts in groups.

    A call that has started isn't abandoned when it is cancelled: it ends first (a few ms, on a disk that
    works), so that a cancelled put can't come after a later call. Beside the protocol's rules, a key here
    can't be both an object and a folder of other keys, and a segment has at most 255 bytes: `BackendRefused`.
    """

    def __init__(self, store: FileStore, *, threads: int = MAX_THREADS) -> None:
        self._store = store
        self._puts = GroupedPuts(store.put_all)
        self._limiter = trio.CapacityLimiter(threads)  # of all calls but puts
        self._under_way = 0
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
        """See `StorageBackend.put`. Survives power loss, if the disk keeps what it says it has synced."""
        new = ObjectPut(key=key, data=data, content_type=content_type, metadata=metadata, if_absent=if_absent)
        file = _new_file(new)
        with self._using():
            return await self._puts.put(file)

    async def put_group(self, puts: Sequence[ObjectPut]) -> Sequence[bool | BackendError]:
        """See `GroupPutter.put_group`. Those of one folder share its syncs."""
        files = [_new_file(put) for put in puts]
        outcomes: list[bool | BackendError] = []
        with self._using():
            await trio.lowlevel.checkpoint_if_cancelled()
            for start in range(0, len(files), MAX_GROUP):
                outcomes += await self._puts.put_all(files[start : start + MAX_GROUP])
        return outcomes

    async def get(self, key: str) -> bytes:
        """See `StorageBackend.get`."""
        check_file_key(key)
        return await self._run(self._store.get, key)

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        """See `StorageBackend.get_range`."""
        check_range(start, length)
        check_file_key(key)
        return await self._run(self._store.get, key, start, length)

    async def head(self, key: str) -> ObjectInfo:
        """See `StorageBackend.head`."""
        check_file_key(key)
        return await self._run(self._store.head, key)

    async def delete(self, key: str) -> None:
        """See `StorageBackend.delete`."""
        check_file_key(key)
        await self._run(self._store.delete, key)

    # A plain async generator is safe here: no nursery and no cancel scope is open at a yield.
    async def list(
        self, prefix: str, *, after: str | None = None, limit: int | None = None
    ) -> AsyncIterator[ObjectInfo]:
        """See `StorageBackend.list`. In memory: the names of one folder a level."""
        found = islice(self._store.walk(prefix, after), limit)
        while page := await self._run(lambda: tuple(islice(found, _PAGE))):
            for info in page:
                yield info

    async def aclose(self) -> None:
        """Refuse further calls; close the descriptors when the last call under way has ended."""
        self._closed = True
        self._close_when_idle()
        await trio.lowlevel.checkpoint()

    async def _run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        with self._using():
            return await trio.to_thread.run_sync(lambda: call(*args, **kwargs), limiter=self._limiter)

    @contextmanager
    def _using(self) -> Iterator[None]:
        """A call under way: the store isn't closed before its end."""
        if self._closed:
            raise BackendUnavailable("the local backend is closed")
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            self._close_when_idle()

    def _close_when_idle(self) -> None:
        if self._closed and not self._under_way:
            self._store.close()


def _new_file(put: ObjectPut) -> NewFile:
    check_file_key(put.key)
    described = Description(put.content_type, normal_metadata(put.metadata))
    return NewFile(put.key, put.data, described, put.if_absent)


def local_folder(url: str) -> Path | None:
    """The folder of a `file:///dir`, whether it is there or not; None for a URL of another scheme. Raises
    BackendURLError.
    """
    if scheme_of(url) != "file":
        return None
    parts = parse_url(url)
    if parts.host not in ("", "localhost") or not parts.path:
        raise BackendURLError(_TAKES)
    return Path("/", parts.path)


@asynccontextmanager
async def open_local(url: str, options: Mapping[str, str]) -> AsyncIterator[LocalBackend]:
    """`file:///dir`: the folder is made where it is missing. Takes no options."""
    folder = local_folder(url)
    if folder is None or options:
        raise BackendURLError(_TAKES)
    store = await trio.to_thread.run_sync(FileStore, folder)
    backend = LocalBackend(store)
    try:
        yield backend
    finally:
        await backend.aclose()
