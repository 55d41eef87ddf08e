"""The inbox: bounded in bytes, and nobody's end waits."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from interview_edge.web.hypercorn.inbox import Inbox


async def test_a_full_inbox_holds_the_putter_until_something_is_taken(nursery: trio.Nursery) -> None:
    inbox: Inbox[str] = Inbox(1000)
    await inbox.put("first", 1000)
    nursery.start_soon(inbox.put, "second", 1)
    await wait_all_tasks_blocked()
    assert await inbox.take() == "first"
    await wait_all_tasks_blocked()
    assert await inbox.take() == "second"


async def test_tiny_items_are_bounded_too(autojump_clock: MockClock) -> None:
    inbox: Inbox[int] = Inbox(10_000)
    put = 0
    with trio.move_on_after(1):
        while True:
            await inbox.put(put, 0)
            put += 1
    assert put < 100


async def test_the_end_passes_a_full_inbox_and_what_was_there_stays() -> None:
    inbox: Inbox[str] = Inbox(1)
    await inbox.put("kept", 10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(inbox.put, "too late", 10)
        await wait_all_tasks_blocked()
        inbox.end()
    assert [await inbox.take(), await inbox.take(), await inbox.take()] == ["kept", None, None]


async def test_closing_lets_the_putter_go_and_drops_everything() -> None:
    inbox: Inbox[str] = Inbox(1)
    await inbox.put("dropped", 10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(inbox.put, "dropped, too", 10)
        await wait_all_tasks_blocked()
        inbox.close()
    assert await inbox.take_all() == []


async def test_take_all_gives_the_batch_in_order_and_makes_room() -> None:
    inbox: Inbox[int] = Inbox(600)
    for number in range(3):
        await inbox.put(number, 0)
    assert await inbox.take_all() == [0, 1, 2]
    await inbox.put(3, 400)
    assert await inbox.take_all() == [3]


async def test_a_batch_over_the_limit_waits_for_an_empty_inbox(nursery: trio.Nursery) -> None:
    inbox: Inbox[str] = Inbox(1000)
    await inbox.put("small", 1)
    nursery.start_soon(inbox.put_all, [("large", 900), ("larger", 900)])
    await wait_all_tasks_blocked()
    assert await inbox.take_all() == ["small"]
    await wait_all_tasks_blocked()
    assert await inbox.take_all() == ["large", "larger"]


@pytest.mark.parametrize("take", ["take", "take_all"])
async def test_a_cancelled_taker_loses_nothing(take: str) -> None:
    inbox: Inbox[int] = Inbox(500)
    with trio.move_on_after(0):
        await getattr(inbox, take)()
    await inbox.put(1, 0)
    assert await inbox.take() == 1
