"""A store that is damaged in each way: what fsck says, what it mends; it never deletes what is held."""

from __future__ import annotations

import datetime
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import product
from random import Random
from typing import Any

import apsw
import attrs
import pytest
import trio

from interview_edge.archive import FileRemover
from interview_edge.archive.fsck import Finding, Fsck, FsckOptions, Kind, State, Summary, recorded_side
from interview_edge.archive.fsck import access as access_module
from interview_edge.archive.objects import Codec
from interview_edge.backends.memory import MemoryBackend
from interview_edge.backends.protocol import BackendError, BackendRefused, BackendUnavailable
from interview_edge.catalog import FinalizedResult
from interview_edge.core.keys import chunk_key, conflict_key, result_key, segment_key, session_prefix
from interview_edge.core.models import Chunk, Layout, SegmentFormat, StreamKey
from interview_edge.core.pcm import CHUNK_BYTES
from interview_edge.core.wav import encode_wav
from interview_edge.errors import CHUNK_EXPIRED, EdgeError
from interview_edge.testing import Effect, FaultyBackend, PlannedFault

from .conftest import (
    BACKEND_CALLS,
    BOTH_LAYOUTS,
    CATALOG_CALLS,
    KEY,
    NOW,
    Fuse,
    Node,
    OpenNode,
    chunk_of,
    drained,
    pcm_of,
)

OTHER = StreamKey("interview/2", "teacher")
LONG = StreamKey("会" * 100)  # whose part of the key is cut
SEQS = (1, 2, 3, 61)
FINAL = 61

CHECK = FsckOptions()
REPAIR = FsckOptions(repair=True)
DEEP = FsckOptions(deep=True)
ALL = FsckOptions(repair=True, deep=True, delete_orphans=True)


def acked_pcm(seq: int) -> bytes:
    return pcm_of(seq, length=500 if seq == FINAL else CHUNK_BYTES)


def acked() -> list[Chunk]:
    return [chunk_of(seq, final=seq == FINAL, length=len(acked_pcm(seq))) for seq in SEQS]


async def fill(node: Node, *keys: StreamKey) -> None:
    for key in keys or (KEY, OTHER):
        await node.journal_chunks(acked(), key)
        await node.flush(key.session_id)
    await drained(node)


async def fsck(
    node: Node,
    options: FsckOptions = CHECK,
    now: int = NOW,
) -> tuple[Summary, list[Finding]]:
    findings: list[Finding] = []
    check = Fsck(
        journal=node.journal,
        catalog=node.catalog,
        backend=node.backend,
        options=options,
        concurrency=2,
        timeout=5.0,
        now_ms=lambda: now,
    )
    summary = await check.run(findings.append, lambda _: None)
    assert sum(summary.findings.values()) >= len(findings)
    return summary, findings


async def judged(node: Node, options: FsckOptions = CHECK) -> dict[tuple[Kind, State], int]:
    return dict((await fsck(node, options))[0].findings)


async def assert_clean(node: Node) -> None:
    summary, findings = await fsck(node, DEEP)
    assert findings == []
    assert summary.problems == 0


async def assert_reads(node: Node, *keys: StreamKey) -> None:
    """Every second that was ever acked reads back, byte for byte."""
    for key in keys or (KEY, OTHER):
        for seq in SEQS:
            assert await node.reader.chunk(key, seq) == acked_pcm(seq)


async def object_of(node: Node, seq: int, key: StreamKey = KEY) -> str:
    (extent,) = await node.catalog.extents(key, seq, seq)
    return extent.key


