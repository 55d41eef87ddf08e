"""Objects as files of one folder, synchronously: what `LocalBackend` runs in threads.

On disk, under the root:

    sessions/i1/result.json          an object, named by its key; an attribute holds content type and metadata
    .interview-edge/tmp/             writes under way
    .interview-edge/meta/ab/         content type and metadata, where the file system keeps no attributes

How they are written is in writing.py.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from interview_edge.backends.attributes import (
    Description,
    SetAttribute,
    plain_description,
    read_description,
    set_attribute,
)
from interview_edge.backends.failures import mapped
from interview_edge.backends.folders import Folders, status_of
from interview_edge.backends.keys import folder_of, is_valid_key, split, validate_key
from interview_edge.backends.protocol import BackendError, BackendRefused, ObjectInfo, ObjectNotFound
from interview_edge.backends.sides import PRIVATE, read_side, remove_side, side_key
from interview_edge.backends.walk import walk
from interview_edge.backends.writing import NewFile, Writing

_TMP = f"{PRIVATE}/tmp/"  # noqa: S108 (below the root, not the system's)
MAX_SEGMENT_BYTES = 255  # NAME_MAX of ext4, XFS, btrfs, tmpfs, NFS

# O_NONBLOCK: a FIFO that somebody left in the tree must not hang a read.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_STAT_RUN = 512  # files looked at with one folder open


def check_file_key(key: str) -> None:
    """Raise `BackendRefused` for a key that is invalid, or that this layout can't name."""
    validate_key(key)
    segments = key.split("/")
    if segments[0] == PRIVATE:
        raise BackendRefused(f"invalid key {key[:200]!r}: {PRIVATE}/ is the store's own")
    if any(len(segment.encode()) > MAX_SEGMENT_BYTES for segment in segments):
        raise BackendRefused(f"invalid key {key[:200]!r}: a segment is over {MAX_SEGMENT_BYTES} bytes")


class FileStore:
    """One root folder. Methods block, and several threads may call them; keys come checked
    (`check_file_key`).

    `fsync` and `setxattr` are parameters so that tests can watch and break them.
    """

    def __init__(
        self,
        root: Path,
        *,
        fsync: Callable[[int], None] = os.fsync,
        setxattr: SetAttribute = set_attribute,
    ) -> None:
        """Open `root`, making it where it is missing. Raises BackendRefused, BackendUnavailable."""
        self._fsync = fsync
        with mapped(), ExitStack() as opened:
            self._folders = Folders(root, fsync)
            opened.callback(self._folders.close)
            tmp = opened.enter_context(self._folders.opened(_TMP, create=True))
            self._writing = Writing(self._folders, tmp, fsync, setxattr)
            opened.callback(self._writing.close)
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Give the descriptors back. No call may be under way or follow."""
        self._opened.close()

    # -- objects

    def put_all(self, new: Sequence[NewFile]) -> Sequence[bool | BackendError]:
        """Write durably; for each, whether this call wrote, or why it failed (each for itself)."""
        return self._writing.put_all(new)

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """The object's bytes, or those of a range of it."""
        with mapped(key), self._opened_object(key) as (fd, status):
            rest = max(0, status.st_size - start)
            wanted = rest if length is None else min(rest, length)
            # One read gives at most 2 GiB on Linux. The file can't shrink: objects are replaced, not
            # rewritten.
            parts = []
            while wanted > 0 and (part := os.pread(fd, wanted, start)):
                parts.append(part)
                start += len(part)
                wanted -= len(part)
            return parts[0] if len(parts) == 1 else b"".join(parts)

    def head(self, key: str) -> ObjectInfo:
        """The object's size, time, content type and metadata."""
        with mapped(key):
            seen_ns = None
            while True:
                status, description = self._described(key)
                # Without a description it was put without one, unless it was replaced between our looks at
                # the object and beside it: then its time has changed.
                if description is not None or status.st_mtime_ns == seen_ns:
                    break
                seen_ns = status.st_mtime_ns
        description = description or plain_description(key)
        return ObjectInfo(
            key, status.st_size, _time_of(status), description.content_type, description.metadata
        )

    def delete(self, key: str) -> None:
        """Remove durably, then the folders that it leaves empty."""
        folder, name = split(key)
        with mapped():
            try:
                with self._folders.opened(folder) as parent:
                    status = status_of(parent, name)
                    if status is not None and stat.S_ISDIR(status.st_mode):
                        return  # a folder of other keys: no object has this key
                    if status is not None:
                        with suppress(FileNotFoundError):
                            os.unlink(name, dir_fd=parent)
                    self._fsync(parent)  # even if it was gone: its remover may have died before the fsync
            except (FileNotFoundError, NotADirectoryError):
                return  # no such folder, so no such object
            if status is not None:
                remove_side(self._folders, side_key(key, status.st_mtime_ns))
            self._folders.prune(folder)

    def walk(self, prefix: str, after: str | None) -> Iterator[ObjectInfo]:
        """Objects in key order, see `StorageBackend.list`. Holds no descriptor between two of them."""
        folder = folder_of(prefix)
        if folder is None or folder.split("/", 1)[0] == PRIVATE:
            return
        for run in walk(self._scan, folder, prefix, after):
            for i in range(0, len(run), _STAT_RUN):
                with mapped():
                    found = self._stat_all(run[i : i + _STAT_RUN])
                yield from found

    # -- files

    def _scan(self, folder: str) -> list[str]:
        """The children of a folder, as `walk` wants them."""
        children = []
        with mapped():
            try:
                with self._folders.opened(folder) as fd, os.scandir(fd) as entries:
                    for entry in entries:
                        key = folder + entry.name
                        if key == PRIVATE or not is_valid_key(key):
                            continue  # ours, or a name that no put can have made
                        if entry.is_dir(follow_symlinks=False):
                            children.append(key + "/")
                        elif entry.is_file(follow_symlinks=False):
                            children.append(key)
            except (FileNotFoundError, NotADirectoryError):
                return []  # removed since its parent was read, or never there
        return children

    def _stat_all(self, keys: list[str]) -> list[ObjectInfo]:
        """What is known of these keys of one folder, without those deleted meanwhile."""
        found = []
        with suppress(FileNotFoundError), self._folders.opened(split(keys[0])[0]) as fd:
            for key in keys:
                status = status_of(fd, split(key)[1])
                if status is not None:
                    found.append(ObjectInfo(key, status.st_size, _time_of(status)))
        return found

    def _described(self, key: str) -> tuple[os.stat_result, Description | None]:
        with self._opened_object(key) as (fd, status):
            try:
                found = read_description(fd)
                return status, found or read_side(self._folders, side_key(key, status.st_mtime_ns))
            except (msgspec.DecodeError, ValueError, TypeError) as error:
                raise BackendRefused(f"the metadata of {key!r} is damaged") from error

    @contextmanager
    def _opened_object(self, key: str) -> Iterator[tuple[int, os.stat_result]]:
        folder, name = split(key)
        try:
            with self._folders.opened(folder) as parent:
                fd = os.open(name, _READ, dir_fd=parent)
        except NotADirectoryError:
            raise ObjectNotFound(key) from None  # 'a/b' where 'a' is an object, or a symlink
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise ObjectNotFound(key)  # a folder of other keys, or nothing of ours
            yield fd, status
        finally:
            os.close(fd)


def _time_of(status: os.stat_result) -> datetime:
    return datetime.fromtimestamp(status.st_mtime, UTC)
