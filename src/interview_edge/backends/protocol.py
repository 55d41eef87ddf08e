"""The StorageBackend protocol: what interview-edge asks of an object store.

Keep it small: plugins implement it (contract storage.md). `interview_edge.testing.check_backend` holds an
implementation to this text.
"""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, runtime_checkable

import attrs


class BackendError(Exception):
    """Base of everything a backend raises on purpose. The message never holds a secret."""


class ObjectNotFound(BackendError):
    """No object has this key."""

    def __init__(self, key: str) -> None:
        super().__init__(f"no object at {key!r}")
        self.key = key


class BackendUnavailable(BackendError):
    """The store can't be reached, is overloaded, or failed in a way that may pass. Retry."""


class BackendRefused(BackendError):
    """The store refused for good: wrong credentials, no bucket, no space, bad key. Don't retry blindly."""


@attrs.frozen
class ObjectInfo:
    """What a store knows about one object. `size` in bytes; `modified` is timezone-aware UTC."""

    key: str
    size: int
    modified: datetime.datetime
    content_type: str | None = None
    metadata: Mapping[str, str] = attrs.field(factory=dict)


@runtime_checkable
class StorageBackend(Protocol):
    """An object store: keys to immutable bytes.

    Keys are `/`-separated, UTF-8, relative, without empty, `.` or `..` segments, control characters or
    backslashes, at most 1024 bytes; anything else is `BackendRefused` before any I/O. A store may refuse
    more: segments over 255 bytes, and a key that is another's folder (`a` beside `a/b`). All methods run on
    trio and may be called concurrently.

    Every method raises `BackendUnavailable` when the store can't answer now (a retry may help) and
    `BackendRefused` when it won't (a retry won't). Every method is a checkpoint and may be cancelled at any
    await; a cancelled `put` either happened whole or not at all, and may be repeated.
    """

    async def put(
        self,
        key: str,
        data: bytes,
        *,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
        if_absent: bool = False,
    ) -> bool:
        """Write `data` at `key`; durable when it returns (as durable as the store ever is).

        Readers see the old object or the whole new one, never a part. Repeating a put is harmless. With
        `if_absent`, an object already there stays as it is. Answers whether this call wrote. Metadata names
        are `[A-Za-z0-9_-]+` and none of HTTP's own (`content-type`...), else `BackendRefused`. Values are
        any text; S3 takes 2 kB in all, each byte that isn't visible ASCII counted as 3.
        """
        ...

    async def get(self, key: str) -> bytes:
        """The object's bytes. Raises `ObjectNotFound`."""
        ...

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        """`length` bytes from `start` (both ≥ 0), fewer where the object ends. Raises `ObjectNotFound`."""
        ...

    async def head(self, key: str) -> ObjectInfo:
        """Size, time, content type and metadata (its keys come back lower-case). Raises `ObjectNotFound`."""
        ...

    async def delete(self, key: str) -> None:
        """Remove the object, durably. A key that isn't there is fine: deletes are idempotent."""
        ...

    def list(
        self, prefix: str, *, after: str | None = None, limit: int | None = None
    ) -> AsyncIterator[ObjectInfo]:
        """Objects whose key starts with `prefix`, in key order (by UTF-8 bytes), after `after` (exclusive),
        at most `limit`.

        Pages are fetched as the iterator is consumed; content type and metadata may be absent here.
        """
        ...

    async def aclose(self) -> None:
        """Let go of connections and threads. Idempotent."""
        ...


@runtime_checkable
class Presigner(Protocol):
    """Optional capability: time-limited URLs that need no credentials."""

    async def presign(self, key: str, method: str, expires: datetime.timedelta) -> str:
        """A URL on which `method` (GET or PUT) works on `key` until `expires` from now."""
        ...


@attrs.frozen(kw_only=True)
class ObjectPut:
    """One put of a group; the fields are the arguments of `StorageBackend.put`."""

    key: str
    data: bytes = attrs.field(repr=False)
    content_type: str = "application/octet-stream"
    metadata: Mapping[str, str] | None = None
    if_absent: bool = False


@runtime_checkable
class GroupPutter(Protocol):
    """Optional capability: many puts in one call, where that costs the store less than a call each."""

    async def put_group(self, puts: Sequence[ObjectPut]) -> Sequence[bool | BackendError]:
        """`put` each of them, in any order; for each whether this call wrote, or why it failed.

        Each is durable when the call returns, and may be there before. One that fails doesn't keep the others
        from being put. Raises `BackendRefused`, with nothing put, where a key or metadata is invalid, and
        `BackendUnavailable` or `BackendRefused` where it can't say how each went. Cancelled, each put
        happened whole or not at all.
        """
        ...


@runtime_checkable
class ObjectWriter(Protocol):
    """A large object under way. Nothing is visible until `commit`."""

    async def write(self, data: bytes) -> None: ...
    async def commit(self) -> None: ...


@runtime_checkable
class WriterOpener(Protocol):
    """Optional capability: write an object in parts, with bounded memory."""

    def open_writer(
        self,
        key: str,
        *,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
    ) -> AbstractAsyncContextManager[ObjectWriter]:
        """A writer; leaving the block without `commit` leaves nothing behind."""
        ...


# What an entry point of group `interview_edge.backends` names; the entry point's name is the URL scheme.
BackendFactory = Callable[[str, Mapping[str, str]], AbstractAsyncContextManager[StorageBackend]]