@BOTH_LAYOUTS
@pytest.mark.parametrize("options", [FsckOptions(), DEEP, ALL])
async def test_a_sound_store_is_clean_and_stays_as_it_is(
    open_node: OpenNode, layout: Layout, options: FsckOptions
) -> None:
    backend = MemoryBackend()
    async with open_node(backend, layout=layout) as node:
        await fill(node)
        await backend.put("elsewhere/x", b"not ours")
        before = {info.key: await backend.get(info.key) async for info in backend.list("")}
        summary, findings = await fsck(node, options)
        assert findings == []
        assert (summary.sessions, summary.objects, summary.problems) == (2, len(before) - 1, 0)
        assert summary.size == sum(map(len, before.values())) - len(b"not ours")
        assert {info.key: await backend.get(info.key) async for info in backend.list("")} == before


async def delete_one(node: Node, key: str) -> None:
    await node.backend.delete(key)


async def cut_one(node: Node, key: str) -> None:
    await node.backend.put(key, (await node.backend.get(key))[:-2])


async def flip_one(node: Node, key: str) -> None:
    data = bytearray(await node.backend.get(key))
    data[-1] ^= 1
    await node.backend.put(key, bytes(data))


DAMAGES = pytest.mark.parametrize(
    ("damage", "kind", "needs_deep"),
    [
        (delete_one, Kind.MISSING, False),
        (cut_one, Kind.DAMAGED, False),
        (flip_one, Kind.DAMAGED, True),
    ],
)


@BOTH_LAYOUTS
@DAMAGES
async def test_what_is_lost_is_said_by_its_seqs(
    open_node: OpenNode,
    layout: Layout,
    damage: Callable[[Node, str], Awaitable[None]],
    kind: Kind,
    needs_deep: bool,
) -> None:
    async with open_node(MemoryBackend(), layout=layout) as node:
        await fill(node)
        key = await object_of(node, 2, OTHER)
        await damage(node, key)
        if needs_deep:
            assert await judged(node) == {}
        for options in (DEEP, ALL):
            summary, findings = await fsck(node, options)
            seqs = ((2, 2),) if layout is Layout.CHUNKS else ((1, 3),)
            (extent,) = await node.catalog.extents(OTHER, 2, 2)
            assert findings == [
                Finding(kind, State.LOST, OTHER.session_id, OTHER.stream, seqs, 1, extent.object_size, (key,))
            ]
            assert summary.problems == 1
        await assert_reads(node, KEY)


@BOTH_LAYOUTS
@DAMAGES
async def test_what_the_journal_still_has_is_put_again(
    open_node: OpenNode,
    layout: Layout,
    damage: Callable[[Node, str], Awaitable[None]],
    kind: Kind,
    needs_deep: bool,
) -> None:
    """The catalog had committed and the process ended before the trim; then the store lost the object."""
    backend = MemoryBackend()
    fuse = Fuse()
    async with open_node(backend, layout=layout, fuse=fuse) as node:
        await node.journal_chunks(acked())
        fuse.blow_at = "trim"  # from here on, so that all of it is one step's
        node.archive.hurry(KEY.session_id)
        await fuse.blown.wait()
    async with open_node(backend, layout=layout, run=False) as node:
        await assert_clean(node)
        await damage(node, await object_of(node, FINAL))
        assert await judged(node, DEEP) == {(kind, State.REPAIRABLE): 1}
        assert await judged(node, ALL) == {(kind, State.REPAIRED): 1}
        await assert_clean(node)
    async with open_node(backend, layout=layout) as node:
        await drained(node)
        await assert_clean(node)
        await assert_reads(node, KEY)
        assert (await backend.head(await object_of(node, FINAL))).metadata["final"] == "true"


async def test_an_object_of_another_size_with_the_right_audio_is_counted_anew(open_node: OpenNode) -> None:
    async with open_node(MemoryBackend(), layout=Layout.SEGMENTS) as node:
        await fill(node)
        key = await object_of(node, 1)
        await node.catalog.files.resize(KEY.session_id, key, 7)
        assert await judged(node) == {(Kind.MISCOUNTED, State.REPAIRABLE): 1}
        assert await judged(node, REPAIR) == {(Kind.MISCOUNTED, State.REPAIRED): 1}
        await assert_clean(node)
        totals = await node.catalog.files.totals()
        assert totals.size == sum([info.size async for info in node.backend.list("sessions/")])


