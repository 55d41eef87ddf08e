"""A damaged file: refused untouched, salvaged on the operator's word, wherever that is cut off."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from interview_edge.core.models import Layout, StreamKey
from interview_edge.journal import JournalDamaged, ObjectPlan
from interview_edge.journal.damage import find_damage, finish_salvage

KEYS = (StreamKey("one"), StreamKey("two", "teacher"))


async def fill(open_at: Any, feeder: Any) -> dict[StreamKey, dict[int, bytes]]:
    async with open_at() as journal:
        for key in KEYS:
            feed = feeder(journal, key)
            feed.append(*range(1, 41))
            feed.append(1, repeat=True)
            await feed.until_settled(41)
            await journal.record_plans(
                [
                    ObjectPlan(key, n, n + 9, Layout.SEGMENTS, "wav", f"k{n}", b"s" * 32)
                    for n in (1, 11, 21, 31)
                ]
            )
        return {key: await feeder(journal, key).stored() for key in KEYS}


def damage(path: Path, seed: int) -> None:
    """Overwrite a few stretches of the file, its header left alone."""
    rng = random.Random(seed)
    content = bytearray(path.read_bytes())
    for _ in range(3):
        at = rng.randrange(3 * 16_384, len(content) - 300)
        content[at : at + 300] = rng.randbytes(300)
    path.write_bytes(content)


@pytest.mark.parametrize("seed", range(6))
async def test_a_damaged_journal_is_refused_untouched_then_salvaged(
    open_at: Any, feeder: Any, tmp_path: Path, seed: int
) -> None:
    path = tmp_path / "journal.db"
    before = await fill(open_at, feeder)
    damage(path, seed)
    damaged = path.read_bytes()
    for _ in range(2):
        with pytest.raises(JournalDamaged, match="EDGE_ACCEPT_DAMAGED_JOURNAL"):
            async with open_at():
                pass
        assert path.read_bytes() == damaged
    async with open_at(salvage=True) as journal:
        saved = {key: await feeder(journal, key).stored() for key in KEYS}
        plans = [plan for key in KEYS for plan in await journal.plans(key)]
    for key in KEYS:
        assert saved[key].items() <= before[key].items()
    # Three stretches of 300 bytes touch at most six pages, and a page holds no more than one chunk.
    assert sum(map(len, saved.values())) >= 80 - 6
    assert all({*range(p.first, p.last + 1)} <= saved[p.key].keys() for p in plans)
    assert len(plans) >= 2
    assert (tmp_path / "journal.db.damaged-1").read_bytes() == damaged
    report = json.loads((tmp_path / "journal.db.damaged-1.json").read_text())
    assert sum(s["saved"] for s in report["streams"]) == sum(map(len, saved.values()))
    async with open_at() as journal:  # sound from here on, without the flag
        assert [s.duplicates for s in await journal.streams()] == [1, 1]


async def test_a_file_that_is_no_database_is_refused(open_at: Any, tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"not a database " * 10_000)
    with pytest.raises(JournalDamaged, match="not a database"):
        async with open_at():
            pass
    async with open_at(salvage=True) as journal:
        assert journal.stats.rows == 0
    assert (tmp_path / "journal.db.damaged-1").exists()


async def test_changed_audio_is_found_at_the_start(open_at: Any, feeder: Any, tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    before = await fill(open_at, feeder)
    content = path.read_bytes()
    at = content.index(before[KEYS[0]][7][1_000:1_100])
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    assert "does not match its sha256" in (find_damage(path) or "")
    async with open_at(salvage=True) as journal:
        assert set(before[KEYS[0]]) - set(await feeder(journal, KEYS[0]).stored()) == {7}
        assert set(await feeder(journal, KEYS[1]).stored()) == set(before[KEYS[1]])
    report = json.loads((tmp_path / "journal.db.damaged-1.json").read_text())
    assert [s["lost"] for s in report["streams"]] == [[7], []]


async def test_a_second_damage_is_set_aside_beside_the_first(
    open_at: Any, feeder: Any, tmp_path: Path
) -> None:
    for n in (1, 2):
        await fill(open_at, feeder)
        damage(tmp_path / "journal.db", n)
        async with open_at(salvage=True):
            pass
        assert (tmp_path / f"journal.db.damaged-{n}").exists()


async def test_a_salvage_cut_off_between_its_renames_is_finished(
    open_at: Any, feeder: Any, tmp_path: Path
) -> None:
    before = await fill(open_at, feeder)
    path = tmp_path / "journal.db"
    path.rename(tmp_path / "journal.db.salvaged")
    (tmp_path / "journal.db.damaged-1").write_bytes(b"the damaged one")
    (tmp_path / "journal.db-wal").write_bytes(b"its WAL, which must not meet the fresh file")
    async with open_at() as journal:
        assert await feeder(journal, KEYS[0]).stored() == before[KEYS[0]]
    assert (tmp_path / "journal.db.damaged-1-wal").exists()
    finish_salvage(path)
    assert path.exists()


async def test_a_salvage_cut_off_before_its_renames_is_begun_again(
    open_at: Any, feeder: Any, tmp_path: Path
) -> None:
    before = await fill(open_at, feeder)
    damage(tmp_path / "journal.db", 1)
    (tmp_path / "journal.db.salvaged").write_bytes(b"half of a salvage")
    async with open_at(salvage=True) as journal:
        saved = await feeder(journal, KEYS[0]).stored()
        assert len(saved) >= 34
        assert saved.items() <= before[KEYS[0]].items()
