"""One bucket of an S3 server, on obstore's synchronous calls in threads: its async ones need asyncio."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import timedelta
from itertools import islice
from typing import Any, Literal, TypeVar
from urllib.parse import quote, unquote

import obstore
import trio
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    InvalidPathError,
    NotSupportedError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import S3Store

from interview_edge.backends.keys import check_range, folder_of, is_valid_key, normal_metadata, validate_key
from interview_edge.backends.protocol import BackendRefused, BackendUnavailable, ObjectInfo, ObjectNotFound
from interview_edge.backends.walk import walk

MAX_THREADS = 32
_PAGE = 1000  # S3's own
_FARTHEST = 2**62  # no object is as long, and obstore takes no end over 2**64
_VISIBLE = "".join(map(chr, range(0x21, 0x7F))).replace("%", "")
_CONTENT_TYPE = "Content-Type"

T = TypeVar("T")


class S3Backend:
    """A `StorageBackend` on one bucket, below `prefix` ('' or 'a/b/').

    Reads are abandoned when cancelled: their threads end by the request timeout and count against the limit
    until then. Writes are waited for instead, so that a cancelled one can't come after a later call:
    cancelling a write to a hung store takes up to the request timeout.

    S3 and R2 list in key order. Some servers (SeaweedFS) list folder by folder; `by_folder` asks for each
    folder alone and puts them in order here. Without it a list that comes in another order is
    `BackendRefused`.
    """

    def __init__(
        self, store: S3Store, *, prefix: str = "", by_folder: bool = False, threads: int = MAX_THREADS
    ) -> None:
        self._store = store
        self._prefix = prefix
        self._by_folder = by_folder
        self._limiter = trio.CapacityLimiter(threads)
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
        """See `StorageBackend.put`. One request, so at most 5 GiB (S3's limit)."""
        path = self._path(key)
        attributes = {name: _quoted(value) for name, value in normal_metadata(metadata).items()}
        attributes[_CONTENT_TYPE] = content_type

        def put() -> bool:
            mode: Literal["create", "overwrite"] = "create" if if_absent else "overwrite"
            try:
                obstore.put(
                    self._store, path, bytes(data), attributes=attributes, mode=mode, use_multipart=False
                )
            except AlreadyExistsError as error:
                # 412 says that it is there. 409 only that another put is under way, which may yet fail:
                # obstore has one exception for both.
                if _status(error) != 412:
                    raise
                return False
            return True

        return await self._run(put, key=None, abandon=False)

    async def get(self, key: str) -> bytes:
        """See `StorageBackend.get`."""
        path = self._path(key)
        return await self._run(lambda: obstore.get(self._store, path).bytes().to_bytes(), key=key)

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        """See `StorageBackend.get_range`."""
        check_range(start, length)
        path = self._path(key)

        def get_range() -> bytes:
            if length == 0 or start > _FARTHEST:
                obstore.head(self._store, path)  # an empty range can't be asked for, but the key must exist
                return b""
            try:
                end = min(start + length, _FARTHEST + 1)
                found = obstore.get(self._store, path, options={"range": (start, end)})
                return found.bytes().to_bytes()
            except BaseError as error:
                if _status(error) == 416:
                    return b""  # the object ends before `start`
                raise

        return await self._run(get_range, key=key)

    async def head(self, key: str) -> ObjectInfo:
        """See `StorageBackend.head`. The answer has no body: a missing bucket looks like a missing object."""
        path = self._path(key)

        def head() -> ObjectInfo:
            found = obstore.get(self._store, path, options={"head": True})
            attributes = {name: str(value) for name, value in found.attributes.items()}
            content_type = attributes.pop(_CONTENT_TYPE, None)
            metadata = {name.lower(): unquote(value) for name, value in attributes.items()}
            return ObjectInfo(key, found.meta["size"], found.meta["last_modified"], content_type, metadata)

        return await self._run(head, key=key)

    async def delete(self, key: str) -> None:
        """See `StorageBackend.delete`."""
        path = self._path(key)

        def delete() -> None:
            try:
                obstore.delete(self._store, path)
            except FileNotFoundError as error:
                if "<Code>NoSuchBucket<" in str(error):
                    raise

        await self._run(delete, key=None, abandon=False)

    # A plain async generator is safe here: no nursery and no cancel scope is open at a yield.
    async def list(
        self, prefix: str, *, after: str | None = None, limit: int | None = None
    ) -> AsyncIterator[ObjectInfo]:
        """See `StorageBackend.list`."""
        source = self._walk(prefix, after) if self._by_folder else self._list(prefix, after)
        found = islice(source, limit)
        page = _PAGE if limit is None else min(limit, _PAGE)
        while infos := await self._run(lambda: tuple(islice(found, page)), key=None):
            for info in infos:
                yield info

    async def presign(self, key: str, method: str, expires: timedelta) -> str:
        """See `Presigner.presign`."""
        path = self._path(key)
        if method not in ("GET", "PUT"):
            raise ValueError(f"method must be GET or PUT, got {method!r}")
        signed: Literal["GET", "PUT"] = "GET" if method == "GET" else "PUT"
        return await self._run(lambda: obstore.sign(self._store, signed, path, expires), key=None)

    async def aclose(self) -> None:
        """Refuse further calls. Connections end with the store's last reference."""
        self._closed = True
        await trio.lowlevel.checkpoint()

    # -- in threads

    async def _run(self, call: Callable[[], T], *, key: str | None, abandon: bool = True) -> T:
        """`call` in a thread, with obstore's exceptions mapped: 404 is `ObjectNotFound` if `key` is given."""
        if self._closed:
            await trio.lowlevel.checkpoint()
            raise BackendUnavailable("the S3 backend is closed")
        try:
            return await trio.to_thread.run_sync(call, limiter=self._limiter, abandon_on_cancel=abandon)
        except (BaseError, FileNotFoundError, ValueError) as error:
            mapped = _mapped(error, key)
        # Raised out here without its cause: obstore's text shows the request, which servers may echo secrets
        # into.
        raise mapped

    def _path(self, key: str) -> str:
        validate_key(key)
        if self._prefix:
            validate_key(self._prefix + key)  # together they must fit, too
        return self._prefix + key

    def _info(self, meta: Mapping[str, Any]) -> ObjectInfo:
        return ObjectInfo(meta["path"].removeprefix(self._prefix), meta["size"], meta["last_modified"])

    def _list(self, prefix: str, after: str | None) -> Iterator[ObjectInfo]:
        folder = folder_of(prefix)
        if folder is None:
            return
        start = after
        if after is None or after < prefix:
            start = None
            if prefix != folder:
                # obstore lists whole folders; "after" is exclusive, so the prefix's own object is asked for
                # alone.
                if is_valid_key(prefix) and (info := self._head(prefix)) is not None:
                    yield info
                start = prefix
        last = ""
        pages = obstore.list(
            self._store,
            (self._prefix + folder) or None,
            offset=None if start is None else self._prefix + start,
            chunk_size=_PAGE,
        )
        for page in pages:
            for meta in page:
                info = self._info(meta)
                if info.key < last:
                    raise _DisorderError
                last = info.key
                if not info.key.startswith(prefix):
                    return
                yield info

    def _head(self, key: str) -> ObjectInfo | None:
        try:
            return self._info(obstore.head(self._store, self._prefix + key))
        except FileNotFoundError:
            return None

    def _walk(self, prefix: str, after: str | None) -> Iterator[ObjectInfo]:
        folder = folder_of(prefix)
        if folder is None:
            return
        found: dict[str, ObjectInfo] = {}

        def scan(folder: str) -> Iterator[str]:
            listed = obstore.list_with_delimiter(self._store, (self._prefix + folder) or None)
            for meta in listed["objects"]:
                info = self._info(meta)
                if info.key.startswith(folder):  # not the folder's own marker, which some servers list
                    found[info.key] = info
                    yield info.key
            for below in listed["common_prefixes"]:
                yield below.removeprefix(self._prefix) + "/"

        for run in walk(scan, folder, prefix, after):
            for key in run:
                yield found.pop(key)


def _quoted(value: str) -> str:
    """Metadata goes as headers: visible ASCII as it is, all else (and '%') percent-encoded."""
    return quote(value, safe=_VISIBLE)


class _DisorderError(BaseError):
    """A flat list came out of key order."""


def _status(error: Exception) -> int | None:
    """The HTTP status in an obstore error's text: it has no field for it (obstore 0.12)."""
    match = re.search(r"status code: (\d{3})", str(error))
    return None if match is None else int(match[1])


def _code(error: Exception) -> str:
    """The `<Code>` of S3's error document, such as NoSuchBucket."""
    match = re.search(r"<Code>(\w{1,64})</Code>", str(error))
    return "" if match is None else match[1]


def _mapped(error: Exception, key: str | None) -> Exception:
    """The backend's error for one of obstore's, in words of our own."""
    status, code = _status(error), _code(error)
    said = " ".join(filter(None, (str(status or ""), code))) or type(error).__name__
    if isinstance(error, FileNotFoundError) and key is not None and code != "NoSuchBucket":
        return ObjectNotFound(key)
    if isinstance(error, _DisorderError):
        return BackendRefused(
            "this S3 server lists folder by folder, not in key order: add listing=folders to the storage URL"
        )
    if isinstance(error, PermissionDeniedError | UnauthenticatedError):
        return BackendRefused(f"S3 refused the credentials or their rights ({said})")
    if isinstance(error, InvalidPathError | NotSupportedError | ValueError):
        return BackendRefused(f"S3 can't be asked for this ({said})")
    if status == 507:
        return BackendRefused(f"S3 has no space left ({said})")
    if code == "NoSuchBucket":
        return BackendRefused("S3 has no such bucket")
    if "redirect" in str(error).lower():
        return BackendRefused("S3 redirects: the bucket is in another region; set region in the storage URL")
    # 408, 425, 429: come back later. 409: a conflicting write is under way.
    if status is not None and 400 <= status < 500 and status not in (408, 409, 425, 429):
        return BackendRefused(f"S3 refused ({said})")
    return BackendUnavailable(f"S3 can't be reached or is overloaded ({said})")