@BOTH_LAYOUTS
async def test_audio_that_the_catalog_forgot_is_adopted(open_node: OpenNode, layout: Layout) -> None:
    backend = MemoryBackend(now=lambda: datetime.datetime.fromtimestamp((NOW + 5) / 1000, datetime.UTC))
    keys = (KEY, OTHER, LONG)
    async with open_node(backend, layout=layout) as node:
        await fill(node, *keys)
        before = {key: (await node.catalog.load_session(key.session_id)) for key in keys}
        identities = {key: await node.catalog.identities(key, SEQS) for key in keys}
    async with open_node(backend, folder="restored", run=False) as node:
        found = await judged(node)
        assert found == {(Kind.ADOPTABLE, State.REPAIRABLE): len(await node.keys())}
        _, findings = await fsck(node, ALL)
        assert {(f.session_id, f.stream, f.seqs) for f in findings} == {
            (key.session_id, key.stream, ((1, 3), (61, 61))) for key in keys
        }
        await assert_clean(node)
        await assert_reads(node, *keys)
        for key in keys:
            record = await node.catalog.load_session(key.session_id)
            old = before[key]
            assert record is not None
            assert old is not None
            assert record.created_at == NOW + 5
            ledger = record.streams[key.stream].ledger
            assert attrs.evolve(ledger, started_at=NOW, updated_at=NOW) == old.streams[key.stream].ledger
            assert await node.catalog.identities(key, SEQS) == identities[key]
            assert {e.stored_at for e in await node.catalog.extents(key)} == {NOW + 5}


async def test_seconds_that_an_older_catalog_lacks_are_adopted_beside_what_it_holds(
    open_node: OpenNode,
) -> None:
    """Of a segment whose first second the catalog holds in a chunk of its own."""
    backend = MemoryBackend()
    async with open_node(backend, layout=Layout.SEGMENTS, segment_format=SegmentFormat.WAV) as node:
        await fill(node, KEY)
    async with open_node(backend, folder="restored", run=False) as node:
        async with open_node(backend, folder="restored", name="late") as late:
            await late.journal_chunks([chunk_of(1)])
            await late.flush()
        assert await judged(node, REPAIR) == {(Kind.ADOPTABLE, State.REPAIRED): 2}
        await assert_clean(node)
        await assert_reads(node, KEY)
        extents = [(e.first, e.last) for e in await node.catalog.extents(KEY)]
        assert extents == [(1, 1), (2, 2), (3, 3), (61, 61)]


async def test_adopted_audio_goes_on_ageing(open_node: OpenNode) -> None:
    """A session that was swept: the sweep takes what fsck adopted since."""
    backend = MemoryBackend(now=lambda: datetime.datetime.fromtimestamp(NOW / 1000, datetime.UTC))
    async with open_node(backend) as node:
        await fill(node, KEY)
        await node.catalog.files.record_swept(KEY.session_id, NOW + 10)
        await backend.put(chunk_key(KEY, 9), pcm_of(9))
        await fsck(node, REPAIR, now=NOW + 20)
        assert list(await node.catalog.files.sessions_to_sweep(NOW + 10, limit=9)) == [KEY.session_id]
        old = await node.catalog.files.listing(limit=9, stored_before=NOW + 1)
        assert 9 in [file.first for file in old]


async def test_copies_are_deleted_when_asked_and_only_then(open_node: OpenNode) -> None:
    async with open_node(MemoryBackend(), layout=Layout.SEGMENTS) as node:
        await fill(node)
        copies = [chunk_key(KEY, 2), segment_key(KEY, 2, 3, SegmentFormat.WAV)]
        await node.backend.put(copies[0], pcm_of(2))
        await node.backend.put(copies[1], encode_wav(pcm_of(2) + pcm_of(3)))
        for options in (FsckOptions(), REPAIR):
            summary, _ = await fsck(node, options)
            assert dict(summary.findings) == {(Kind.COPY, State.DELETABLE): 2}
            assert summary.problems == 0
            assert set(copies) < set(await node.keys())
        assert await judged(node, FsckOptions(delete_orphans=True)) == {(Kind.COPY, State.DELETED): 2}
        await assert_clean(node)
        await assert_reads(node)


