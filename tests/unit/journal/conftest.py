"""What the journal's tests share: chunks, limits that don't bind, files whose writes fail or hang at will."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import apsw
import attrs
import pytest
import trio

from interview_edge.core.models import Chunk, StreamKey
from interview_edge.core.pcm import identify
from interview_edge.journal import Append, Journal, open_journal, tables
from interview_edge.sqlite import configure, in_transaction

_numbers = itertools.count()


class FaultyFiles(apsw.VFS):
    """Real files whose writes raise `fault` where it is set, and whose syncs wait while `hold` is unset."""

    def __init__(self) -> None:
        self.name = f"faulty-{next(_numbers)}"
        self.fault: type[apsw.Error] | None = None
        self.go_on = threading.Event()
        self.go_on.set()
        self.syncs = 0
        super().__init__(self.name, "")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802  # APSW's name
        return _File(self, name, flags)


class _File(apsw.VFSFile):
    def __init__(self, files: FaultyFiles, name: Any, flags: list[int]) -> None:
        self._files = files
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802  # APSW's name
        if self._files.fault is not None:
            raise self._files.fault("as the test asked")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802  # APSW's name
        self._files.syncs += 1
        assert self._files.go_on.wait(5)
        super().xSync(flags)


@attrs.define
class Feeder:
    """Appends numbered chunks and keeps what became of each, in the order of the `done`s."""

    journal: Journal
    key: StreamKey = attrs.field(factory=lambda: StreamKey("session"))
    outcomes: list[tuple[int, Exception | None]] = attrs.field(factory=list)
    settled: trio.Event = attrs.field(factory=trio.Event)

    def chunk(self, seq: int, *, size: int = 32_000, mark: int = 0) -> Chunk:
        pcm = random.Random(seq * 1_000 + mark).randbytes(size)
        sha256, identity = identify(pcm, final=False)
        return Chunk(seq, 1_000 + seq, False, pcm, sha256, identity)

    def append(self, *seqs: int, repeat: bool = False, mark: int = 0, size: int = 32_000) -> None:
        for seq in seqs:
            chunk = self.chunk(seq, mark=mark, size=size)
            self.journal.append(Append(self.key, chunk, 5, partial(self._done, seq), repeat))

    def _done(self, seq: int, error: Exception | None) -> None:
        self.outcomes.append((seq, error))
        self.settled.set()

    async def until_settled(self, count: int) -> None:
        with trio.fail_after(5):
            while len(self.outcomes) < count:
                self.settled = trio.Event()
                await self.settled.wait()

    async def until_refused(self) -> None:
        for seq in range(1, 1_000):
            self.append(seq)
            await self.until_settled(seq)

    async def stored(self) -> dict[int, bytes]:
        return dict(await self.journal.read(self.key, 1, 1_000))


class OldJournal:
    """A journal file of the first layout, written by its own SQL: one table, the audio in the chunk's row."""

    def __init__(self, path: Path) -> None:
        self._connection = apsw.Connection(str(path))
        configure(self._connection, page_size=16_384, incremental_vacuum=True)
        schema = files("interview_edge.journal") / "migrations" / "0001_journal.sql"
        self._connection.execute(schema.read_text("utf-8"))
        self._connection.pragma("user_version", 1)

    def add(self, no: int, key: StreamKey, chunks: Iterable[Chunk], *, duplicates: int) -> None:
        """A stream with its chunks and a plan for each ten of them."""

        def write(connection: apsw.Connection) -> None:
            connection.execute(
                "INSERT INTO streams VALUES (?, ?, ?, ?)", (no, key.session_id, key.stream, duplicates)
            )
            for c in chunks:
                connection.execute(
                    "INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (tables.chunk_id(no, c.seq), c.timestamp_ms, c.final, 5, c.sha256, c.identity, c.pcm),
                )
                if c.seq % 10 == 1:
                    connection.execute(
                        "INSERT INTO plans VALUES (?, ?, ?, 'segments', 'wav', ?, ?)",
                        (no, c.seq, c.seq + 9, f"k{c.seq}", b"s" * 32),
                    )

        in_transaction(self._connection, write)

    def close(self) -> None:
        self._connection.close()


OpenJournal = Callable[..., AbstractAsyncContextManager[Journal]]


@pytest.fixture
def open_at(tmp_path: Path) -> OpenJournal:
    """open_journal on this test's file, with limits that don't bind unless the test sets them."""
    limits: dict[str, Any] = {
        "max_bytes": 10**9,
        "min_free_bytes": 0,
        "queue_bytes": 10**8,
        "retry_interval": 0.001,
    }

    def open_with(**changed: Any) -> AbstractAsyncContextManager[Journal]:
        return open_journal(tmp_path / "journal.db", **limits | changed)

    return open_with


@pytest.fixture
def feeder() -> type[Feeder]:
    return Feeder


@pytest.fixture
def old_journal() -> type[OldJournal]:
    return OldJournal


@pytest.fixture
def faulty_files() -> Iterator[FaultyFiles]:
    files = FaultyFiles()
    yield files
    files.go_on.set()
