"""Files under way: written under a temporary name, cleaned up after crashes."""

from __future__ import annotations

import fcntl
import itertools
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import attrs

_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@attrs.frozen
class Temporary:
    """A file under way: its name in the folder of temporary files, and an open descriptor."""

    name: str
    fd: int


class Temporaries:
    """The folder of temporary files, shared by all processes on one store.

    A process's files are named `<id>.<n>`, and `<id>.lock` is locked while it lives: files without a locked
    one belong to nobody.
    """

    def __init__(self, folder: int) -> None:
        """Use (not own) the descriptor `folder`; remove what crashed writers left there. Raises OSError."""
        self.folder = folder
        self._numbers = itertools.count()
        self._id, self._lock = self._claim()
        self._remove_leftovers()

    def close(self) -> None:
        """Give up the lock. Once; no file may be under way."""
        with suppress(FileNotFoundError):
            os.unlink(f"{self._id}.lock", dir_fd=self.folder)
        os.close(self._lock)

    @contextmanager
    def written(self, data: bytes) -> Iterator[Temporary]:
        """A file of `data`, not synced yet. Closed and gone afterwards, unless it was renamed."""
        name = f"{self._id}.{next(self._numbers)}"
        fd = os.open(name, _CREATE, 0o666, dir_fd=self.folder)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(fd, rest) :]
            # The kernel's own mtime moves in steps of 4 ms: too coarse to tell two writes of a key apart.
            now = time.time_ns()
            os.utime(fd, ns=(now, now))
            yield Temporary(name, fd)
        finally:
            os.close(fd)
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self.folder)

    def _claim(self) -> tuple[str, int]:
        while True:
            claimed = secrets.token_hex(8)
            name = f"{claimed}.lock"
            fd = os.open(name, _CREATE, 0o666, dir_fd=self.folder)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                # Another process may have taken it for a dead one's before we locked it.
                if os.stat(name, dir_fd=self.folder).st_ino == os.fstat(fd).st_ino:
                    return claimed, fd
            except FileNotFoundError:
                pass
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)

    def _remove_leftovers(self) -> None:
        names = os.listdir(self.folder)
        locks = (name for name in names if name.endswith(".lock"))
        alive = {self._id} | {name.removesuffix(".lock") for name in locks if self._is_locked(name)}
        for name in names:
            if name.partition(".")[0] not in alive:
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=self.folder)

    def _is_locked(self, name: str) -> bool:
        try:
            # Writable: NFS gives an exclusive lock on nothing less.
            fd = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.folder)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            return False
        finally:
            os.close(fd)