@BOTH_LAYOUTS
@DAMAGES
async def test_the_only_copy_is_kept_and_mends_what_it_is_of(
    open_node: OpenNode,
    layout: Layout,
    damage: Callable[[Node, str], Awaitable[None]],
    kind: Kind,
    needs_deep: bool,
) -> None:
    async with open_node(MemoryBackend(), layout=layout) as node:
        await fill(node)
        holder = await object_of(node, 61)
        copy = segment_key(KEY, 61, 61, SegmentFormat.WAV)
        await node.backend.put(copy, encode_wav(pcm_of(61, length=500)))
        await damage(node, holder)
        expected = {(Kind.COPY, State.KEPT): 1, (kind, State.REPAIRABLE): 1}
        assert await judged(node, DEEP) == expected
        assert await judged(node, FsckOptions(deep=True, delete_orphans=True)) == expected
        assert await judged(node, ALL) == {(Kind.COPY, State.KEPT): 1, (Kind.DAMAGED, State.REPAIRED): 1}
        await assert_reads(node)
        assert await judged(node, ALL) == {(Kind.COPY, State.DELETED): 1}
        await assert_clean(node)
        await assert_reads(node)


async def test_a_copy_that_can_not_mend_its_damaged_original_is_kept(open_node: OpenNode) -> None:
    async with open_node(MemoryBackend(), layout=Layout.SEGMENTS) as node:
        await fill(node)
        await node.backend.delete(await object_of(node, 1))
        await node.backend.put(chunk_key(KEY, 2), pcm_of(2))
        assert await judged(node, ALL) == {(Kind.COPY, State.KEPT): 1, (Kind.MISSING, State.LOST): 1}
        assert await node.backend.get(chunk_key(KEY, 2)) == pcm_of(2)


async def test_other_bytes_are_said_and_kept(open_node: OpenNode) -> None:
    async with open_node(MemoryBackend(), layout=Layout.SEGMENTS) as node:
        await fill(node)
        others = [chunk_key(KEY, 2), conflict_key(OTHER, 3, b"x" * 16)]
        for key in others:
            await node.backend.put(key, pcm_of(2, salt="other"))
        for options in (FsckOptions(), ALL):
            assert await judged(node, options) == {(Kind.OTHER_BYTES, State.KEPT): 2}
        assert set(others) < set(await node.keys())


async def test_a_conflict_that_an_event_names_is_no_finding(open_node: OpenNode) -> None:
    async with open_node(MemoryBackend()) as node:
        await fill(node)
        await node.journal_chunks([chunk_of(2, salt="other")])
        await node.flush()
        await drained(node)
        assert any("/conflicts/" in key for key in await node.keys())
        await assert_clean(node)


@pytest.mark.parametrize(
    "key",
    [
        "x",
        f"{session_prefix('unseen')}result.json",
        f"{session_prefix(KEY.session_id)}notes.txt",
        f"{session_prefix(KEY.session_id)}chunks/00000000.pcm",
        f"{session_prefix(KEY.session_id)}segments/00000001-4000000000.wav",
        f"{session_prefix(KEY.session_id)}segments/00000009-00000002.wav",
        f"{session_prefix('%zz')}chunks/00000001.txt",
        "sessions/%zz/chunks/00000001.pcm",
        f"{session_prefix(LONG.session_id)}chunks/00000001.pcm",
    ],
)
async def test_what_is_no_audio_of_ours_is_said_and_kept(open_node: OpenNode, key: str) -> None:
    key = key if key.startswith("sessions/") else f"sessions/{key}"
    async with open_node(MemoryBackend()) as node:
        await fill(node)
        await node.backend.put(key, b"odd")
        for options in (FsckOptions(), ALL):
            assert await judged(node, options) == {(Kind.UNKNOWN, State.KEPT): 1}
        assert await node.backend.get(key) == b"odd"


