"""Replay and trim: rows, audio, plans, and what goes when it is forgotten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import pytest

from interview_edge.core.models import Layout, StreamKey
from interview_edge.journal import JournalDamaged, ObjectPlan, tables


async def test_rows_tell_everything_but_the_audio(open_at: Any, feeder: Any) -> None:
    async with open_at() as journal:
        feed = feeder(journal)
        feed.append(1, 2, 5)
        await feed.until_settled(3)
        rows = await journal.rows(feed.key)
        assert [(r.seq, r.timestamp_ms, r.final, r.length, r.at) for r in rows] == [
            (seq, 1_000 + seq, False, 32_000, 5) for seq in (1, 2, 5)
        ]
        assert [(r.sha256, r.identity) for r in rows] == [
            (feed.chunk(seq).sha256, feed.chunk(seq).identity) for seq in (1, 2, 5)
        ]
        assert [r.seq for r in await journal.rows(feed.key, 2)] == [2, 5]
        assert [r.seq for r in await journal.rows(feed.key, 1, 4, limit=1)] == [1]
        assert await journal.rows(StreamKey("other")) == []


async def test_streams_are_kept_apart(open_at: Any, feeder: Any) -> None:
    keys = [StreamKey("a/b"), StreamKey("a_b"), StreamKey("a/b", "teacher"), StreamKey("会议")]
    async with open_at() as journal:
        for mark, key in enumerate(keys):
            feed = feeder(journal, key)
            feed.append(1, 2, mark=mark)
            await feed.until_settled(2)
    async with open_at() as journal:
        assert [s.key for s in await journal.streams()] == keys
        for mark, key in enumerate(keys):
            feed = feeder(journal, key)
            assert await feed.stored() == {seq: feed.chunk(seq, mark=mark).pcm for seq in (1, 2)}


async def test_plans_stay_as_first_written_until_their_seqs_are_trimmed(open_at: Any, feeder: Any) -> None:
    async with open_at() as journal:
        feed = feeder(journal)
        feed.append(1, 2, 3, 4)
        await feed.until_settled(4)
        first = ObjectPlan(feed.key, 1, 2, Layout.SEGMENTS, "flac", "key-1", b"s" * 32)
        second = ObjectPlan(feed.key, 3, 4, Layout.CHUNKS, "pcm")
        await journal.record_plans([first, second])
        await journal.record_plans([ObjectPlan(feed.key, 1, 2, Layout.CHUNKS, "pcm")])
        assert await journal.plans(feed.key) == [first, second]
        await journal.trim(feed.key, [(1, 3)])
        assert await journal.plans(feed.key) == [second]
        assert set(await feed.stored()) == {4}


async def test_a_trim_forgets_the_stream_only_when_nothing_is_left(open_at: Any, feeder: Any) -> None:
    async with open_at() as journal:
        feed = feeder(journal)
        feed.append(1, 2, 4)
        feed.append(1, 1, repeat=True)
        await feed.until_settled(5)
        await journal.trim(feed.key, [(1, 2), (4, 4)], duplicates=1)
        (left,) = await journal.streams()
        assert (left.rows, left.oldest_at, left.duplicates) == (0, None, 1)
        await journal.trim(feed.key, [], duplicates=1)
        assert await journal.streams() == []
        await journal.trim(feed.key, [(1, 9)], duplicates=1)  # a lost answer's repeat
        feed.append(7)
        await feed.until_settled(6)
        assert set(await feed.stored()) == {7}


async def test_a_new_stream_never_sees_the_rows_of_a_forgotten_one(open_at: Any, feeder: Any) -> None:
    async with open_at() as journal:
        old, kept = feeder(journal, StreamKey("old")), feeder(journal, StreamKey("kept"))
        kept.append(1)
        await kept.until_settled(1)
        old.append(1, 2)
        await old.until_settled(2)
        await journal.drop_session("old")
        new = feeder(journal, StreamKey("new"))
        new.append(2, mark=1)
        await new.until_settled(1)
        assert set(await new.stored()) == {2}
        assert await old.stored() == {}
        assert set(await kept.stored()) == {1}
        assert journal.stats.rows == 2


async def test_dropping_a_session_takes_all_its_streams_and_nothing_else(open_at: Any, feeder: Any) -> None:
    async with open_at() as journal:
        for key in (StreamKey("gone"), StreamKey("gone", "teacher"), StreamKey("kept")):
            feed = feeder(journal, key)
            feed.append(1)
            feed.append(1, repeat=True)
            await feed.until_settled(2)
            await journal.record_plans([ObjectPlan(key, 1, 1, Layout.CHUNKS, "pcm")])
        for _ in range(2):
            await journal.drop_session("gone")
        assert [s.key.session_id for s in await journal.streams()] == ["kept"]
        assert (journal.stats.rows, journal.stats.bytes) == (1, 32_000)
        assert await journal.plans(StreamKey("gone")) == []


async def test_free_pages_go_back_to_the_file_system_in_steps(
    open_at: Any, feeder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "VACUUM_ABOVE", 100_000)
    monkeypatch.setattr(tables, "VACUUM_PAGES", 20)
    async with open_at() as journal:
        feed = feeder(journal)
        feed.append(*range(1, 101))
        await feed.until_settled(100)
        await journal.trim(feed.key, [(1, 90)])
        for _ in range(30):
            await journal.trim(feed.key, [])
        assert await feed.stored() == {seq: feed.chunk(seq).pcm for seq in range(91, 101)}
    assert (tmp_path / "journal.db").stat().st_size < 600_000  # it was over 3,200,000


async def test_audio_that_changed_on_disk_is_never_handed_out(
    open_at: Any, feeder: Any, tmp_path: Path
) -> None:
    async with open_at() as journal:
        feed = feeder(journal)
        feed.append(1, 2)
        await feed.until_settled(2)
        other = apsw.Connection(str(tmp_path / "journal.db"))
        other.execute("UPDATE audio SET pcm = zeroblob(32000) WHERE id & 0xffffffff = 2")
        other.close()
        assert [seq for seq, _ in await journal.read(feed.key, 1, 1)] == [1]
        with pytest.raises(JournalDamaged, match="chunk 2"):
            await journal.read(feed.key, 1, 2)


async def test_a_chunk_whose_audio_is_gone_is_never_passed_over(
    open_at: Any, feeder: Any, tmp_path: Path
) -> None:
    async with open_at() as journal:
        feed = feeder(journal)
        feed.append(1, 2)
        await feed.until_settled(2)
        other = apsw.Connection(str(tmp_path / "journal.db"))
        other.execute("DELETE FROM audio WHERE id & 0xffffffff = 1")
        other.close()
        with pytest.raises(JournalDamaged, match="chunk 1"):
            await journal.read(feed.key, 1, 2)
