"""Puts that gather while a group is written: one call for all, and cancelled in every state."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from interview_edge.backends import BackendError, BackendRefused, BackendUnavailable
from interview_edge.backends.attributes import Description
from interview_edge.backends.grouping import MAX_GROUP, GroupedPuts
from interview_edge.backends.writing import NewFile


@attrs.define
class Disk:
    """Writes when it is told to. Refuses keys that begin with 'refused'."""

    groups: list[list[str]] = attrs.field(factory=list)
    go_on: threading.Semaphore = attrs.field(factory=lambda: threading.Semaphore(0))
    begun: trio.Semaphore = attrs.field(factory=lambda: trio.Semaphore(0))
    fail: bool = False

    async def begin(self, groups: int) -> None:
        """Wait until so many more groups have begun."""
        for _ in range(groups):
            await self.begun.acquire()

    def write(self, new: Sequence[NewFile]) -> list[bool | BackendError]:
        self.groups.append([one.key for one in new])
        trio.from_thread.run_sync(self.begun.release)
        assert self.go_on.acquire(timeout=5)
        if self.fail:
            raise RuntimeError("a bug")
        return [BackendRefused(one.key) if one.key.startswith("refused") else True for one in new]


def file(key: str) -> NewFile:
    return NewFile(key, b"", Description("application/octet-stream", {}), if_absent=True)


@attrs.define
class Callers:
    """Tasks that put, and how each went."""

    puts: GroupedPuts
    nursery: trio.Nursery
    scopes: dict[str, trio.CancelScope] = attrs.field(factory=dict)
    ended: dict[str, object] = attrs.field(factory=dict)

    async def start(self, *keys: str) -> None:
        for key in keys:
            self.scopes[key] = trio.CancelScope()
            self.nursery.start_soon(self._put, key)
            await wait_all_tasks_blocked()

    async def _put(self, key: str) -> None:
        with self.scopes[key] as scope:
            try:
                self.ended[key] = await self.puts.put(file(key))
            except (BackendError, RuntimeError) as error:
                self.ended[key] = type(error)
        if scope.cancelled_caught:
            self.ended[key] = "cancelled"


@asynccontextmanager
async def callers(disk: Disk) -> AsyncIterator[Callers]:
    async with trio.open_nursery() as nursery:
        nursery.cancel_scope.deadline = trio.current_time() + 5
        yield Callers(GroupedPuts(disk.write), nursery)


async def test_what_gathers_during_a_write_is_one_group_and_each_hears_its_own_outcome() -> None:
    disk = Disk()
    async with callers(disk) as tasks:
        await tasks.start("a", "b", "refused", "c")
        disk.go_on.release(2)
    assert disk.groups == [["a"], ["b", "refused", "c"]]
    assert tasks.ended == {"a": True, "b": True, "refused": BackendRefused, "c": True}


async def test_a_group_is_bounded() -> None:
    disk = Disk()
    async with callers(disk) as tasks:
        await tasks.start("first", *map(str, range(MAX_GROUP + 1)))
        disk.go_on.release(3)
    assert [len(group) for group in disk.groups] == [1, MAX_GROUP, 1]
    assert set(tasks.ended.values()) == {True}


async def test_files_handed_in_together_are_written_together_and_only_whole_lots_join_them() -> None:
    disk = Disk()
    outcomes: dict[str, Sequence[bool | BackendError]] = {}
    async with callers(disk) as tasks:

        async def put_all(name: str, count: int) -> None:
            outcomes[name] = await tasks.puts.put_all([file(f"{name}{n}") for n in range(count)])

        for name, count in (("a", 2), ("refused", MAX_GROUP - 1), ("b", 1), ("c", 2), ("d", 1)):
            tasks.nursery.start_soon(put_all, name, count)
            await wait_all_tasks_blocked()
        disk.go_on.release(3)
    assert [len(group) for group in disk.groups] == [2, MAX_GROUP, 3]
    assert outcomes["a"] == [True] * 2
    assert len(outcomes["refused"]) == MAX_GROUP - 1
    assert all(isinstance(outcome, BackendRefused) for outcome in outcomes["refused"])
    assert (outcomes["b"], outcomes["c"], outcomes["d"]) == ([True], [True] * 2, [True])


async def test_a_cancelled_put_that_waits_is_never_written() -> None:
    disk = Disk()
    async with callers(disk) as tasks:
        await tasks.start("a", "b", "c")
        tasks.scopes["b"].cancel()
        await wait_all_tasks_blocked()
        assert tasks.ended == {"b": "cancelled"}
        disk.go_on.release(2)
    assert disk.groups == [["a"], ["c"]]


async def test_a_cancelled_put_under_way_ends_when_its_write_has_and_the_others_are_untouched() -> None:
    disk = Disk()
    async with callers(disk) as tasks:
        await tasks.start("a", "b", "c")
        disk.go_on.release()
        await disk.begin(2)
        for key in ("b", "c"):  # the one that writes, and one it writes for
            tasks.scopes[key].cancel()
        await wait_all_tasks_blocked()
        assert tasks.ended == {"a": True}
        disk.go_on.release()
    assert disk.groups == [["a"], ["b", "c"]]
    assert tasks.ended == {"a": True, "b": True, "c": "cancelled"}


@pytest.mark.parametrize("cancelled_first", [True, False])
async def test_a_cancellation_in_the_tick_of_a_puts_turn_fails_nobody_else(cancelled_first: bool) -> None:
    disk = Disk()
    async with callers(disk) as tasks:
        # The turn is taken and passed by hand: a writer's task would need luck to do it in this very tick.
        tasks.puts._busy = True
        await tasks.start("b", "c")
        if cancelled_first:
            tasks.scopes["b"].cancel()
        tasks.puts._pass_turn()
        tasks.scopes["b"].cancel()
        disk.go_on.release()
    assert tasks.ended["b"] == ("cancelled" if cancelled_first else True)
    assert tasks.ended["c"] is True
    assert disk.groups == [["c"] if cancelled_first else ["b", "c"]]


async def test_a_put_in_a_cancelled_scope_is_never_written() -> None:
    disk = Disk()
    with trio.CancelScope() as scope:
        scope.cancel()
        await GroupedPuts(disk.write).put(file("a"))
    assert scope.cancelled_caught
    assert disk.groups == []


async def test_a_write_that_raises_fails_its_group_and_the_next_one_is_written() -> None:
    disk = Disk(fail=True)
    async with callers(disk) as tasks:
        await tasks.start("a", "b", "c")
        disk.go_on.release()
        await disk.begin(2)
        await tasks.start("d")
        disk.go_on.release()
        await disk.begin(1)
        disk.fail = False
        disk.go_on.release()
    assert disk.groups == [["a"], ["b", "c"], ["d"]]
    assert tasks.ended == {"a": RuntimeError, "b": RuntimeError, "c": BackendUnavailable, "d": True}


async def test_a_turn_is_free_again_once_nobody_waits() -> None:
    disk = Disk()
    puts = GroupedPuts(disk.write)
    with trio.fail_after(5):
        for key in ("a", "b"):
            disk.go_on.release()
            assert await puts.put(file(key))
    assert disk.groups == [["a"], ["b"]]