async def test_the_result_of_a_finalized_session_is_no_finding(open_node: OpenNode) -> None:
    async with open_node(MemoryBackend()) as node:
        await fill(node)
        await node.backend.put(result_key(KEY.session_id), b"{}")
        assert await judged(node) == {(Kind.UNKNOWN, State.KEPT): 1}
        result = FinalizedResult(NOW, result_key(KEY.session_id), "f", {})
        await node.catalog.record_finalized(KEY.session_id, result)
        await assert_clean(node)


@BOTH_LAYOUTS
async def test_puts_that_the_next_start_finishes_are_no_finding(open_node: OpenNode, layout: Layout) -> None:
    backend = MemoryBackend()
    fuse = Fuse()
    async with open_node(backend, layout=layout, fuse=fuse) as node:
        await node.journal_chunks([chunk_of(1), chunk_of(2)])
        fuse.blow_at = "record_stored"
        node.archive.hurry(KEY.session_id)
        await fuse.blown.wait()
    async with open_node(backend, layout=layout, run=False) as node:
        objects = len(await node.keys())
        assert objects
        summary, findings = await fsck(node, ALL)
        assert (findings, summary.under_way) == ([], objects)
    async with open_node(backend, layout=layout) as node:
        await drained(node)
        await assert_clean(node)


@BOTH_LAYOUTS
async def test_what_expired_and_is_still_there_is_deleted(open_node: OpenNode, layout: Layout) -> None:
    backend = FaultyBackend(MemoryBackend())
    async with open_node(backend, layout=layout) as node:
        await fill(node)
        files = await node.catalog.files.listing(limit=100, session_id=KEY.session_id)
        backend.outage = True
        await FileRemover(node.catalog.files, backend, concurrency=1, timeout=1).remove(files)
        backend.outage = False
        # Another was noted as gone, and somebody put it back.
        (gone, *_) = await node.catalog.files.listing(limit=1, session_id=OTHER.session_id)
        await node.catalog.files.expire(OTHER.session_id, [gone.key])
        await node.catalog.files.record_gone(OTHER.session_id, [gone.key])
        found = {(Kind.EXPIRED, State.REPAIRABLE): len(files) + 1}
        assert await judged(node, FsckOptions(deep=True, delete_orphans=True)) == found
        assert await judged(node, REPAIR) == {(Kind.EXPIRED, State.REPAIRED): len(files) + 1}
        await assert_clean(node)
        assert await node.catalog.files.undeleted(limit=10) == []
        with pytest.raises(EdgeError) as caught:
            await node.reader.chunk(KEY, 1)
        assert caught.value.kind is CHUNK_EXPIRED


async def test_what_is_left_of_deleted_sessions_is_removed(open_node: OpenNode) -> None:
    async with open_node(MemoryBackend(), run=False) as node:
        async with open_node(node.backend) as running:
            await fill(running)
        await node.catalog.mark_deleted(KEY.session_id, NOW)
        # Of another one everything was deleted, and an object came back.
        await node.catalog.open_session("gone", NOW)
        await node.catalog.mark_deleted("gone", NOW)
        await node.catalog.purge_session("gone")
        await node.backend.put(chunk_key(StreamKey("gone"), 1), pcm_of(1))
        left = len([key for key in await node.keys() if not key.startswith(session_prefix(OTHER.session_id))])
        assert await judged(node, FsckOptions(delete_orphans=True)) == {
            (Kind.REMAINS, State.REPAIRABLE): left + 1
        }
        await fsck(node, REPAIR)
        await assert_clean(node)
        assert all(key.startswith(session_prefix(OTHER.session_id)) for key in await node.keys())
        assert await node.catalog.deletions_under_way() == []
        await assert_reads(node, OTHER)


