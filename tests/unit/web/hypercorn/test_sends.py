"""Writes: whole, in turn, bounded, and fair to the other tasks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
import trio.testing

from interview_edge.web.hypercorn.sends import SENDS_A_CHECKPOINT, Sender

TIMEOUT = 10.0


@asynccontextmanager
async def sender_and_peer(timeout: float = TIMEOUT) -> AsyncIterator[tuple[Sender, trio.SocketStream]]:
    left, right = trio.socket.socketpair()
    async with trio.SocketStream(left) as ours, trio.SocketStream(right) as peer:
        yield Sender(ours, timeout), peer


async def read_exactly(peer: trio.SocketStream, count: int) -> bytes:
    got = bytearray()
    while len(got) < count:
        got += await peer.receive_some()
    return bytes(got)


async def test_who_sends_in_a_loop_lets_the_others_run(nursery: trio.Nursery) -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with sender_and_peer() as (sender, _):
        nursery.start_soon(count_turns)
        await trio.lowlevel.checkpoint()
        before = turns
        for _ in range(11 * SENDS_A_CHECKPOINT):
            assert await sender.send(b"ack")
        assert turns - before >= 10
    nursery.cancel_scope.cancel()


async def test_writes_larger_than_the_kernel_takes_arrive_whole_and_in_turn() -> None:
    size = 3_000_000
    async with sender_and_peer() as (sender, peer), trio.open_nursery() as nursery:
        nursery.start_soon(sender.send, b"a" * size)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(sender.send, b"b" * size)
        got = await read_exactly(peer, 2 * size)
    assert got == b"a" * size + b"b" * size


async def test_a_cancelled_write_is_not_torn() -> None:
    size = 3_000_000
    async with sender_and_peer() as (sender, peer), trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            nursery.start_soon(read_exactly, peer, size)
            scope.cancel()
            assert await sender.send(b"a" * size)


async def test_a_peer_that_does_not_read_is_dropped() -> None:
    async with sender_and_peer(timeout=0.01) as (sender, _):
        assert not await sender.send(bytes(10_000_000))
        assert not await sender.send(b"more")


async def test_a_peer_that_is_gone_is_no_error() -> None:
    async with sender_and_peer() as (sender, peer):
        await peer.aclose()
        await sender.send(b"may still be taken")
        assert not await sender.send(b"not any more")
