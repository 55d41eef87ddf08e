"""Objects as files of one folder, synchronously: what `LocalBackend` runs in threads.

On disk, under the root:

    sessions/i1/result.json          an object, named by its key
    .interview-edge/tmp/             writes under way
    .interview-edge/meta/ab/         what a file can't say of itself (content type, metadata)

A write goes to a temporary file, is synced, then renamed (or linked, for if-absent) to its key: the commit
point. Metadata is written before that, under a name made of the key and the object's mtime: so the object's
rename switches both, and copies of the tree that keep times (cp -a, rsync -a) keep the metadata.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import attrs

from interview_edge.backends.folders import ATTEMPTS, Folders
from interview_edge.backends.keys import folder_of, is_valid_key, validate_key
from interview_edge.backends.protocol import BackendRefused, BackendUnavailable, ObjectInfo, ObjectNotFound
from interview_edge.backends.temporaries import Temporaries
from interview_edge.backends.walk import walk

PRIVATE = ".interview-edge"
_TMP = f"{PRIVATE}/tmp/"  # noqa: S108 (below the root, not the system's)
MAX_SEGMENT_BYTES = 255  # NAME_MAX of ext4, XFS, btrfs, tmpfs, NFS
# Where the suffix says the type, no metadata file is needed for it.
TYPES = {".json": "application/json", ".wav": "audio/wav", ".flac": "audio/flac"}

# O_NONBLOCK: a FIFO that somebody left in the tree must not hang a read.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# A retry by itself won't mend these: somebody has to act (free space, give rights, move a file).
_REFUSALS = frozenset(
    {
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.ENAMETOOLONG,
        errno.ELOOP,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ENOTSUP,
        errno.EINVAL,
        errno.EXDEV,
    }
)
_STAT_RUN = 512  # files looked at with one folder open


@contextmanager
def _mapped(key: str | None = None) -> Iterator[None]:
    """OSError becomes the backend's errors. Nothing in it is secret: paths and reasons."""
    try:
        yield
    except FileNotFoundError as error:
        if key is not None:
            raise ObjectNotFound(key) from None
        raise BackendUnavailable(f"local storage: {error}") from error
    except OSError as error:
        refused = error.errno in _REFUSALS
        raise (BackendRefused if refused else BackendUnavailable)(f"local storage: {error}") from error


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

    `fsync` is a parameter so that tests can watch and break it.
    """

    def __init__(self, root: Path, *, fsync: Callable[[int], None] = os.fsync) -> None:
        """Open `root`, making it where it is missing. Raises BackendRefused, BackendUnavailable."""
        self._fsync = fsync
        with _mapped(), ExitStack() as opened:
            self._folders = Folders(root, fsync)
            opened.callback(self._folders.close)
            with self._folders.opened(_TMP, create=True) as tmp:
                self._tmp = os.dup(tmp)
            opened.callback(os.close, self._tmp)
            self._temporaries = Temporaries(self._tmp, fsync)
            opened.callback(self._temporaries.close)
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Give the descriptors back. No call may be under way or follow."""
        self._opened.close()

    # -- objects

    def put(
        self, key: str, data: bytes, content_type: str, metadata: Mapping[str, str], *, if_absent: bool
    ) -> bool:
        """Write durably; answers whether this call wrote."""
        folder, name = _split(key)
        with _mapped():
            with self._folders.opened(folder, create=True) as parent:
                before = _stat(parent, name)
                if before is not None and not stat.S_ISREG(before.st_mode):
                    raise BackendRefused(f"{key!r} is a folder of other keys, or not a regular file")
                if before is not None and if_absent:
                    # Its writer may have died between link and fsync: what is said to be there must be
                    # durable.
                    self._fsync(parent)
                    return False
            with self._temporaries.written(data) as (temporary, mtime_ns):
                side = self._write_side(key, mtime_ns, content_type, metadata)
                wrote = self._commit(temporary, folder, name, if_absent=if_absent)
            # What is removed here is never read again: its name holds the time of a file that isn't there.
            if side is not None and not wrote:
                self._remove_side(side)
            if before is not None and wrote:
                self._remove_side(_side_name(key, before.st_mtime_ns))
            return wrote

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """The object's bytes, or those of a range of it."""
        with _mapped(key), self._opened_object(key) as (fd, status):
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
        with _mapped(key):
            status = self._status(key)
            # Without metadata, it was put without any, unless it was replaced since: then its time has
            # changed.
            while (side := self._read_side(_side_name(key, status.st_mtime_ns))) is None:
                seen, status = status, self._status(key)
                if status.st_mtime_ns == seen.st_mtime_ns:
                    side = _Side(key, _type_of(key), {})
                    break
        return ObjectInfo(key, status.st_size, _time_of(status), side.content_type, side.metadata)

    def delete(self, key: str) -> None:
        """Remove durably, then the folders that it leaves empty."""
        folder, name = _split(key)
        with _mapped():
            try:
                with self._folders.opened(folder) as parent:
                    status = _stat(parent, name)
                    if status is not None and stat.S_ISDIR(status.st_mode):
                        return  # a folder of other keys: no object has this key
                    if status is not None:
                        with suppress(FileNotFoundError):
                            os.unlink(name, dir_fd=parent)
                    self._fsync(parent)  # even if it was gone: its remover may have died before the fsync
            except (FileNotFoundError, NotADirectoryError):
                return  # no such folder, so no such object
            if status is not None:
                self._remove_side(_side_name(key, status.st_mtime_ns))
            self._folders.prune(folder)

    def walk(self, prefix: str, after: str | None) -> Iterator[ObjectInfo]:
        """Objects in key order, see `StorageBackend.list`. Holds no descriptor between two of them."""
        folder = folder_of(prefix)
        if folder is None or folder.split("/", 1)[0] == PRIVATE:
            return
        for run in walk(self._scan, folder, prefix, after):
            for i in range(0, len(run), _STAT_RUN):
                with _mapped():
                    found = self._stat_all(run[i : i + _STAT_RUN])
                yield from found

    # -- files

    def _scan(self, folder: str) -> list[str]:
        """The children of a folder, as `walk` wants them."""
        children = []
        with _mapped():
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
        with suppress(FileNotFoundError), self._folders.opened(_split(keys[0])[0]) as fd:
            for key in keys:
                status = _stat(fd, _split(key)[1])
                if status is not None:
                    found.append(ObjectInfo(key, status.st_size, _time_of(status)))
        return found

    def _status(self, key: str) -> os.stat_result:
        with self._opened_object(key) as (_, status):
            return status

    @contextmanager
    def _opened_object(self, key: str) -> Iterator[tuple[int, os.stat_result]]:
        folder, name = _split(key)
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

    def _commit(self, temporary: str, folder: str, name: str, *, if_absent: bool) -> bool:
        """Give a temporary file its name, durably; False where if_absent found one there."""
        tmp = self._tmp
        attempt = 0
        while True:
            attempt += 1
            with self._folders.opened(folder, create=True) as parent:
                try:
                    if if_absent:
                        os.link(temporary, name, src_dir_fd=tmp, dst_dir_fd=parent, follow_symlinks=False)
                    else:
                        os.replace(temporary, name, src_dir_fd=tmp, dst_dir_fd=parent)
                except FileNotFoundError:
                    if attempt == ATTEMPTS:
                        raise
                    continue  # a delete removed the folder that we hold open
                except FileExistsError:
                    wrote = False
                else:
                    wrote = True
                self._fsync(parent)  # also after False: see put
                return wrote

    # -- metadata

    def _write_side(
        self, key: str, mtime_ns: int, content_type: str, metadata: Mapping[str, str]
    ) -> str | None:
        """Write the metadata file durably, where one is needed; its path."""
        if not metadata and content_type == _type_of(key):
            return None
        side = _side_name(key, mtime_ns)
        described = json.dumps(attrs.asdict(_Side(key, content_type, dict(metadata)))).encode()
        with self._temporaries.written(described) as (temporary, _):
            self._commit(temporary, *_split(side), if_absent=False)
        return side

    def _read_side(self, side: str) -> _Side | None:
        try:
            with self._opened_object(side) as (fd, status):
                return _Side(**json.loads(os.pread(fd, status.st_size, 0)))
        except (FileNotFoundError, ObjectNotFound):
            return None

    def _remove_side(self, side: str) -> None:
        folder, name = _split(side)
        with suppress(OSError), self._folders.opened(folder) as fd:
            os.unlink(name, dir_fd=fd)


@attrs.frozen
class _Side:
    """A metadata file. `key` is for people: the file's name holds only its hash."""

    key: str
    content_type: str
    metadata: Mapping[str, str]


def _split(key: str) -> tuple[str, str]:
    """'a/b/c' as ('a/b/', 'c')."""
    at = key.rfind("/") + 1
    return key[:at], key[at:]


def _stat(parent: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _side_name(key: str, mtime_ns: int) -> str:
    digest = hashlib.sha256(key.encode()).hexdigest()
    return f"{PRIVATE}/meta/{digest[:2]}/{digest[2:40]}-{mtime_ns}.json"


def _type_of(key: str) -> str:
    return TYPES.get(os.path.splitext(key)[1], "application/octet-stream")


def _time_of(status: os.stat_result) -> datetime:
    return datetime.fromtimestamp(status.st_mtime, UTC)