async def test_a_held_second_that_no_object_is_recorded_for_is_lost(
    open_node: OpenNode, tmp_path: Any
) -> None:
    async with open_node(MemoryBackend()) as node:
        await fill(node)
    with apsw.Connection(str(tmp_path / "catalog.db")) as connection:
        connection.execute("DELETE FROM objects WHERE session_id = ? AND first IN (2, 3)", (KEY.session_id,))
    connection.close()
    backend = MemoryBackend()
    async with open_node(backend, run=False) as node:
        _, findings = await fsck(node)
        unnamed = [finding for finding in findings if finding.kind is Kind.UNNAMED]
        assert [(f.state, f.seqs, f.objects, f.keys) for f in unnamed] == [(State.LOST, ((2, 3),), 0, ())]


async def test_many_objects_are_looked_at_page_by_page(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_module, "PAGE", 2)
    monkeypatch.setattr("interview_edge.archive.fsck.check.PAGE", 1)
    monkeypatch.setattr(recorded_side, "WINDOW", 2)
    async with open_node(MemoryBackend()) as node:
        await fill(node)
        await node.backend.delete(await object_of(node, 3))
        await node.backend.put(chunk_key(OTHER, 70), b"not audio")
        await node.backend.put(chunk_key(KEY, 4), pcm_of(4))
        summary, findings = await fsck(node, DEEP)
        assert {(f.kind, f.state, f.session_id, f.seqs) for f in findings} == {
            (Kind.ADOPTABLE, State.REPAIRABLE, KEY.session_id, ((4, 4),)),
            (Kind.MISSING, State.LOST, KEY.session_id, ((3, 3),)),
            (Kind.UNKNOWN, State.KEPT, OTHER.session_id, ((70, 70),)),
        }
        assert (summary.sessions, summary.objects) == (2, 9)


class Locked(MemoryBackend):
    """Deletes nothing, as under an object lock."""

    async def delete(self, key: str) -> None:
        await self.head(key)
        raise BackendRefused("locked")


async def test_a_deletion_that_the_store_refuses_is_left_and_said(open_node: OpenNode) -> None:
    async with open_node(Locked()) as node:
        await fill(node)
        (file, *_) = await node.catalog.files.listing(limit=1)
        await node.catalog.files.expire(file.session_id, [file.key])
        summary, _ = await fsck(node, ALL)
        assert dict(summary.findings) == {(Kind.EXPIRED, State.FAILED): 1}
        assert summary.problems == 1


@pytest.mark.parametrize("operation", ["list", "get"])
async def test_a_store_that_can_not_be_read_is_no_verdict(open_node: OpenNode, operation: Any) -> None:
    backend = FaultyBackend(MemoryBackend(), [PlannedFault(operation, 2, Effect.UNAVAILABLE)])
    async with open_node(backend) as node:
        await fill(node)
        with pytest.raises(BackendUnavailable):
            await fsck(node, DEEP)


async def damage_in_every_way(node: Node, random: Random) -> None:
    """Of `KEY` an object or two is damaged or lost; of both there are copies, other bytes, more seconds."""
    keys = [extent.key for extent in await node.catalog.extents(KEY)]
    for key in random.sample(keys, random.randint(0, 2)):
        await random.choice([delete_one, cut_one, flip_one])(node, key)
    for key in (KEY, OTHER):
        for seq in random.sample([1, 2, 3, 4], random.randint(0, 4)):
            salt = random.choice(["", "", "other"])
            await node.backend.put(chunk_key(key, seq), pcm_of(seq, salt=salt), if_absent=True)
        pair = encode_wav(pcm_of(2) + pcm_of(3, salt=random.choice(["", "other"])))
        await node.backend.put(segment_key(key, 2, 3, SegmentFormat.WAV), pair, if_absent=True)


