"""A disk that loses power: an APSW VFS that knows which writes were synced and what may become of the others.

kill -9 can't show a missing fsync, since the page cache survives it. Here the real file plays the page cache,
and beside it each file has what the platter surely holds (everything up to its last sync) and the writes
since. At the loss those are dropped, kept or torn sector by sector, in any combination; that is all a real
disk may do, so it covers every reordering too.
"""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import attrs
import pytest

SECTOR = 512
CHECKPOINT_PAGES = 12  # small, so that a short run has many checkpoints

_numbers = itertools.count()


@attrs.define
class Platter:
    """One file. `durable` None: the file itself is not yet surely there. A truncation is a write of None."""

    durable: bytes | None = None
    pending: list[tuple[int, bytes | None]] = attrs.field(factory=list)

    def sync(self) -> None:
        image = bytearray(self.durable or b"")
        for offset, data in self.pending:
            write(image, offset, data)
        self.durable, self.pending = bytes(image), []

    def after_loss(self, rng: random.Random) -> bytes | None:
        """What a disk may hold of the file after the loss."""
        if self.durable is None and rng.random() < 0.5:
            return None
        image = bytearray(self.durable or b"")
        keep = rng.choice([0.0, 0.1, 0.5, 0.9, 1.0])
        for offset, data in self.pending:
            if data is None:
                if rng.random() < keep:
                    write(image, offset, None)
                continue
            for start in range(0, len(data), SECTOR):
                sector = data[start : start + SECTOR]
                if rng.random() < keep:
                    torn = rng.random() < 0.05
                    write(image, offset + start, sector[: rng.randrange(len(sector))] if torn else sector)
        return bytes(image)


def write(image: bytearray, offset: int, data: bytes | None) -> None:
    """Apply a write, or a truncation to `offset`."""
    end = offset + len(data or b"")
    if len(image) < end:
        image.extend(bytes(end - len(image)))
    if data is None:
        del image[offset:]
    else:
        image[offset:end] = data


class PowerLossDisk(apsw.VFS):
    """Everything SQLite does to files under this VFS. The loss comes before operation `loses_at`.

    With `syncs=False` it is a disk that lies about fsync: what the tests must be able to notice.
    """

    def __init__(self, loses_at: int | None = None, *, syncs: bool = True) -> None:
        self.name = f"power-loss-{next(_numbers)}"
        self.operations = 0
        self.loses_at = loses_at
        self.syncs = syncs
        self.on_loss: Callable[[], None] = lambda: None
        self._files: dict[str, Platter] = {}
        self._at_loss: dict[str, Platter] | None = None
        self._lock = threading.Lock()
        super().__init__(self.name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802  # APSW's name
        if name is None:
            return apsw.VFSFile("", name, flags)
        path = name if isinstance(name, str) else name.filename()
        with self._lock:
            self._files.setdefault(path, Platter())
        return _File(self, path, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802  # APSW's name
        # Only a WAL that was checkpointed and synced is deleted, so a lost deletion would be replayed to no
        # effect; the stricter case is that it is gone at once.
        self.operation(lambda: self._files.pop(filename, None))
        super().xDelete(filename, syncdir)

    def operation(self, change: Callable[[], object]) -> None:
        """Count an operation, lose the power before it if it is its turn, and note what it changes."""
        with self._lock:
            self.operations += 1
            if self.operations == self.loses_at:
                self._lose()
            change()

    def _lose(self) -> None:
        self._at_loss = {p: Platter(f.durable, list(f.pending)) for p, f in self._files.items()}
        self.on_loss()

    def noted(self, path: str, offset: int, data: bytes | None) -> None:
        self.operation(lambda: self._files[path].pending.append((offset, data)))

    def synced(self, path: str) -> None:
        self.operation(lambda: self._files[path].sync() if self.syncs else None)

    def write_survivors(self, folder: Path, rng: random.Random) -> None:
        """Write into `folder` what a disk may hold after the loss (which comes now at the latest)."""
        if self._at_loss is None:
            self._lose()
        assert self._at_loss is not None
        for path, platter in sorted(self._at_loss.items()):
            image = platter.after_loss(rng)
            if image is not None:
                (folder / Path(path).name).write_bytes(image)


class _File(apsw.VFSFile):
    def __init__(
        self, disk: PowerLossDisk, path: str, name: str | apsw.URIFilename, flags: list[int]
    ) -> None:
        self._disk = disk
        self._path = path
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802  # APSW's name
        self._disk.noted(self._path, offset, bytes(data))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802  # APSW's name
        self._disk.noted(self._path, newsize, None)
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802  # APSW's name
        # The real sync is left out: the model above stands for it, and the test is a hundred times faster.
        self._disk.synced(self._path)


@pytest.fixture
def power_loss_disk() -> Iterator[type[PowerLossDisk]]:
    """The class of such disks; connections on them checkpoint often."""

    def checkpoint_often(connection: apsw.Connection) -> None:
        if connection.open_vfs.startswith("power-loss-"):
            connection.wal_autocheckpoint(CHECKPOINT_PAGES)

    apsw.connection_hooks.append(checkpoint_often)
    yield PowerLossDisk
    apsw.connection_hooks.remove(checkpoint_often)
