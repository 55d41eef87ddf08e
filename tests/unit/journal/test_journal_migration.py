"""A journal of the first layout, opened by today's program: nothing is lost, moved or given out twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from interview_edge.core.models import Layout, StreamKey
from interview_edge.journal import JournalRow, ObjectPlan

KEYS = (StreamKey("one"), StreamKey("two", "teacher"), StreamKey("三"))


def write_old(old_journal: Any, feeder: Any, path: Path) -> dict[StreamKey, dict[int, Any]]:
    journal = old_journal(path)
    chunks: dict[StreamKey, dict[int, Any]] = {}
    for no, key in enumerate(KEYS, 1):
        chunks[key] = {seq: feeder(None).chunk(seq, mark=no) for seq in (*range(1, 21), 30, 32)}
        journal.add(no, key, chunks[key].values(), duplicates=no)
    journal.close()
    return chunks


async def test_every_chunk_plan_and_repeat_of_an_old_file_is_there(
    open_at: Any, old_journal: Any, feeder: Any, tmp_path: Path
) -> None:
    path = tmp_path / "journal.db"
    chunks = write_old(old_journal, feeder, path)
    size = path.stat().st_size
    for _ in range(2):  # migrated, and a second time as it is
        async with open_at() as journal:
            assert journal.stats.rows == 66
            assert [(s.key, s.rows, s.bytes, s.oldest_at, s.duplicates) for s in await journal.streams()] == [
                (key, 22, 22 * 32_000, 5, no) for no, key in enumerate(KEYS, 1)
            ]
            for key in KEYS:
                assert await feeder(journal, key).stored() == {s: c.pcm for s, c in chunks[key].items()}
                assert await journal.rows(key) == [
                    JournalRow(c.seq, c.timestamp_ms, c.final, 32_000, c.sha256, c.identity, 5)
                    for c in chunks[key].values()
                ]
                assert await journal.plans(key) == [
                    ObjectPlan(key, n, n + 9, Layout.SEGMENTS, "wav", f"k{n}", b"s" * 32) for n in (1, 11)
                ]
    # The audio stays in its pages, so that a full disk is no obstacle.
    assert path.stat().st_size <= size + 3 * 16_384


async def test_an_old_file_takes_chunks_and_trims(
    open_at: Any, old_journal: Any, feeder: Any, tmp_path: Path
) -> None:
    chunks = write_old(old_journal, feeder, tmp_path / "journal.db")
    pcm = {key: {seq: c.pcm for seq, c in chunks[key].items()} for key in KEYS}
    async with open_at() as journal:
        feeds = {key: feeder(journal, key) for key in KEYS}
        for no, key in enumerate(KEYS, 1):
            feeds[key].append(21, mark=no)  # new
            feeds[key].append(7, mark=no)  # held, the same
            feeds[key].append(8, mark=no + 10)  # held, another
        for no, key in enumerate(KEYS, 1):
            await feeds[key].until_settled(3)
            assert [type(error).__name__ for _, error in feeds[key].outcomes] == [
                "NoneType",
                "NoneType",
                "JournalConflict",
            ]
            pcm[key][21] = feeds[key].chunk(21, mark=no).pcm
        await journal.trim(KEYS[0], [(1, 10), (32, 32)], duplicates=1)
        await journal.drop_session("三")  # had the highest numbers
        feeds[KEYS[0]].append(33)
        await feeds[KEYS[0]].until_settled(4)
    pcm[KEYS[0]] = {s: p for s, p in pcm[KEYS[0]].items() if 10 < s < 32} | {33: feeder(None).chunk(33).pcm}
    pcm[KEYS[2]] = {}
    async with open_at() as journal:  # checks each chunk, and that no audio is left over
        assert {key: await feeder(journal, key).stored() for key in KEYS} == pcm
        assert [(s.rows, s.duplicates) for s in await journal.streams()] == [(13, 0), (23, 2)]
        assert len(await journal.plans(KEYS[0])) == 1
        for key in KEYS:
            await journal.trim(key, [(1, 100)], duplicates=9)
        assert (journal.stats.rows, journal.stats.bytes) == (0, 0)
        assert await journal.streams() == []
