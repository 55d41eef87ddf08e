"""Power loss at any moment: what a catalog call had returned for is there (invariant 4 stands on it)."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from interview_edge.catalog import Catalog, CatalogUnavailable, open_sqlite_catalog
from interview_edge.core.models import NewEvent, StreamKey
from interview_edge.core.ranges import Ranges
from interview_edge.testing.catalog_steps import stored_chunks

SESSIONS = ("one", "two", "zwei/三")


@attrs.define
class Promised:
    """What calls had returned for: seqs recorded as stored, and events, of each session."""

    seqs: dict[str, set[int]] = attrs.field(factory=lambda: {s: set() for s in SESSIONS})
    events: dict[str, int] = attrs.field(factory=lambda: dict.fromkeys(SESSIONS, 0))


async def work(catalog: Catalog, session_id: str, rng: random.Random, promised: Promised) -> None:
    for n in range(12):
        first = n * 3 + 1
        await catalog.record_stored(stored_chunks(first, first + 2, key=StreamKey(session_id)))
        promised.seqs[session_id].update(range(first, first + 3))
        if rng.random() < 0.5:
            events = [NewEvent(1, "resolve", {"text": "x" * rng.randint(0, 9_000)})]
            await catalog.append_events(session_id, events, at=1)
            promised.events[session_id] += 1


async def live_and_lose(disk: Any, folder: Path, seed: int) -> Promised:
    before, after = folder / f"{seed}-before", folder / f"{seed}-after"
    before.mkdir()
    after.mkdir()
    promised, at_loss = Promised(), Promised()

    def remember() -> None:
        at_loss.seqs = {session_id: set(seqs) for session_id, seqs in promised.seqs.items()}
        at_loss.events = dict(promised.events)

    disk.on_loss = remember
    async with (
        open_sqlite_catalog(before / "catalog.db", vfs=disk.name) as catalog,
        trio.open_nursery() as nursery,
    ):
        for n, session_id in enumerate(SESSIONS):
            nursery.start_soon(work, catalog, session_id, random.Random(seed + n), promised)
    disk.write_survivors(after, random.Random(seed))
    return at_loss


async def broken_promise(path: Path, promised: Promised) -> str | None:
    try:
        async with open_sqlite_catalog(path) as catalog:
            return await first_broken(catalog, promised)
    except CatalogUnavailable as error:
        return str(error)
    except ExceptionGroup as group:
        return str(group.exceptions)


async def first_broken(catalog: Catalog, promised: Promised) -> str | None:
    counted = 0
    for session_id, seqs in promised.seqs.items():
        key = StreamKey(session_id)
        record = await catalog.load_session(session_id)
        if record is None:
            if seqs:
                return f"session {session_id} is gone"
            continue
        held = Ranges(record.streams["mixed"].ledger.held) if "mixed" in record.streams else Ranges()
        extents = Ranges((e.first, e.last) for e in await catalog.extents(key))
        identities = await catalog.identities(key, range(1, 100))
        if not all(seq in held for seq in seqs):
            return f"{session_id}: {seqs} were stored, the ledger has {held}"
        if extents != held or len(identities) != len(held):
            return f"{session_id}: half a transaction: {held}, {extents}, {sorted(identities)}"
        if len(await catalog.events(session_id)) < promised.events[session_id]:
            return f"{session_id}: events are gone"
        counted += len(held)
    used = sum(row.amounts["chunks"] for row in await catalog.access.usage("1970-01-01", "1970-01-02"))
    return None if used == counted else f"{counted} chunks are held, usage says {used}"


async def check_seeds(disk_class: Any, folder: Path, seeds: range) -> None:
    counting = disk_class()
    await live_and_lose(counting, folder, 0)
    for seed in seeds:
        disk = disk_class(loses_at=random.Random(seed).randint(1, counting.operations))
        promised = await live_and_lose(disk, folder, seed)
        assert await broken_promise(folder / f"{seed}-after" / "catalog.db", promised) is None, f"seed {seed}"


async def test_power_loss_keeps_what_calls_returned_for(power_loss_disk: Any, tmp_path: Path) -> None:
    await check_seeds(power_loss_disk, tmp_path, range(1, 31))


@pytest.mark.long
async def test_power_loss_keeps_what_calls_returned_for_thousands_of_times(
    power_loss_disk: Any, tmp_path: Path
) -> None:
    await check_seeds(power_loss_disk, tmp_path, range(1_000, 3_000))


async def test_a_disk_that_does_not_sync_is_noticed(power_loss_disk: Any, tmp_path: Path) -> None:
    """The proof that the harness is live: without fsync, returned calls are lost."""
    broken = []
    for seed in range(1, 11):
        disk = power_loss_disk(loses_at=150, syncs=False)
        promised = await live_and_lose(disk, tmp_path, seed)
        broken.append(await broken_promise(tmp_path / f"{seed}-after" / "catalog.db", promised))
    assert any(broken)
