"""Peers that flood, stall, lie and vanish, against a real server process: bounded while it lasts, gone after.

What one broken frame is answered with is tests/integration/hypercorn's; here the node as a whole is looked
at: resident memory during the attack; tasks, sockets, sessions, file descriptors and an honest client after.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
import trio

from hostile.controls import MEGABYTE, Controls, controlled
from hostile.raw_peer import BINARY, GONE, HELLO, STATUS, RawPeer, chunk, frame, raw_peer
from interview_edge.client import EdgeHttp
from server_process import ServerProcess

WINDOW = 4 * MEGABYTE  # what a session's audio window may come to
OVERHEAD = 40 * MEGABYTE  # allocator, journal's queue and caches
SECONDS = 1.5  # of flooding


@pytest.fixture
async def controls(tmp_path: Path) -> AsyncIterator[Controls]:
    async with controlled(tmp_path) as controls:
        yield controls


async def flood(server: ServerProcess, session_id: str, seconds: float) -> int:
    """Send valid chunks and read no ack; answers how many went out."""
    seq = 0
    async with raw_peer(server, small_buffer=True) as peer:
        await peer.upgrade(session_id)
        with trio.move_on_after(seconds):
            while await peer.send(chunk(seq + 1)):
                seq += 1
    return seq


async def flood_and_check(controls: Controls, peers: int, seconds: float) -> None:
    sent: dict[str, int] = {}

    async def run(session_id: str) -> None:
        sent[session_id] = await flood(controls.server, session_id, seconds)

    async with controls.unharmed(growth=OVERHEAD + peers * WINDOW), trio.open_nursery() as nursery:
        for number in range(peers):
            nursery.start_soon(run, f"flood{number}")
    assert min(sent.values()) > 32
    async with EdgeHttp(controls.url) as edge:
        for session_id, count in sent.items():
            ingest = (await edge.state(session_id))["ingest"]
            # A prefix of what went out, without a hole: the last ones were cut off on the way.
            assert 0 < ingest["received_chunks"] == ingest["last_seq"] <= count + 1
            assert ingest["missing_chunks"] == 0


async def test_a_flood_of_chunks_whose_acks_nobody_reads(controls: Controls) -> None:
    await flood_and_check(controls, 4, SECONDS)


@pytest.mark.long
async def test_a_long_flood_of_chunks_whose_acks_nobody_reads(controls: Controls) -> None:
    await flood_and_check(controls, 8, 30)


@pytest.mark.parametrize("reads", [False, pytest.param(True, marks=pytest.mark.long)])
async def test_a_peer_that_asks_much_and_reads_little_is_dropped(controls: Controls, reads: bool) -> None:
    async def trickle(peer: RawPeer) -> None:
        with suppress(*GONE):
            read = b"-"
            while read:
                await trio.sleep(0.1)
                read = await peer.stream.receive_some(1)

    async with (
        controls.unharmed(growth=OVERHEAD),
        raw_peer(controls.server, small_buffer=True) as peer,
        trio.open_nursery() as nursery,
    ):
        await peer.upgrade("slow")
        # Each status lists 99 holes from here on.
        await peer.send(b"".join(chunk(seq) for seq in range(2, 200, 2)))
        if reads:
            nursery.start_soon(trickle, peer)
        with trio.fail_after(20):
            while await peer.send(frame(STATUS) * 100):
                pass
        nursery.cancel_scope.cancel()


async def test_peers_that_fall_silent_are_dropped_while_they_still_hold_the_line(controls: Controls) -> None:
    async with controls.unharmed(growth=OVERHEAD), trio.open_nursery() as nursery:
        opened = trio.Event()

        async def fall_silent(number: int) -> None:
            async with raw_peer(controls.server) as peer:
                await peer.upgrade(f"silent{number % 5}")
                # Some in the middle of a frame, some of a header: only whole frames are a sign of life.
                await peer.send(frame(HELLO) + chunk(1)[: (0, 1, 9, 20_000)[number % 4]])
                await opened.wait()

        for number in range(40):
            nursery.start_soon(fall_silent, number)
        with trio.fail_after(20):
            await controls.wait_for(lambda held: held.sockets == 40)
            await controls.wait_for(lambda held: held.sockets == 0)
        opened.set()


async def come_and_go(server: ServerProcess, number: int) -> None:
    """Connect and vanish, each time at another point."""
    async with raw_peer(server) as peer:
        kind = number % 6
        if kind == 1:
            await peer.send(b"GET /v1/audio/ws/x HTTP/1.1\r\nhost:")
        elif kind >= 2:
            await peer.upgrade(f"drop{number % 7}")
            if kind == 3:
                await peer.send(frame(HELLO))
            elif kind == 4:
                await peer.send(frame(HELLO) + chunk(number) + chunk(number + 1)[:500])
            elif kind == 5:
                await peer.send(frame(HELLO)[:9])
        if number % 2:
            peer.reset()


async def connect_and_drop(server: ServerProcess, count: int) -> None:
    at_once = trio.CapacityLimiter(50)

    async def one(number: int) -> None:
        async with at_once:
            await come_and_go(server, number)

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(one, number)


async def test_a_thousand_connects_and_drops_leave_nothing(controls: Controls) -> None:
    async with controls.unharmed(growth=OVERHEAD + 7 * WINDOW):
        await connect_and_drop(controls.server, 1000)


@pytest.mark.long
async def test_wave_after_wave_of_drops_takes_no_more_memory(controls: Controls) -> None:
    async with controls.unharmed(growth=OVERHEAD + 7 * WINDOW):
        await connect_and_drop(controls.server, 2000)
    first = (await controls.look()).resident
    for _ in range(5):
        async with controls.unharmed(growth=OVERHEAD + 7 * WINDOW):
            await connect_and_drop(controls.server, 2000)
    assert (await controls.look()).resident < 1.1 * first


async def test_oversize_frames_are_refused_by_their_header(controls: Controls) -> None:
    async with controls.unharmed(growth=OVERHEAD), trio.open_nursery() as nursery:

        async def claim(length: int, body: int) -> None:
            async with raw_peer(controls.server) as peer:
                await peer.upgrade("big")
                header = b"\x82\xff" + length.to_bytes(8, "big") + bytes(4)
                await peer.send(frame(HELLO) + header + bytes(body))
                with trio.fail_after(20):
                    while await peer.send(bytes(65_536)):
                        pass

        async def fragments() -> None:
            async with raw_peer(controls.server) as peer:
                await peer.upgrade("big")
                await peer.send(frame(bytes(60_000), first=BINARY))
                with trio.fail_after(20):
                    while await peer.send(frame(bytes(60_000), first=0)):
                        pass

        for length in (256 * 1024 + 1, 2**31, 2**62):
            nursery.start_soon(claim, length, 1000)
        for _ in range(10):
            nursery.start_soon(fragments)


async def test_a_deflate_bomb_is_never_inflated(controls: Controls) -> None:
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = bomb.compress(bytes(200 * MEGABYTE)) + bomb.flush(zlib.Z_SYNC_FLUSH)
    assert len(packed) < 256 * 1024
    async with controls.unharmed(growth=OVERHEAD), raw_peer(controls.server) as peer:
        head = await peer.upgrade("bomb", b"sec-websocket-extensions: permessage-deflate\r\n")
        assert b"sec-websocket-extensions" not in head.lower()
        await peer.send(frame(packed, first=0xC2))
        assert (1002).to_bytes(2, "big") in await peer.rest()


async def test_garbage_at_every_point_of_a_connection(controls: Controls) -> None:
    random = Random(11)
    async with controls.unharmed(growth=OVERHEAD + WINDOW), trio.open_nursery() as nursery:

        async def babble(number: int) -> None:
            garbage = random.randbytes(random.choice((1, 3, 17, 300, 5_000, 70_000)))
            async with raw_peer(controls.server) as peer:
                match number % 5:
                    case 0:
                        opening = b""
                    case 1:
                        opening = b"GET /v1/audio/ws/babble HTTP/1.1\r\n"
                    case 2:
                        await peer.upgrade("babble")
                        opening = b""
                    case 3:
                        await peer.upgrade("babble")
                        opening = frame(HELLO) + chunk(1)[: random.randrange(30_000)]
                    case _:
                        await peer.upgrade("babble")
                        opening = frame(HELLO)
                        garbage = frame(garbage, random.choice((1, 2))) * 5  # whole frames of nonsense
                await peer.send(opening + garbage)
                with trio.move_on_after(0.2):
                    await peer.rest()

        for number in range(150):
            nursery.start_soon(babble, number)


@pytest.mark.long
async def test_headers_that_trickle_in_end_with_the_deadline(controls: Controls) -> None:
    async with controls.unharmed(growth=OVERHEAD), trio.open_nursery() as nursery:

        async def trickle() -> None:
            async with raw_peer(controls.server) as peer:
                await peer.send(b"GET / HTTP/1.1\r\n")
                with trio.fail_after(30):
                    taken = True
                    while taken:
                        await trio.sleep(0.5)
                        taken = await peer.send(b"x: y\r\n")

        for _ in range(300):
            nursery.start_soon(trickle)
