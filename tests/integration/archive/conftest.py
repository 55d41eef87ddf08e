"""One node's storage side, real parts only: journal and catalog on SQLite files, an archive, a reader."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import attrs
import pytest
import trio

from interview_edge.archive import Archive, ArchivePolicy, AudioReader
from interview_edge.backends.memory import MemoryBackend
from interview_edge.backends.protocol import BackendError, GroupPutter, ObjectPut, StorageBackend
from interview_edge.catalog import Catalog, open_sqlite_catalog
from interview_edge.core.models import Chunk, Extent, Layout, StreamKey
from interview_edge.core.pcm import CHUNK_BYTES, identify
from interview_edge.core.ranges import Ranges
from interview_edge.journal import Append, Journal, open_journal
from interview_edge.testing import FaultyBackend

NOW = 1_700_000_000_000
KEY = StreamKey("interview-1")


def pcm_of(seq: int, *, salt: str = "", length: int = CHUNK_BYTES) -> bytes:
    """A second that is unlike any other, and cheap to make and to compress."""
    return (hashlib.sha256(f"{salt}{seq}".encode()).digest() * (CHUNK_BYTES // 32))[:length]


def chunk_of(seq: int, *, salt: str = "", final: bool = False, length: int = CHUNK_BYTES) -> Chunk:
    pcm = pcm_of(seq, salt=salt, length=length)
    sha256, identity = identify(pcm, final=final)
    return Chunk(seq, 1_000 * seq, final, pcm, sha256, identity)


@attrs.define(eq=False)
class Node:
    """The parts under test, and a clock that stands still."""

    journal: Journal
    catalog: Catalog
    backend: StorageBackend
    archive: Archive
    reader: AudioReader
    stored: list[tuple[StreamKey, tuple[tuple[int, int], ...]]]
    conflicts: list[tuple[StreamKey, tuple[int, ...]]]

    async def journal_chunks(
        self, chunks: Iterable[Chunk], key: StreamKey = KEY, *, repeat: bool = False
    ) -> None:
        """Commit chunks to the journal, as a session does, and tell the archive."""
        for chunk in chunks:
            done = trio.Event()
            errors: list[Exception | None] = []

            def finished(error: Exception | None, done: trio.Event = done, errors: list = errors) -> None:
                errors.append(error)
                done.set()

            self.journal.append(Append(key, chunk, NOW, finished, repeat))
            await done.wait()
            assert errors == [None]
            if not repeat:
                self.archive.journalled(key, chunk.seq, NOW)

    async def flush(self, session_id: str = KEY.session_id) -> None:
        with trio.fail_after(30):
            await self.archive.flush(session_id)

    async def keys(self, prefix: str = "sessions/") -> list[str]:
        return [info.key async for info in self.backend.list(prefix)]


class Fuse:
    """Stops a node at its `blow_at`-th call (from 1) of a journal, catalog or backend method, or at the first
    of a name.

    The call and every later one wait until they are cancelled, the call's effect having happened or not
    (`after`): what a kill at that point leaves behind. With `blow_at` None it only counts.
    """

    def __init__(self, blow_at: int | str | None = None, *, after: bool = False) -> None:
        self.blow_at = blow_at
        self.after = after
        self.calls: list[str] = []
        self.blown = trio.Event()
        self.armed = False

    def wire(self, part: Any, methods: Iterable[str]) -> Any:
        fused = _FusedGroups if isinstance(part, GroupPutter) else _Fused
        return fused(part, self, frozenset(methods))

    async def pass_through(self, name: str, call: Callable[[], Any]) -> Any:
        if not self.armed:
            return await call()
        if self.blown.is_set():
            await trio.sleep_forever()
        self.calls.append(name)
        blows = self.blow_at in (len(self.calls), name)
        if blows and not self.after:
            self.blown.set()
            await trio.sleep_forever()
        result = await call()
        if blows:
            self.blown.set()
        if self.blown.is_set():
            await trio.sleep_forever()
        return result


class _Fused:
    """A part whose named async methods go through a fuse."""

    def __init__(self, part: Any, fuse: Fuse, methods: frozenset[str]) -> None:
        self._part = part
        self._fuse = fuse
        self._methods = methods

    def __getattr__(self, name: str) -> Any:
        target = getattr(self._part, name)
        if name not in self._methods:
            return target

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await self._fuse.pass_through(name, lambda: target(*args, **kwargs))

        return call


class _FusedGroups(_Fused):
    """With the capability in sight of `isinstance`."""

    async def put_group(self, puts: Sequence[ObjectPut]) -> Any:
        return await self._fuse.pass_through("put_group", lambda: self._part.put_group(puts))


JOURNAL_CALLS = ("streams", "rows", "plans", "read", "repeats", "record_plans", "trim", "drop_session")
CATALOG_CALLS = (
    "identities",
    "record_stored",
    "events",
    "append_events",
    "mark_deleted",
    "purge_session",
    "deletions_under_way",
)
BACKEND_CALLS = ("put", "get", "delete")

OpenNode = Callable[..., AbstractAsyncContextManager[Node]]


@pytest.fixture
def open_node(tmp_path: Path) -> OpenNode:
    """Open a node on the same files each time, so that a second opening is a restart."""

    @asynccontextmanager
    async def open_parts(
        backend: StorageBackend,
        *,
        name: str = "node",
        folder: str = "",
        fuse: Fuse | None = None,
        run: bool = True,
        now_ms: Callable[[], int] = lambda: NOW,
        **policy: Any,
    ) -> AsyncIterator[Node]:
        settings = ArchivePolicy(
            **{"retry_initial": 0.001, "retry_max": 0.01, "upload_timeout": 5.0} | policy
        )
        fuse = Fuse() if fuse is None else fuse
        path = tmp_path / folder
        path.mkdir(exist_ok=True)
        async with (
            open_journal(
                path / f"{name}.journal.db",
                max_bytes=10**9,
                min_free_bytes=0,
                queue_bytes=10**8,
                retry_interval=0.01,
            ) as journal,
            # One catalog for all nodes, as PostgreSQL would be.
            open_sqlite_catalog(path / "catalog.db") as catalog,
            trio.open_nursery() as nursery,
        ):
            stored: list[Any] = []
            conflicts: list[Any] = []
            archive = Archive(
                fuse.wire(journal, JOURNAL_CALLS),
                fuse.wire(catalog, CATALOG_CALLS),
                fuse.wire(backend, BACKEND_CALLS),
                settings,
                now_ms=now_ms,
                random=Random(7),
                on_stored=lambda key, ranges: stored.append((key, tuple(ranges))),
                on_conflict=lambda key, seqs: conflicts.append((key, tuple(seqs))),
            )
            reader = AudioReader(journal, catalog, backend)
            fuse.armed = True
            if run and fuse.blow_at is None:
                await nursery.start(archive.run)
            elif run:
                nursery.start_soon(archive.run)  # it may be stopped before it has started
            yield Node(journal, catalog, backend, archive, reader, stored, conflicts)
            nursery.cancel_scope.cancel()

    return open_parts


@pytest.fixture
def backend() -> MemoryBackend:
    return MemoryBackend()


async def assert_exact(
    node: Node, chunks: Iterable[Chunk], key: StreamKey = KEY, *, duplicates: int = 0
) -> tuple[Extent, ...]:
    """Journal, catalog and backend hold exactly these chunks, each once, and every second reads back as it
    came.
    """
    chunks = list(chunks)
    held = Ranges()
    for chunk in chunks:
        held.add(chunk.seq)
    assert await node.journal.streams() == []
    assert await node.journal.plans(key) == []
    session = await node.catalog.load_session(key.session_id)
    assert session is not None
    ledger = session.streams[key.stream].ledger
    assert ledger.held == tuple(held)
    assert ledger.duplicates == duplicates
    extents = tuple(await node.catalog.extents(key))
    covered = [seq for extent in extents for seq in range(extent.first, extent.last + 1)]
    assert sorted(covered) == sorted(chunk.seq for chunk in chunks), "each second lies in exactly one extent"
    assert sorted(await node.keys()) == sorted({extent.key for extent in extents}), (
        "no object is stored twice"
    )
    for chunk in chunks:
        assert await node.reader.chunk(key, chunk.seq) == chunk.pcm
    identities = await node.catalog.identities(key, [chunk.seq for chunk in chunks])
    assert identities == {chunk.seq: chunk.identity for chunk in chunks}
    return extents


class GroupingBackend(MemoryBackend):
    """Puts in groups, too; the puts of a group are one after the other, so that it can be cut off in it.

    `cut_off` is how many a group puts before it waits for its cancellation.
    """

    groups: list[list[str]]
    cut_off: int | None = None

    async def put_group(self, puts: Sequence[ObjectPut]) -> list[bool | BackendError]:
        self.groups = [*getattr(self, "groups", []), [put.key for put in puts]]
        outcomes: list[bool | BackendError] = []
        for put in puts:
            if len(outcomes) == self.cut_off:
                await trio.sleep_forever()
            try:
                outcomes.append(await self.put(**attrs.asdict(put)))
            except BackendError as error:
                outcomes.append(error)
        return outcomes


class HeldBackend(FaultyBackend):
    """A store whose puts wait until they are told to go on."""

    def __init__(self, inner: StorageBackend) -> None:
        super().__init__(inner)
        self.asked = trio.Event()
        self.go_on = trio.Event()

    async def put(self, key: str, data: bytes, **options: Any) -> bool:
        self.asked.set()
        await self.go_on.wait()
        return await super().put(key, data, **options)


async def until(reached: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until `reached()`: what the tests wait for happens in SQLite's threads, so no event tells."""
    with trio.fail_after(seconds):
        while True:
            if reached():
                return
            await trio.sleep(0.001)


async def drained(node: Node) -> None:
    """Wait until the archive has brought everything in and the journal has forgotten it."""
    await until(lambda: node.journal.stats.rows == 0 and not node.archive.health().streams)


BOTH_LAYOUTS = pytest.mark.parametrize("layout", list(Layout), ids=lambda layout: layout.value)
