"""How objects get onto the disk: a group of them at once, each whole and synced before it has its name.

The order is what survives power loss: new folders synced into their parents, the files written, described and
synced, then linked or renamed to their keys (the commit point), then their folder synced. Only after that is
an outcome told. A group shares the folders' descriptors and syncs.

No descriptor of a folder outlives a group: a folder that somebody moves away mustn't take later objects
along to where no read finds them.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import attrs

from interview_edge.backends.attributes import (
    Description,
    SetAttribute,
    describe,
    plain_description,
    takes_attributes,
)
from interview_edge.backends.failures import mapped
from interview_edge.backends.folders import ATTEMPTS, Folders, status_of
from interview_edge.backends.keys import split
from interview_edge.backends.protocol import BackendError, BackendRefused, BackendUnavailable
from interview_edge.backends.sides import encode_side, remove_side, side_key
from interview_edge.backends.temporaries import Temporaries, Temporary


@attrs.frozen
class NewFile:
    """An object to be, as `StorageBackend.put` takes it; key and metadata come checked."""

    key: str
    data: bytes = attrs.field(repr=False)
    description: Description
    if_absent: bool


@attrs.define(eq=False)
class _Put:
    """One file of a group and how far it is. `outcome`: whether it wrote, or what failed."""

    new: NewFile
    folder: str
    name: str
    temporary: Temporary | None = None
    side: str | None = None  # the side file written for it
    wrote: bool | None = None  # False: its name was taken already
    replaced_ns: int | None = None  # the mtime of the object whose name it took
    outcome: bool | BackendError | None = None

    @classmethod
    def of(cls, new: NewFile) -> _Put:
        return cls(new, *split(new.key))


class Writing:
    """Puts groups of objects. Blocking; several threads may put at once."""

    def __init__(
        self, folders: Folders, tmp: int, fsync: Callable[[int], None], setxattr: SetAttribute
    ) -> None:
        """Use (not own) `folders` and `tmp`, the descriptor of the folder of files under way. Raises
        OSError.
        """
        self._folders = folders
        self._fsync = fsync
        self._setxattr = setxattr
        self._temporaries = Temporaries(tmp)
        with self._temporaries.written(b"") as probe:
            self._attributes = takes_attributes(probe.fd, setxattr)

    def close(self) -> None:
        """Let others clean up what is left of ours. Once; no call may be under way or follow."""
        self._temporaries.close()

    def put_all(self, new: Iterable[NewFile]) -> list[bool | BackendError]:
        """Write durably; for each, whether this call wrote, or why it failed (each for itself)."""
        puts = [_Put.of(one) for one in new]
        groups: dict[str, list[_Put]] = {}
        for put in puts:
            groups.setdefault(put.folder, []).append(put)
        parents: dict[str, int] = {}
        with ExitStack() as opened:
            for folder, group in groups.items():
                with _settling(group):
                    parents[folder] = opened.enter_context(self._folders.opened(folder, create=True))
                    self._settle_present(parents[folder], group)
            for put in _unsettled(puts):
                with _settling([put]):
                    put.temporary = opened.enter_context(self._temporaries.written(put.new.data))
                    self._describe(put, put.temporary)
            self._sync(_unsettled(puts))
            for folder, group in groups.items():
                if waiting := _unsettled(group):
                    with _settling(waiting):
                        self._name(parents[folder], folder, waiting)
        for put in puts:
            self._remove_sides(put)
        return [put.outcome for put in puts if put.outcome is not None]

    def _settle_present(self, parent: int, puts: Sequence[_Put]) -> None:
        """Settle those if-absent ones whose key is taken, so that a repeat after a crash writes nothing."""
        present = []
        for put in puts:
            with _settling([put]):
                if put.new.if_absent and _ensure_object(put, status_of(parent, put.name)):
                    present.append(put)
        if present:
            # Its writer may have died between link and fsync: what is said to be there must be durable.
            self._fsync(parent)
        for put in present:
            put.outcome = False

    def _describe(self, put: _Put, temporary: Temporary) -> None:
        """Say what the file can't say of itself: in an attribute, or durably beside it."""
        key, description = put.new.key, put.new.description
        if description == plain_description(key):
            return
        if self._attributes and describe(temporary.fd, description, self._setxattr):
            return
        put.side = side_key(key, os.fstat(temporary.fd).st_mtime_ns)
        data = encode_side(key, description)
        side = _Put.of(NewFile(put.side, data, description, if_absent=False))
        with self._temporaries.written(data) as side.temporary:
            self._fsync(side.temporary.fd)
            self._name(None, side.folder, [side])
        if isinstance(side.outcome, BackendError):
            raise side.outcome

    def _sync(self, puts: Sequence[_Put]) -> None:
        """Sync the files. None has its name yet."""
        fds = [put.temporary.fd for put in puts if put.temporary is not None]
        if len(fds) > 1 and sys.platform == "linux":
            # Starts the writeback of all, so that the first fsync's commit holds the blocks of the others.
            for fd in fds:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        for put, fd in zip(puts, fds, strict=True):
            with _settling([put]):
                self._fsync(fd)

    def _name(self, parent: int | None, folder: str, puts: Sequence[_Put]) -> None:
        """Give synced files their names in `folder`, durably, and settle them. Raises OSError for all."""
        for _ in range(ATTEMPTS):
            with ExitStack() as opened:
                if parent is None:
                    parent = opened.enter_context(self._folders.opened(folder, create=True))
                for put in puts:
                    with _settling([put]):
                        self._take_name(parent, put)
                named = [put for put in puts if put.wrote is not None]
                if named:
                    self._fsync(parent)  # also where the name was taken: see _settle_present
            for put in named:
                put.outcome = put.wrote
            puts = _unsettled(puts)
            if not puts:
                return
            parent = None  # a delete removed the folder that we held open
        raise BackendUnavailable(f"local storage: {folder!r} is removed again and again")

    def _take_name(self, parent: int, put: _Put) -> None:
        """Link or rename the file; `wrote` stays None where the folder was removed. Raises OSError."""
        assert put.temporary is not None  # noqa: S101  # for mypy: only written files come here
        source, tmp = put.temporary.name, self._temporaries.folder
        try:
            if put.new.if_absent:
                os.link(source, put.name, src_dir_fd=tmp, dst_dir_fd=parent, follow_symlinks=False)
            else:
                before = status_of(parent, put.name)
                if _ensure_object(put, before) and before is not None:
                    put.replaced_ns = before.st_mtime_ns
                os.replace(source, put.name, src_dir_fd=tmp, dst_dir_fd=parent)
        except FileNotFoundError:
            return
        except FileExistsError:
            put.wrote = False
        else:
            put.wrote = True

    def _remove_sides(self, put: _Put) -> None:
        """Remove what is never read again: its name holds the time of an object that isn't there."""
        if put.side is not None and put.outcome is not True:
            remove_side(self._folders, put.side)
        if put.replaced_ns is not None and put.outcome is True:
            remove_side(self._folders, side_key(put.new.key, put.replaced_ns))


def _unsettled(puts: Iterable[_Put]) -> list[_Put]:
    return [put for put in puts if put.outcome is None]


@contextmanager
def _settling(puts: Sequence[_Put]) -> Iterator[None]:
    """What fails in the block is the outcome of those that have none yet.

    Each gets an error of its own, without traceback and cause: those hold the frames that hold the puts, so
    in an outage the audio of every failed put would wait for a garbage collection.
    """
    try:
        with mapped():
            yield
    except BackendError as error:
        for put in _unsettled(puts):
            put.outcome = type(error)(str(error))
        # From 3.12 on, contextlib's frames and these tracebacks hold each other.
        for link in (error, error.__cause__, error.__context__):
            if link is not None:
                link.__traceback__ = None


def _ensure_object(put: _Put, there: os.stat_result | None) -> bool:
    """Whether an object is there. Raises `BackendRefused` for anything else."""
    if there is not None and not stat.S_ISREG(there.st_mode):
        raise BackendRefused(f"{put.new.key!r} is a folder of other keys, or not a regular file")
    return there is not None
