"""A damaged file: refused untouched, salvaged on the operator's word, wherever that is cut off."""

from __future__ import annotations

import json
import random
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
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


def fill_old(old_journal: Any, feeder: Any, path: Path) -> dict[StreamKey, dict[int, bytes]]:
    """The same, as a program of the first layout wrote it."""
    journal = old_journal(path)
    chunks = [feeder(None).chunk(seq) for seq in range(1, 41)]
    for no, key in enumerate(KEYS, 1):
        journal.add(no, key, chunks, duplicates=1)
    journal.close()
    return {key: {c.seq: c.pcm for c in chunks} for key in KEYS}


def pages_of(path: Path, table: str) -> list[slice]:
    """Where a table's leaves and inner pages lie in the file."""
    with closing(apsw.Connection(str(path))) as connection:
        size = connection.pragma("page_size")
        found = connection.execute(
            "SELECT pageno FROM dbstat WHERE name = ? AND pagetype != 'overflow'", (table,)
        ).fetchall()
    return [slice((page - 1) * size, page * size) for (page,) in found]


def damage(path: Path, seed: int) -> None:
    """Overwrite a few stretches of the file, its header left alone."""
    rng = random.Random(seed)
    content = bytearray(path.read_bytes())
    for _ in range(3):
        at = rng.randrange(3 * 16_384, len(content) - 300)
        content[at : at + 300] = rng.randbytes(300)
    path.write_bytes(content)


@pytest.mark.parametrize("old", [False, True], ids=["today's layout", "the first layout"])
@pytest.mark.parametrize("seed", range(6))
async def test_a_damaged_journal_is_refused_untouched_then_salvaged(
    open_at: Any, old_journal: Any, feeder: Any, tmp_path: Path, seed: int, old: bool
) -> None:
    path = tmp_path / "journal.db"
    before = fill_old(old_journal, feeder, path) if old else await fill(open_at, feeder)
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


async def test_no_audio_is_lost_with_the_rows_that_name_it(open_at: Any, feeder: Any, tmp_path: Path) -> None:
    """A page of `chunks` stands for a hundred chunks, so the audio's own rows say whose they are."""
    path = tmp_path / "journal.db"
    before = await fill(open_at, feeder)
    content = bytearray(path.read_bytes())
    for page in pages_of(path, "chunks"):
        content[page] = bytes(len(content[page]))
    path.write_bytes(content)
    async with open_at(salvage=True) as journal:
        assert {key: await feeder(journal, key).stored() for key in KEYS} == before
        assert [len(await journal.plans(key)) for key in KEYS] == [4, 4]
    report = json.loads((tmp_path / "journal.db.damaged-1.json").read_text())
    assert [(s["saved"], s["lost"]) for s in report["streams"]] == [(40, []), (40, [])]


async def test_chunks_whose_audio_is_gone_are_known_to_be_lost(
    open_at: Any, feeder: Any, tmp_path: Path
) -> None:
    path = tmp_path / "journal.db"
    before = await fill(open_at, feeder)
    content = bytearray(path.read_bytes())
    for page in pages_of(path, "audio")[-3:]:
        content[page] = bytes(len(content[page]))
    path.write_bytes(content)
    async with open_at(salvage=True) as journal:
        saved = {key: await feeder(journal, key).stored() for key in KEYS}
    assert all(saved[key].items() <= before[key].items() for key in KEYS)
    report = json.loads((tmp_path / "journal.db.damaged-1.json").read_text())
    for stream, key in zip(report["streams"], KEYS, strict=True):
        assert {*stream["lost"]} == before[key].keys() - saved[key].keys()
    assert 1 <= sum(len(s["lost"]) for s in report["streams"]) <= 3


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audio SET id = id + 50 WHERE no = 7",  # a seq that nobody sent
        "UPDATE audio SET id = id + (1 << 32) WHERE no = 7",  # another stream's
        "UPDATE chunks SET id = id + 50 WHERE id = 4294967303",
        "UPDATE chunks SET audio = 8 WHERE id = 4294967303",
        "UPDATE chunks SET sha256 = 'text', at = CAST(x'b9b9' AS TEXT) WHERE id = 4294967303",
        "UPDATE chunks SET audio = x'b9' WHERE id = 4294967303",
        "UPDATE audio SET id = x'b9' WHERE no = 7",
    ],
)
async def test_no_audio_is_saved_as_another_second(
    open_at: Any, feeder: Any, tmp_path: Path, change: str
) -> None:
    """Values that are readable and not what was written, as a few changed bytes leave them."""
    before = await fill(open_at, feeder)
    with closing(apsw.Connection(str(tmp_path / "journal.db"))) as connection:
        connection.execute("DELETE FROM chunks WHERE id = 8589934599; DELETE FROM audio WHERE no = 47")
        del before[KEYS[1]][7]
        connection.execute(change)
    with pytest.raises(JournalDamaged):
        async with open_at():
            pass
    async with open_at(salvage=True) as journal:
        saved = {key: await feeder(journal, key).stored() for key in KEYS}
    for key in KEYS:
        assert saved[key].items() <= before[key].items()
        assert before[key].keys() - saved[key].keys() <= {7}


@pytest.mark.parametrize(
    ("whole_check_bytes", "change", "told"),
    [
        (10**9, "DELETE FROM audio WHERE no = 9", "row 4294967305 does not match"),
        (10**9, "DELETE FROM chunks WHERE id & 0xffffffff = 9", "80 rows of audio for 78 chunks"),
        (0, "DELETE FROM audio WHERE no > 70", "names audio 80, and the last is 70"),
    ],
)
async def test_a_chunk_without_audio_and_audio_without_a_chunk_are_found_at_the_start(
    open_at: Any,
    feeder: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    whole_check_bytes: int,
    change: str,
    told: str,
) -> None:
    await fill(open_at, feeder)
    with closing(apsw.Connection(str(tmp_path / "journal.db"))) as connection:
        connection.execute(change)
    monkeypatch.setattr("interview_edge.journal.damage.WHOLE_CHECK_BYTES", whole_check_bytes)
    with pytest.raises(JournalDamaged, match=told):
        async with open_at():
            pass


async def test_a_large_file_of_the_first_layout_is_checked_before_it_is_migrated(
    open_at: Any, old_journal: Any, feeder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal.db"
    fill_old(old_journal, feeder, path)
    monkeypatch.setattr("interview_edge.journal.damage.WHOLE_CHECK_BYTES", 0)
    assert find_damage(path) is None
    content = bytearray(path.read_bytes())
    page = pages_of(path, "chunks")[5]
    content[page] = bytes(len(content[page]))
    path.write_bytes(content)
    with pytest.raises(JournalDamaged):
        async with open_at():
            pass
    assert path.read_bytes() == content


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
