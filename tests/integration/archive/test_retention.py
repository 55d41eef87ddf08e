"""Files are given up by age or by hand: wholly, wherever it is cut off, and nothing else with them."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from interview_edge.archive import FileRemover, SweepReport
from interview_edge.archive import retention as retention_module
from interview_edge.backends.memory import MemoryBackend
from interview_edge.backends.protocol import BackendRefused, BackendUnavailable
from interview_edge.catalog import CatalogUnavailable
from interview_edge.catalog.files import StoredFile
from interview_edge.core.keys import conflict_key
from interview_edge.core.models import Layout, StreamKey
from interview_edge.core.pcm import CHUNK_BYTES
from interview_edge.errors import CHUNK_EXPIRED, EdgeError
from interview_edge.testing import FaultyBackend

from .conftest import BOTH_LAYOUTS, KEY, NOW, Fuse, Node, OpenNode, chunk_of, pcm_of

DAY = 86_400_000
OTHER = StreamKey("interview-2", "teacher")
FILE_CALLS = ("expire", "undeleted", "record_gone", "sessions_to_sweep", "listing", "record_swept")


class Clock:
    """The node's and the store's time, which a test sets."""

    def __init__(self) -> None:
        self.ms = NOW

    def __call__(self) -> int:
        return self.ms

    def as_datetime(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self.ms / 1000, datetime.UTC)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@asynccontextmanager
async def nobody_is_live(session_id: str) -> AsyncIterator[bool]:
    yield True


def remover_of(node: Node, fuse: Fuse | None = None, **more: Any) -> FileRemover:
    fuse = Fuse() if fuse is None else fuse
    settings = {"concurrency": 2, "timeout": 5.0} | more
    return FileRemover(
        fuse.wire(node.catalog.files, FILE_CALLS), fuse.wire(node.backend, ["delete"]), **settings
    )


async def sweep(node: Node, before: int, fuse: Fuse | None = None, **more: Any) -> SweepReport:
    return await remover_of(node, fuse).sweep(before, **({"unless_live": nobody_is_live} | more))


async def fill(node: Node, clock: Clock) -> None:
    """Two sessions on day 0, one second more of the first on day 20."""
    clock.ms = NOW
    for key in (KEY, OTHER):
        await node.journal_chunks([chunk_of(1), chunk_of(2), chunk_of(61)], key)
        await node.flush(key.session_id)
    clock.ms = NOW + 20 * DAY
    await node.journal_chunks([chunk_of(62)])
    await node.flush()


async def files_of(node: Node, session_id: str | None = None) -> list[StoredFile]:
    return list(await node.catalog.files.listing(limit=1_000, session_id=session_id))


async def readable(node: Node, key: StreamKey = KEY) -> dict[int, bool]:
    """Each second that the ledger holds: whether it reads exactly; False where it says that it expired."""
    record = await node.catalog.load_session(key.session_id)
    assert record is not None
    found = {}
    for first, last in record.streams[key.stream].ledger.held:
        for seq in range(first, last + 1):
            try:
                assert await node.reader.chunk(key, seq) == pcm_of(seq)
                found[seq] = True
            except EdgeError as error:
                if error.kind is not CHUNK_EXPIRED:
                    raise
                found[seq] = False
    return found


async def assert_swept(node: Node) -> None:
    """What was stored on day 0 is gone, in every room; what is of day 20 stays."""
    assert await readable(node) == {1: False, 2: False, 61: False, 62: True}
    assert await readable(node, OTHER) == {1: False, 2: False, 61: False}
    assert await node.catalog.files.undeleted(limit=10) == []
    assert [file.first for file in await files_of(node)] == [62]
    assert await node.keys() == [file.key for file in await files_of(node)]


@BOTH_LAYOUTS
async def test_a_sweep_gives_up_what_is_older_and_nothing_else(
    open_node: OpenNode, clock: Clock, layout: Layout
) -> None:
    async with open_node(MemoryBackend(), now_ms=clock, layout=layout) as node:
        await fill(node, clock)
        old = [file for file in await files_of(node) if file.first != 62]
        size = sum(file.size for file in old)
        dry = await sweep(node, NOW + DAY, dry_run=True)
        assert dry == SweepReport(files=len(old), freed_bytes=size, sessions=2)
        assert all((await readable(node)).values()), "a dry run changes nothing"
        assert await sweep(node, NOW + DAY) == dry
        await assert_swept(node)
        assert await sweep(node, NOW + DAY) == SweepReport()
        assert await sweep(node, NOW) == SweepReport(), "one with an earlier age, too"


async def test_a_dry_run_counts_what_an_earlier_removal_left(open_node: OpenNode, clock: Clock) -> None:
    async with open_node(MemoryBackend(), now_ms=clock) as node:
        await fill(node, clock)
        await node.catalog.files.expire(KEY.session_id, [(await files_of(node, KEY.session_id))[0].key])
        dry = await sweep(node, NOW + DAY, dry_run=True)
        assert (dry.files, dry.freed_bytes) == (6, 6 * CHUNK_BYTES)
        assert len(await node.catalog.files.undeleted(limit=10)) == 1, "a dry run changes nothing"
        assert await sweep(node, NOW + DAY) == dry
        await assert_swept(node)


async def test_a_second_that_expired_is_held_and_a_repeat_of_it_a_duplicate(
    open_node: OpenNode, clock: Clock
) -> None:
    async with open_node(MemoryBackend(), now_ms=clock) as node:
        await fill(node, clock)
        await sweep(node, NOW + DAY)
        await node.journal_chunks([chunk_of(1)])
        await node.flush()
        await assert_swept(node)


@BOTH_LAYOUTS
@pytest.mark.parametrize("after", [False, True], ids=["before the call", "after the call"])
async def test_a_sweep_that_stops_at_any_call_is_finished_by_the_next(
    open_node: OpenNode, clock: Clock, layout: Layout, after: bool
) -> None:
    counting = Fuse()
    counting.armed = True
    async with open_node(MemoryBackend(), folder="undisturbed", now_ms=clock, layout=layout) as node:
        await fill(node, clock)
        await sweep(node, NOW + DAY, counting)
    assert set(counting.calls) == {*FILE_CALLS, "delete"}
    for point in range(1, len(counting.calls) + 1):
        backend = MemoryBackend()
        async with open_node(backend, folder=str(point), now_ms=clock, layout=layout) as node:
            await fill(node, clock)
            fuse = Fuse(point, after=after)
            fuse.armed = True
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sweep, node, NOW + DAY, fuse)
                with trio.fail_after(30):
                    await fuse.blown.wait()
                nursery.cancel_scope.cancel()
            for key in (KEY, OTHER):
                await readable(node, key)  # exact or expired, whatever was cut off
        async with open_node(backend, folder=str(point), now_ms=clock, layout=layout) as node:
            await sweep(node, NOW + DAY)
            await assert_swept(node)


async def test_a_live_session_keeps_its_files(open_node: OpenNode, clock: Clock) -> None:
    asked: list[str] = []

    @asynccontextmanager
    async def first_is_live(session_id: str) -> AsyncIterator[bool]:
        asked.append(session_id)
        yield session_id != KEY.session_id

    async with open_node(MemoryBackend(), now_ms=clock) as node:
        await fill(node, clock)
        dry = await sweep(node, NOW + DAY, unless_live=first_is_live, dry_run=True)
        assert dry == SweepReport(files=3, freed_bytes=3 * CHUNK_BYTES, sessions=1, live=1)
        assert await sweep(node, NOW + DAY, unless_live=first_is_live) == dry
        assert set((await readable(node)).values()) == {True}
        assert set((await readable(node, OTHER)).values()) == {False}
        assert asked == [KEY.session_id, OTHER.session_id] * 2
        await sweep(node, NOW + DAY)
        await assert_swept(node)


async def test_nobody_opens_a_session_while_its_files_are_marked(open_node: OpenNode, clock: Clock) -> None:
    """The mark is made inside of the block; deletions, which may take long, come after it."""
    backend = FaultyBackend(MemoryBackend())
    inside: set[str] = set()

    @asynccontextmanager
    async def held_back(session_id: str) -> AsyncIterator[bool]:
        inside.add(session_id)
        yield True
        expired = await node.catalog.files.undeleted(limit=10)
        assert {file.session_id for file in expired} == {session_id}
        assert await backend.inner.head(expired[0].key)
        inside.remove(session_id)

    async with open_node(backend, now_ms=clock) as node:
        await fill(node, clock)
        deleting = backend.delete

        async def delete(key: str) -> None:
            assert not inside
            await deleting(key)

        backend.delete = delete  # type: ignore[method-assign]
        await sweep(node, NOW + DAY, unless_live=held_back)
        await assert_swept(node)


async def test_an_outage_ends_a_sweep_and_the_next_one_goes_on(open_node: OpenNode, clock: Clock) -> None:
    backend = FaultyBackend(MemoryBackend())
    async with open_node(backend, now_ms=clock) as node:
        await fill(node, clock)
        backend.outage = True
        report = await sweep(node, NOW + DAY)
        assert (report.files, report.freed_bytes, report.failed, report.sessions) == (0, 0, 3, 0)
        assert report.error is not None
        assert report.error.startswith("BackendUnavailable: outage: delete")
        assert backend.calls["delete"] <= 2, "no more than were under way at once"
        assert len(await files_of(node, OTHER.session_id)) == 3, "the session behind it isn't marked"
        again = await sweep(node, NOW + DAY)
        assert again.failed == 3, "the same ones, and nothing behind them"
        backend.outage = False
        assert await sweep(node, NOW + DAY) == SweepReport(6, 6 * CHUNK_BYTES, 0, 1)
        await assert_swept(node)


class Refusing(MemoryBackend):
    """Refuses to delete one key, as an object lock does."""

    locked = ""

    async def delete(self, key: str) -> None:
        if key == self.locked:
            await trio.lowlevel.checkpoint()
            raise BackendRefused("the object is locked")
        await super().delete(key)


async def test_a_refusal_stops_no_other_file(
    open_node: OpenNode, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention_module, "PAGE", 1)
    backend = Refusing()
    async with open_node(backend, now_ms=clock) as node:
        await fill(node, clock)
        backend.locked = (await files_of(node, KEY.session_id))[0].key
        report = await sweep(node, NOW + DAY)
        assert (report.files, report.failed, report.error) == (5, 1, "BackendRefused: the object is locked")
        assert not any((await readable(node, OTHER)).values())
        await node.catalog.files.expire(KEY.session_id, [(await files_of(node))[0].key])
        assert (await sweep(node, NOW + DAY)).files == 1, "one that was left behind the refused one"
        backend.locked = ""
        assert (await sweep(node, NOW + DAY)).files == 1


async def test_a_sweep_goes_page_by_page(
    open_node: OpenNode, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention_module, "PAGE", 2)
    async with open_node(MemoryBackend(), now_ms=clock) as node:
        await fill(node, clock)
        assert (await sweep(node, NOW + DAY)).files == 6
        await assert_swept(node)


async def test_conflicts_of_that_age_go_too(open_node: OpenNode, clock: Clock) -> None:
    backend = MemoryBackend(now=clock.as_datetime)
    async with open_node(backend, now_ms=clock) as node:
        await fill(node, clock)
        clock.ms = NOW
        await node.journal_chunks([chunk_of(1, salt="other")])
        await node.flush()
        clock.ms = NOW + 20 * DAY
        await node.journal_chunks([chunk_of(2, salt="other")])
        await node.flush()
        kept, gone = conflicts = [
            conflict_key(KEY, seq, chunk_of(seq, salt="other").identity) for seq in (2, 1)
        ]
        assert set(conflicts) < set(await node.keys())
        report = await sweep(node, NOW + DAY)
        assert (report.files, report.freed_bytes) == (7, 7 * CHUNK_BYTES)
        assert kept in await node.keys()
        assert gone not in await node.keys()


@pytest.mark.parametrize("fail", [BackendUnavailable("outage"), ValueError("a plugin's, with a secret")])
async def test_conflicts_that_cant_be_listed_are_the_next_sweeps(
    open_node: OpenNode, clock: Clock, fail: Exception
) -> None:
    class Unlistable(MemoryBackend):
        broken = True

        async def list(self, prefix: str, **more: Any) -> AsyncIterator[Any]:
            if self.broken:
                raise fail
            async for info in super().list(prefix, **more):
                yield info

    backend = Unlistable()
    async with open_node(backend, now_ms=clock) as node:
        await fill(node, clock)
        report = await sweep(node, NOW + DAY)
        assert report.failed == 1
        assert "secret" not in str(report.error)
        backend.broken = False
        await sweep(node, NOW + DAY)
        await assert_swept(node)


async def test_removal_says_of_each_file_how_it_went(open_node: OpenNode, clock: Clock) -> None:
    backend = Refusing()
    async with open_node(backend, now_ms=clock) as node:
        await fill(node, clock)
        files = await files_of(node)
        backend.locked = files[0].key
        removal = await remover_of(node).remove(files)
        assert {file.key for file in removal.removed} == {file.key for file in files[1:]}
        assert {key: type(error) for key, error in removal.failed.items()} == {files[0].key: BackendRefused}
        assert removal.freed_bytes == sum(file.size for file in files[1:])
        backend.locked = ""
        again = await remover_of(node).remove(files)
        assert [file.key for file in again.removed] == [files[0].key], "the rest were gone before"
        assert again.freed_bytes == files[0].size


async def test_in_an_outage_a_removal_marks_everything_and_tries_little(
    open_node: OpenNode, clock: Clock
) -> None:
    """Who asked for it is told that it failed; it reads as expired, and the next sweep finishes it."""
    backend = FaultyBackend(MemoryBackend())
    async with open_node(backend, now_ms=clock) as node:
        await fill(node, clock)
        files = await files_of(node)
        backend.outage = True
        removal = await remover_of(node).remove(files)
        assert removal.failed.keys() == {file.key for file in files}
        assert backend.calls["delete"] <= 2
        assert await files_of(node) == []
        backend.outage = False
        assert not any((await readable(node)).values())
        report = await remover_of(node).finish()
        assert (report.files, report.freed_bytes) == (7, 7 * CHUNK_BYTES)
        assert await node.keys() == []


async def test_of_two_removals_of_one_file_one_counts_it(open_node: OpenNode, clock: Clock) -> None:
    async with open_node(MemoryBackend(), now_ms=clock) as node:
        await fill(node, clock)
        files = await files_of(node)
        freed: list[int] = []

        async def remove() -> None:
            freed.append((await remover_of(node).remove(files)).freed_bytes)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(remove)
        assert sum(freed) == sum(file.size for file in files)


async def test_deletions_under_way_are_bounded_and_each_has_a_deadline(
    open_node: OpenNode, clock: Clock
) -> None:
    class Hanging(MemoryBackend):
        under_way = most = 0

        async def delete(self, key: str) -> None:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            try:
                await trio.sleep_forever()
            finally:
                self.under_way -= 1

    backend = Hanging()
    async with open_node(backend, now_ms=clock) as node:
        await fill(node, clock)
        remover = remover_of(node, timeout=0.01)
        removals = []

        async def remove() -> None:
            removals.append(await remover.remove(await files_of(node)))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(remove)
        assert backend.most == 2
        for removal in removals:
            assert len(removal.failed) == 7
            assert {str(error) for error in removal.failed.values()} == {"the store took over 0.01 s"}


async def test_a_catalog_that_hangs_ends_a_sweep(open_node: OpenNode, clock: Clock) -> None:
    async with open_node(MemoryBackend(), now_ms=clock) as node:
        await fill(node, clock)
        fuse = Fuse("listing")
        fuse.armed = True
        remover = remover_of(node, fuse, timeout=0.01)
        with pytest.raises(CatalogUnavailable, match=r"the catalog took over 0\.01 s"):
            await remover.sweep(NOW + DAY, unless_live=nobody_is_live)
