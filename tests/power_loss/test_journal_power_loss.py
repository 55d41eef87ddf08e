"""Power loss at any moment: what the journal acknowledged is there, byte for byte (invariant 1)."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from interview_edge.core.models import Chunk, Layout, StreamKey
from interview_edge.core.pcm import identify
from interview_edge.journal import Append, Journal, JournalDamaged, ObjectPlan, open_journal

KEYS = [StreamKey("one"), StreamKey("two", "teacher"), StreamKey("zwei/三")]
LIMITS: dict[str, Any] = {
    "max_bytes": 10**9,
    "min_free_bytes": 0,
    "queue_bytes": 10**8,
    "retry_interval": 0.01,
}
BURSTS = 14


@attrs.define
class Promised:
    """What was acknowledged up to now, and what may be gone since somebody asked to trim it."""

    acked: dict[tuple[StreamKey, int], bytes] = attrs.field(factory=dict)
    trimmed: set[tuple[StreamKey, int]] = attrs.field(factory=set)
    plans: list[ObjectPlan] = attrs.field(factory=list)


async def feed(journal: Journal, rng: random.Random, promised: Promised) -> None:
    """Bursts of chunks over several streams, with plans and trims between: the life of a journal in short."""
    seqs = dict.fromkeys(KEYS, 0)
    for _ in range(BURSTS):
        settled = trio.Event()
        journal.listen(on_batch=settled.set)
        for _ in range(rng.randint(1, 5)):
            key = rng.choice(KEYS)
            seqs[key] += 1
            pcm = rng.randbytes(rng.choice([320, 3_200, 32_000]))
            sha256, identity = identify(pcm, final=False)
            chunk = Chunk(seqs[key], 1, False, pcm, sha256, identity)

            def done(error: Exception | None, key: StreamKey = key, chunk: Chunk = chunk) -> None:
                assert error is None
                promised.acked[key, chunk.seq] = chunk.pcm

            journal.append(Append(key, chunk, 1, done))
        await settled.wait()
        key = rng.choice(KEYS)
        if rng.random() < 0.3 and seqs[key]:
            first = rng.randint(1, seqs[key])
            promised.trimmed.update((key, seq) for seq in range(first, seqs[key] + 1))
            await journal.trim(key, [(first, seqs[key])])
        elif rng.random() < 0.3 and seqs[key]:
            plan = ObjectPlan(key, seqs[key], seqs[key], Layout.SEGMENTS, "wav", f"k{seqs[key]}", b"s" * 32)
            await journal.record_plans([plan])
            promised.plans.append(plan)


async def live_and_lose(disk: Any, folder: Path, seed: int) -> Promised:
    """Run the journal on the disk, lose the power, write the survivors to folder/after; what was promised."""
    before, after = folder / f"{seed}-before", folder / f"{seed}-after"
    before.mkdir()
    after.mkdir()
    promised, at_loss = Promised(), Promised()

    def remember() -> None:
        at_loss.acked = dict(promised.acked)
        at_loss.trimmed = set(promised.trimmed)
        at_loss.plans = list(promised.plans)

    disk.on_loss = remember
    async with open_journal(before / "journal.db", vfs=disk.name, **LIMITS) as journal:
        await feed(journal, random.Random(seed), promised)
    disk.write_survivors(after, random.Random(seed))
    return at_loss


async def broken_promise(path: Path, promised: Promised) -> str | None:
    """What is missing or changed after the restart; None where every promise was kept."""
    try:
        async with open_journal(path, **LIMITS) as journal:
            for (key, seq), pcm in promised.acked.items():
                found = await journal.read(key, seq, seq)
                if found != [(seq, pcm)] and not (found == [] and (key, seq) in promised.trimmed):
                    return f"chunk {seq} of {key} was acknowledged and is gone or changed"
            for plan in promised.plans:
                if (
                    plan not in await journal.plans(plan.key)
                    and (plan.key, plan.first) not in promised.trimmed
                ):
                    return f"{plan} was written down and is gone"
    except JournalDamaged as error:
        return str(error)
    return None


async def count_operations(disk_class: Any, folder: Path) -> int:
    disk = disk_class()
    await live_and_lose(disk, folder, 0)
    return disk.operations


async def check_seeds(disk_class: Any, folder: Path, seeds: range) -> None:
    operations = await count_operations(disk_class, folder)
    for seed in seeds:
        disk = disk_class(loses_at=random.Random(seed).randint(1, operations))
        promised = await live_and_lose(disk, folder, seed)
        assert await broken_promise(folder / f"{seed}-after" / "journal.db", promised) is None, f"seed {seed}"


async def test_power_loss_keeps_what_was_acknowledged(power_loss_disk: Any, tmp_path: Path) -> None:
    await check_seeds(power_loss_disk, tmp_path, range(1, 41))


@pytest.mark.long
async def test_power_loss_keeps_what_was_acknowledged_thousands_of_times(
    power_loss_disk: Any, tmp_path: Path
) -> None:
    await check_seeds(power_loss_disk, tmp_path, range(1_000, 4_000))


async def test_a_disk_that_does_not_sync_is_noticed(power_loss_disk: Any, tmp_path: Path) -> None:
    """The proof that the harness is live: without fsync, acknowledged chunks are lost."""
    broken = []
    for seed in range(1, 11):
        disk = power_loss_disk(loses_at=200, syncs=False)
        promised = await live_and_lose(disk, tmp_path, seed)
        broken.append(await broken_promise(tmp_path / f"{seed}-after" / "journal.db", promised))
    assert any(broken)