async def kept(node: Node) -> set[tuple[StreamKey, int]]:
    """The acked seconds whose bytes are in some object of their stream, named or not."""
    codec, found = Codec(), set()
    for key in (KEY, OTHER):
        for name in await node.keys(session_prefix(key.session_id)):
            with suppress(ValueError):
                pcm = await codec.decode(await node.backend.get(name), name.rpartition(".")[2])
                found |= {(key, seq) for seq in SEQS if acked_pcm(seq) in pcm}
    return found


async def readable(node: Node) -> set[tuple[StreamKey, int]]:
    found = set()
    for key in (KEY, OTHER):
        for seq in SEQS:
            with suppress(BackendError, ValueError):
                if await node.reader.chunk(key, seq) == acked_pcm(seq):
                    found.add((key, seq))
    return found


@pytest.mark.parametrize("seed", range(12))
@BOTH_LAYOUTS
async def test_whatever_is_damaged_no_option_takes_a_second(
    open_node: OpenNode, layout: Layout, seed: int
) -> None:
    random = Random(seed)  # which damage
    async with open_node(MemoryBackend(), layout=layout) as node:
        await fill(node)
        await damage_in_every_way(node, random)
        reads, bytes_kept = await readable(node), await kept(node)
        for repair, deep, delete in random.sample(list(product([False, True], repeat=3)), 8):
            await fsck(node, FsckOptions(repair=repair, deep=deep, delete_orphans=delete))
            reads, before = await readable(node), reads
            assert reads >= before
            assert await kept(node) == bytes_kept
        await fsck(node, ALL)
        summary, _ = await fsck(node, ALL)
        assert {state for _, state in summary.findings} <= {State.LOST, State.KEPT}, "the rest is mended"
        lost = sum(count for (_, state), count in summary.findings.items() if state is State.LOST)
        assert (lost > 0) == (len(await readable(node)) < 2 * len(SEQS))


@pytest.mark.parametrize("after", [False, True], ids=["before the call", "after the call"])
async def test_a_repair_that_stops_at_any_call_is_finished_by_the_next(
    open_node: OpenNode, after: bool
) -> None:
    async def prepare(node: Node) -> None:
        """One session to adopt, one deleted, one with a copy and something that expired."""
        await fill(node, OTHER)
        for seq in SEQS:
            await node.backend.put(chunk_key(KEY, seq), acked_pcm(seq))
        await fill(node, StreamKey("gone"))
        await node.catalog.mark_deleted("gone", NOW)
        await node.backend.put(segment_key(OTHER, 1, 1, SegmentFormat.WAV), encode_wav(pcm_of(1)))
        extra = chunk_of(9)
        await node.journal_chunks([extra], OTHER)
        await node.flush(OTHER.session_id)
        await drained(node)
        await node.catalog.files.expire(OTHER.session_id, [chunk_key(OTHER, 9)])

    async def repair(node: Node, fuse: Fuse) -> None:
        fuse.armed = True
        check = Fsck(
            journal=node.journal,
            catalog=fuse.wire(node.catalog, CATALOG_CALLS),
            backend=fuse.wire(node.backend, BACKEND_CALLS),
            options=ALL,
            concurrency=1,
            timeout=60,
            now_ms=lambda: NOW,
        )
        await check.run(lambda _: None, lambda _: None)

    counting = Fuse()
    async with open_node(MemoryBackend(), folder="undisturbed") as node:
        await prepare(node)
        await repair(node, counting)
        await assert_clean(node)
    for point in range(1, len(counting.calls) + 1):
        async with open_node(MemoryBackend(), folder=str(point)) as node:
            await prepare(node)
            fuse = Fuse(point, after=after)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(repair, node, fuse)
                with trio.fail_after(5):
                    await fuse.blown.wait()
                nursery.cancel_scope.cancel()
            await fsck(node, ALL)
            await assert_clean(node)
            await assert_reads(node)
            assert [info.key async for info in node.backend.list(session_prefix("gone"))] == []
