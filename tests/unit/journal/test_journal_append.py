"""Appending: one commit for all that waits, outcomes in order, limits that refuse and never drop."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from interview_edge.journal import JournalBusy, JournalClosed, JournalConflict, JournalFull


async def test_outcomes_come_in_order_of_submission_then_the_batch_callback(
    open_at: Any, feeder: Any
) -> None:
    async with open_at() as journal:
        feed = feeder(journal)
        told: list[int] = []
        journal.listen(on_batch=lambda: told.append(len(feed.outcomes)))
        feed.append(3, 1, 2)
        await feed.until_settled(3)
        assert feed.outcomes == [(3, None), (1, None), (2, None)]
        assert told == [3]
        assert await feed.stored() == {seq: feed.chunk(seq).pcm for seq in (1, 2, 3)}


async def test_what_comes_during_a_commit_shares_the_next_one(
    open_at: Any, feeder: Any, faulty_files: Any
) -> None:
    async with open_at(vfs=faulty_files.name) as journal:
        feed = feeder(journal)
        batches: list[int] = []
        journal.listen(on_batch=lambda: batches.append(len(feed.outcomes)))
        faulty_files.go_on.clear()
        feed.append(1)
        await trio.testing.wait_all_tasks_blocked()
        feed.append(*range(2, 50))
        assert feed.outcomes == []
        faulty_files.go_on.set()
        await feed.until_settled(49)
        assert batches == [1, 49]


async def test_stats_count_what_is_committed_and_what_waits(open_at: Any, feeder: Any) -> None:
    async with open_at() as journal:
        feed = feeder(journal)
        feed.append(1, 2)
        assert (journal.stats.rows, journal.stats.queued_entries) == (0, 2)
        assert journal.stats.queued_bytes >= 64_000
        await feed.until_settled(2)
        assert (journal.stats.rows, journal.stats.bytes) == (2, 64_000)
        assert (journal.stats.queued_entries, journal.stats.queued_bytes) == (0, 0)
    async with open_at() as journal:
        assert (journal.stats.rows, journal.stats.bytes) == (2, 64_000)


async def test_repeats_are_counted_durably_and_write_no_audio(open_at: Any, feeder: Any) -> None:
    async with open_at() as journal:
        feed = feeder(journal)
        feed.append(1)
        feed.append(1, 1, repeat=True)
        await feed.until_settled(3)
    async with open_at() as journal:
        (stream,) = await journal.streams()
        assert (stream.rows, stream.bytes, stream.duplicates, stream.oldest_at) == (1, 32_000, 2, 5)


async def test_a_full_queue_refuses_and_takes_again_after_the_commit(open_at: Any, feeder: Any) -> None:
    async with open_at(queue_bytes=70_000) as journal:
        feed = feeder(journal)
        feed.append(1, 2)
        with pytest.raises(JournalBusy):
            feed.append(3)
        await feed.until_settled(2)
        feed.append(4)
        await feed.until_settled(3)
        assert set(await feed.stored()) == {1, 2, 4}


async def test_who_waits_for_room_goes_on_as_commits_make_it(open_at: Any, feeder: Any) -> None:
    async with open_at(queue_bytes=70_000) as journal:
        feed = feeder(journal)
        feed.append(1, 2)
        assert not journal.has_room
        taken: list[int] = []

        async def append_with_room(seq: int) -> None:
            await journal.wait_for_room()
            feed.append(seq)
            taken.append(seq)

        async with trio.open_nursery() as nursery:
            for seq in range(3, 13):
                nursery.start_soon(append_with_room, seq)
                await trio.testing.wait_all_tasks_blocked()
        await feed.until_settled(12)
        assert sorted(taken) == list(range(3, 13))
        assert set(await feed.stored()) == set(range(1, 13))


async def test_who_waits_for_room_and_then_appends_nothing_keeps_no_other_from_it(
    open_at: Any, feeder: Any
) -> None:
    async with open_at(queue_bytes=70_000) as journal:
        feed = feeder(journal)
        feed.append(1, 2)
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(journal.wait_for_room)


async def test_who_waits_for_room_is_let_go_when_the_journal_closes(open_at: Any, feeder: Any) -> None:
    async with trio.open_nursery() as nursery, open_at(queue_bytes=40_000) as journal:
        feeder(journal).append(1)
        # The waiter outlives the journal on purpose: its end is what is tested.
        nursery.start_soon(journal.wait_for_room)  # noqa: ASYNC111


async def test_a_flood_of_repeats_fills_the_queue_too(open_at: Any, feeder: Any) -> None:
    async with open_at(queue_bytes=10_000) as journal:
        feed = feeder(journal)
        with pytest.raises(JournalBusy):
            feed.append(*[1] * 10_000, repeat=True)


async def test_a_full_journal_refuses_chunks_until_some_are_trimmed(open_at: Any, feeder: Any) -> None:
    async with open_at(max_bytes=1_000_000) as journal:
        feed = feeder(journal)
        with pytest.raises(JournalFull):
            await feed.until_refused()
        taken = len(feed.outcomes)
        assert journal.stats.used_bytes <= 1_000_000
        feed.append(1, repeat=True)  # needs no room worth the name
        await journal.trim(feed.key, [(1, 5)])
        feed.append(taken + 1)
        await feed.until_settled(taken + 2)
        assert set(await feed.stored()) == {*range(6, taken + 2)}


async def test_the_free_minimum_of_the_disk_is_left_alone(open_at: Any, feeder: Any) -> None:
    async with open_at(min_free_bytes=10**15) as journal:
        with pytest.raises(JournalFull, match="are kept"):
            feeder(journal).append(1)


async def test_the_same_chunk_twice_is_one_and_another_at_its_seq_a_conflict(
    open_at: Any, feeder: Any
) -> None:
    async with open_at() as journal:
        feed = feeder(journal)
        feed.append(1, 2)
        await feed.until_settled(2)
        feed.append(1)
        feed.append(2, mark=1)
        feed.append(3)
        await feed.until_settled(5)
        same, other, new = feed.outcomes[2:]
        assert same == (1, None)
        assert isinstance(other[1], JournalConflict)
        assert new == (3, None)
        assert await feed.stored() == {seq: feed.chunk(seq).pcm for seq in (1, 2, 3)}
        assert (journal.stats.rows, journal.stats.bytes) == (3, 96_000)
        audio = await journal._reader.run(lambda c: c.execute("SELECT id & 0xffffffff FROM audio").fetchall())
        assert sorted(audio) == [(1,), (2,), (3,)]  # the two that weren't taken left none behind


async def test_closing_commits_what_is_queued(open_at: Any, feeder: Any) -> None:
    async with open_at() as journal:
        feed = feeder(journal)
        feed.append(1, 2)
    assert feed.outcomes == [(1, None), (2, None)]
    with pytest.raises(JournalClosed):
        feed.append(3)
    async with open_at() as journal:
        assert journal.stats.rows == 2


async def test_a_cancelled_owner_still_gets_its_queue_committed(open_at: Any, feeder: Any) -> None:
    with trio.CancelScope() as scope:
        async with open_at() as journal:
            feed = feeder(journal)
            feed.append(1, 2)
            scope.cancel()
            await trio.sleep_forever()
    assert feed.outcomes == [(1, None), (2, None)]
    async with open_at() as journal:
        assert journal.stats.rows == 2


async def test_a_disk_that_hangs_ends_the_close_at_its_deadline(
    open_at: Any, feeder: Any, faulty_files: Any
) -> None:
    async with (
        trio.open_nursery() as nursery,
        open_at(vfs=faulty_files.name, close_timeout=0.01) as journal,
    ):
        feed = feeder(journal)
        faulty_files.go_on.clear()
        feed.append(1, 2)
        nursery.start_soon(_let_go_once_settled, feed, faulty_files)
    assert [type(error) for _, error in feed.outcomes] == [JournalClosed, JournalClosed]


async def _let_go_once_settled(feed: Any, faulty_files: Any) -> None:
    await feed.until_settled(2)
    faulty_files.go_on.set()


async def test_a_disk_that_can_not_say_what_is_free_is_full_and_the_committer_goes_on(
    open_at: Any, feeder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_at() as journal:
        feed = feeder(journal)
        feed.append(1)

        def fails(_: object) -> None:
            raise OSError("Input/output error")

        with monkeypatch.context() as broken:
            broken.setattr("os.statvfs", fails)
            await feed.until_settled(1)
            with pytest.raises(JournalFull):
                feed.append(2)
        feed.append(2)
        await feed.until_settled(2)
        assert feed.outcomes == [(1, None), (2, None)]
