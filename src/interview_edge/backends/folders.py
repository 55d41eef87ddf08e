"""Folders below one root, made durably, opened without ever following a symlink.

Everything is opened segment by segment relative to a descriptor of the root: no key can leave the root, and
an unmounted disk is not silently replaced by the folder that lay below it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_ROOT = (
    os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
)  # the root itself may be a symlink: the operator's choice
_REMEMBERED = 4096  # folders known to be durable; forgetting one costs an fsync
ATTEMPTS = 8  # at using a folder that concurrent deletes keep removing


class Folders:
    """The folders of one root; a folder is named '' or 'a/b/'. Blocking; several threads may call at once."""

    def __init__(self, root: Path, fsync: Callable[[int], None]) -> None:
        """Open `root`, durably made first where it is missing. Raises OSError."""
        self._fsync = fsync
        # Held while a folder is made, remembered, forgotten or removed, so that "it is in _durable" means "it
        # exists and was synced into its parent" at any moment.
        self._lock = threading.Lock()
        self._durable: dict[str, None] = {}
        self._make_root(root)
        self._root = os.open(root, _OPEN_ROOT)

    def close(self) -> None:
        """Close the root's descriptor. Once; no call may be under way or follow."""
        os.close(self._root)

    @contextmanager
    def opened(self, folder: str, *, create: bool = False) -> Iterator[int]:
        """A descriptor of `folder`, which is durably made first with `create`. Raises OSError."""
        fd = self._open(folder, create=create)
        try:
            yield fd
        finally:
            os.close(fd)

    def prune(self, folder: str) -> None:
        """Remove `folder` and its parents while they are empty, so lists don't grow by what is gone."""
        while folder:
            parent, _, name = folder[:-1].rpartition("/")
            parent += "/" if parent else ""
            try:
                with self.opened(parent) as fd, self._lock:
                    self._durable.pop(folder, None)
                    os.rmdir(name, dir_fd=fd)
            except OSError:
                return  # not empty, or gone; an empty folder that stays does no harm
            folder = parent

    def _open(self, folder: str, *, create: bool) -> int:
        for _ in range(ATTEMPTS - 1 if create else 0):
            # A delete may remove a folder between our making and opening it: make it again.
            with suppress(FileNotFoundError):
                return self._walk(folder, create=create)
        return self._walk(folder, create=create)

    def _walk(self, folder: str, *, create: bool) -> int:
        fd = os.dup(self._root)
        done = ""
        try:
            for segment in folder.split("/")[:-1]:
                done += segment + "/"
                if create and done not in self._durable:
                    self._make(fd, segment, done)
                child = os.open(segment, _OPEN, dir_fd=fd)
                os.close(fd)
                fd = child
        except FileNotFoundError:
            self._durable.pop(done, None)  # removed behind our back, by another process
            os.close(fd)
            raise
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _make(self, parent: int, name: str, folder: str) -> None:
        with self._lock:
            with suppress(FileExistsError):
                os.mkdir(name, dir_fd=parent)
            # Even if it was there: its maker may have died before this.
            self._fsync(parent)
            self._durable[folder] = None
            if len(self._durable) > _REMEMBERED:
                del self._durable[next(iter(self._durable))]

    def _make_root(self, root: Path) -> None:
        missing = [path for path in (root, *root.parents) if not path.exists()]
        for path in reversed(missing):
            path.mkdir(exist_ok=True)
            fd = os.open(path.parent, _OPEN_ROOT)
            try:
                self._fsync(fd)
            finally:
                os.close(fd)


def status_of(parent: int, name: str) -> os.stat_result | None:
    """What lies at `name` in the folder `parent`, a symlink itself included; None for nothing."""
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None
