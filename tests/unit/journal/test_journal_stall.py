"""A disk that fails: nothing is dropped, the owner is told once, all is there when it passes."""

from __future__ import annotations

from typing import Any

import apsw
import pytest
import trio
import trio.testing

from interview_edge.journal import JournalClosed, JournalUnavailable


@pytest.mark.parametrize("fault", [apsw.FullError, apsw.IOError])
async def test_a_failing_disk_stalls_and_recovers_without_a_loss(
    open_at: Any, feeder: Any, faulty_files: Any, fault: type[apsw.Error]
) -> None:
    async with open_at(vfs=faulty_files.name) as journal:
        feed = feeder(journal)
        told: list[str] = []
        stalled = trio.Event()

        def on_stall(error: Exception) -> None:
            told.append(type(error).__name__)
            stalled.set()

        journal.listen(on_stall=on_stall, on_recover=lambda: told.append(f"recovered {len(feed.outcomes)}"))
        feed.append(1)
        await feed.until_settled(1)
        faulty_files.fault = fault
        feed.append(2, 3)
        with trio.fail_after(5):
            await stalled.wait()
        feed.append(4)
        await trio.sleep(0.005)  # a few retries: they must not tell the owner again
        assert isinstance(journal.stalled, fault)
        assert journal.stats.stalled is not None
        assert feed.outcomes == [(1, None)]
        faulty_files.fault = None
        await feed.until_settled(4)
        assert feed.outcomes == [(seq, None) for seq in (1, 2, 3, 4)]
        assert told == [fault.__name__, "recovered 1"]
        assert journal.stalled is None
        assert await feed.stored() == {seq: feed.chunk(seq).pcm for seq in (1, 2, 3, 4)}


async def test_a_close_during_trouble_tries_once_more_and_says_what_it_could_not_save(
    open_at: Any, feeder: Any, faulty_files: Any
) -> None:
    async with open_at(vfs=faulty_files.name, retry_interval=60) as journal:
        feed = feeder(journal)
        feed.append(1)
        await feed.until_settled(1)
        faulty_files.fault = apsw.FullError
        feed.append(2, 3)
    assert [(seq, type(error)) for seq, error in feed.outcomes[1:]] == [
        (2, JournalClosed),
        (3, JournalClosed),
    ]
    faulty_files.fault = None
    async with open_at() as journal:
        assert journal.stats.rows == 1


async def test_the_archive_is_told_that_a_trim_failed(open_at: Any, feeder: Any, faulty_files: Any) -> None:
    async with open_at(vfs=faulty_files.name) as journal:
        feed = feeder(journal)
        feed.append(1, 2)
        await feed.until_settled(2)
        faulty_files.fault = apsw.FullError
        with pytest.raises(JournalUnavailable):
            await journal.trim(feed.key, [(1, 2)])
        faulty_files.fault = None
        assert (journal.stats.rows, set(await feed.stored())) == (2, {1, 2})


async def test_a_read_does_not_wait_for_a_commit(open_at: Any, feeder: Any, faulty_files: Any) -> None:
    async with open_at(vfs=faulty_files.name) as journal:
        feed = feeder(journal)
        feed.append(1)
        await feed.until_settled(1)
        faulty_files.go_on.clear()
        feed.append(2)
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(10):
            assert set(await feed.stored()) == {1}
        faulty_files.go_on.set()
