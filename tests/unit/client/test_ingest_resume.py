"""Every chunk arrives once, whatever happens to the connection; what can't be mended is told by type."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import trio

from interview_edge.client import (
    ChunkRefused,
    EdgeRequestError,
    FrameRefused,
    GaveUp,
    Ingest,
    IngestClosed,
    Persistence,
    open_ingest,
)
from interview_edge.core.models import Event
from interview_edge.errors import FINALIZE_TIMEOUT, EdgeError
from interview_edge.wire.frames import Ack, ChunkFrame, ClientFrame, Finalize, PartialFrame, Ping

SESSION = "a/b 面试"
DialectServer = Any  # conftest's: test modules can't import from each other


def second(n: int) -> bytes:
    return n.to_bytes(2, "little") * 16_000


def once_at(seq: int, make_fault: Callable[[ChunkFrame], Exception]) -> Callable[[ClientFrame], None]:
    """A fault at the first arrival of `seq`."""
    done = False

    def before(frame: ClientFrame) -> None:
        nonlocal done
        if isinstance(frame, ChunkFrame) and frame.seq == seq and not done:
            done = True
            raise make_fault(frame)

    return before


def first_time(kind: type, make_fault: Callable[[], Exception]) -> Callable[[ClientFrame], None]:
    """A fault at the first frame of this kind."""
    done = False

    def before(frame: ClientFrame) -> None:
        nonlocal done
        if isinstance(frame, kind) and not done:
            done = True
            raise make_fault()

    return before


def raising(error: Exception) -> None:
    raise error


async def send_seconds(ingest: Ingest, count: int) -> None:
    for n in range(1, count + 1):
        await ingest.send(second(n))
    await ingest.drain()


def holds_exactly(server: DialectServer, count: int) -> bool:
    return server.pcm == {n: second(n) for n in range(1, count + 1)}


@pytest.mark.parametrize("binary", [True, False])
async def test_sends_acks_and_closes(server: DialectServer, hasty: Persistence, binary: bool) -> None:
    acks: list[Ack] = []
    async with open_ingest(
        server.base_url, SESSION, "teacher", binary=binary, persistence=hasty, on_ack=acks.append
    ) as ingest:
        await send_seconds(ingest, 9)
        last = await ingest.send(b"\1\2", final=True)
        await ingest.drain()
        status = await ingest.status()

    assert last == 10
    assert status.bytes_stored == 9 * 32_000 + 2
    assert [ack.seq for ack in acks] == list(range(1, 11))
    assert (ingest.acked, ingest.unacked, ingest.reconnects, ingest.closed) == (10, (), 0, True)
    assert server.paths == ["/v1/audio/ws/a%2Fb%20%E9%9D%A2%E8%AF%95/teacher"]
    assert server.messages.count(bytes) == (10 if binary else 0)
    with pytest.raises(IngestClosed):
        await ingest.send(second(11))


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(lambda server, chunk: server.cut(), id="cut-before-it-was-held"),
        pytest.param(lambda server, chunk: server.cut(chunk), id="cut-and-the-ack-lost"),
        pytest.param(lambda server, chunk: server.going_away(chunk.seq), id="going-away-1012"),
        pytest.param(lambda server, chunk: server.store_down(), id="storage-unavailable-1013"),
        pytest.param(lambda server, chunk: server.closing_with(1011), id="server-fault-1011"),
    ],
)
async def test_resumes_after(
    server: DialectServer, hasty: Persistence, fault: Callable[..., Exception]
) -> None:
    server.before = once_at(5, lambda chunk: fault(server, chunk))

    async with open_ingest(server.base_url, SESSION, persistence=hasty) as ingest:
        await send_seconds(ingest, 12)

    assert holds_exactly(server, 12)
    assert (ingest.acked, ingest.reconnects) == (12, 1)


@pytest.mark.parametrize("seed", range(5))
async def test_any_course_of_faults(server: DialectServer, hasty: Persistence, seed: int) -> None:
    chance = random.Random(seed)

    def before(frame: ClientFrame) -> None:
        if isinstance(frame, ChunkFrame) and chance.random() < 0.15:
            faults = [server.cut(), server.cut(frame), server.going_away(1), server.store_down()]
            raise chance.choice(faults)

    server.before = before
    async with open_ingest(server.base_url, SESSION, persistence=hasty) as ingest:
        await send_seconds(ingest, 40)

    assert holds_exactly(server, 40)
    assert ingest.reconnects == len(server.paths) - 1 > 0


async def test_what_the_server_holds_is_not_sent_again(server: DialectServer, hasty: Persistence) -> None:
    server.before = once_at(5, server.cut)

    async with open_ingest(server.base_url, SESSION, persistence=hasty) as ingest:
        await send_seconds(ingest, 8)

    assert server.ledger.duplicates == 0
    assert server.received.count(5) == 1


async def test_refused_handshakes_are_tried_again_while_the_server_drains(
    server: DialectServer, hasty: Persistence
) -> None:
    server.reject = [503, 503, 429]

    async with open_ingest(server.base_url, SESSION, persistence=hasty) as ingest:
        await send_seconds(ingest, 1)

    assert len(server.paths) == 4


async def test_a_refusal_for_good_is_raised(server: DialectServer, hasty: Persistence) -> None:
    server.reject = [410]

    with pytest.raises(EdgeRequestError) as caught:
        async with open_ingest(server.base_url, SESSION, persistence=hasty):
            pytest.fail("not reached")

    assert (caught.value.status, caught.value.code, caught.value.detail) == (410, "draining", "go away")


@pytest.mark.parametrize(
    ("status", "code", "retry_after"),
    [(429, "quota_exceeded", "30000"), (429, "quota_exceeded", ""), (503, "draining", "3600")],
)
async def test_what_waiting_cannot_mend_in_time_is_raised_at_once(
    server: DialectServer, hasty: Persistence, status: int, code: str, retry_after: str
) -> None:
    server.reject, server.reject_code, server.retry_after = [status] * 100, code, retry_after

    with pytest.raises(EdgeRequestError, match=f"{status} {code}: go away"):
        async with open_ingest(server.base_url, SESSION, persistence=hasty):
            pytest.fail("not reached")

    assert len(server.paths) == 1


async def test_a_quota_that_a_new_day_is_about_to_end_is_waited_for(
    server: DialectServer, hasty: Persistence
) -> None:
    server.reject, server.reject_code, server.retry_after = [429], "quota_exceeded", "1"

    async with open_ingest(server.base_url, SESSION, persistence=hasty) as ingest:
        await send_seconds(ingest, 1)

    assert len(server.paths) == 2


@pytest.mark.parametrize("code", [1008, 1009, 4401, 4410])
async def test_a_close_for_good_is_raised(server: DialectServer, hasty: Persistence, code: int) -> None:
    server.before = once_at(2, lambda chunk: server.closing_with(code))

    with pytest.raises(IngestClosed) as caught:
        async with open_ingest(server.base_url, SESSION, persistence=hasty) as ingest:
            await send_seconds(ingest, 3)

    assert caught.value.code == code
    assert len(server.paths) == 1


async def test_a_conflict_is_told_by_seq_and_ends_nothing(server: DialectServer, hasty: Persistence) -> None:
    server.hold(ChunkFrame(2, 1, False, second(99)))

    async with open_ingest(server.base_url, SESSION, persistence=hasty) as ingest:
        await ingest.send(second(1), seq=1)
        await ingest.send(second(2), seq=2)
        with pytest.raises(ChunkRefused) as caught:
            await ingest.drain()
        await ingest.send(second(3), seq=3)
        await ingest.drain()

    assert (caught.value.code, caught.value.seq) == ("chunk_conflict", 2)
    assert server.pcm == {1: second(1), 2: second(99), 3: second(3)}


async def test_numbers_on_from_next_seq_and_skips_what_is_held(
    server: DialectServer, hasty: Persistence
) -> None:
    for held in (1, 2, 4):
        server.hold(ChunkFrame(held, 1, False, second(held)))

    async with open_ingest(server.base_url, SESSION, persistence=hasty) as ingest:
        assert ingest.missing == ((3, 3),)
        assert [await ingest.send(second(n)) for n in (3, 5, 6)] == [3, 5, 6]

    assert holds_exactly(server, 6)


async def test_a_repeat_is_a_duplicate_and_a_waiting_seq_an_error(
    server: DialectServer, hasty: Persistence
) -> None:
    async with open_ingest(server.base_url, SESSION, persistence=hasty) as ingest:
        await ingest.send(second(1), seq=1)
        with pytest.raises(ValueError, match="waits for its ack"):
            await ingest.send(second(1), seq=1)
        await ingest.drain()
        await ingest.send(second(1), seq=1)
        await ingest.drain()

    assert server.ledger.duplicates == 1


async def test_send_waits_while_the_window_is_full_and_cancelled_has_sent_nothing(
    server: DialectServer, hasty: Persistence
) -> None:
    async with open_ingest(server.base_url, SESSION, persistence=hasty) as ingest:
        server.gate = trio.Event()
        for n in range(1, server.max_in_flight + 1):
            await ingest.send(second(n))
        with trio.move_on_after(0.02) as waiting:
            await ingest.send(second(5))

        assert waiting.cancelled_caught
        assert ingest.unacked == (1, 2, 3, 4)
        server.gate.set()
        assert await ingest.send(second(5)) == 5

    assert holds_exactly(server, 5)


async def test_a_larger_buffer_keeps_to_the_servers_window(server: DialectServer, hasty: Persistence) -> None:
    server.gate = trio.Event()

    async with open_ingest(server.base_url, SESSION, max_unacked=20, persistence=hasty) as ingest:
        for n in range(1, 21):
            await ingest.send(second(n))
        assert len(ingest.unacked) == 20
        assert max(server.received, default=0) <= server.max_in_flight
        server.gate.set()

    assert holds_exactly(server, 20)


async def test_requests_outlive_a_cut(server: DialectServer, hasty: Persistence) -> None:
    server.before = first_time(Finalize, server.cut)

    async with open_ingest(server.base_url, SESSION, persistence=hasty) as ingest:
        await send_seconds(ingest, 2)
        finalized = await ingest.finalize(3, {"title": "x"})
        now = await ingest.ping()

    assert (finalized.complete, finalized.missing) == (False, ((3, 3),))
    assert now == 1_700_000_000_000
    assert ingest.reconnects == 1


async def test_after_going_away_nothing_is_sent_on_that_connection(
    server: DialectServer, hasty: Persistence
) -> None:
    server.before = first_time(Ping, server.going_away_with_a_pong)

    async with open_ingest(server.base_url, SESSION, persistence=hasty) as ingest:
        assert await ingest.ping() == 1
        await send_seconds(ingest, 2)

    assert server.late == []
    assert holds_exactly(server, 2)
    assert len(server.paths) == 2


async def test_a_refused_finalize_is_raised_where_it_was_asked(
    server: DialectServer, hasty: Persistence
) -> None:
    server.before = first_time(Finalize, lambda: EdgeError(FINALIZE_TIMEOUT))

    async with open_ingest(server.base_url, SESSION, persistence=hasty) as ingest:
        with pytest.raises(FrameRefused) as caught:
            await ingest.finalize()
        assert (await ingest.finalize()).complete

    assert caught.value.code == "finalize_timeout"


async def test_gives_up_with_what_is_at_risk(server: DialectServer) -> None:
    server.before = lambda frame: raising(server.cut()) if isinstance(frame, ChunkFrame) else None
    impatient = Persistence(give_up_after=0.05, retry_initial=0.001, retry_max=0.002)

    with pytest.raises(GaveUp) as caught:
        async with open_ingest(server.base_url, SESSION, persistence=impatient) as ingest:
            await send_seconds(ingest, 2)

    assert caught.value.unacked == (1, 2)
    assert caught.value.__cause__ is not None


async def test_gives_up_where_nobody_listens() -> None:
    with trio.socket.socket() as taken:
        await taken.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(GaveUp) as caught:
            async with open_ingest(
                url, SESSION, persistence=Persistence(give_up_after=0.05, retry_initial=0.01)
            ):
                pytest.fail("not reached")

    assert "all attempts to connect" in str(caught.value.__cause__)


async def test_giving_up_says_what_the_server_said_last(server: DialectServer) -> None:
    server.reject = [503] * 1000
    impatient = Persistence(give_up_after=0.2, retry_initial=0.01, retry_max=0.02)

    with pytest.raises(GaveUp, match="0 chunks unacked; last: 503 draining: go away"):
        async with open_ingest(server.base_url, SESSION, persistence=impatient):
            pytest.fail("not reached")


async def test_giving_up_blames_no_trouble_that_is_over(server: DialectServer) -> None:
    server.reject = [503]
    impatient = Persistence(give_up_after=0.3, retry_initial=0.001, retry_max=0.002)

    async with open_ingest(server.base_url, SESSION, persistence=impatient) as ingest:
        await send_seconds(ingest, 1)
        server.gate = trio.Event()
        await ingest.send(second(2))
        with pytest.raises(GaveUp) as caught:
            await ingest.drain()

    assert str(caught.value) == "no progress for 0.3 s with 1 chunks unacked"


async def test_a_hello_without_an_answer_cuts_and_tries_again(server: DialectServer) -> None:
    server.silent = 1
    quick = Persistence(give_up_after=5, retry_initial=0.001, answer_timeout=0.05)

    async with open_ingest(server.base_url, SESSION, persistence=quick) as ingest:
        await send_seconds(ingest, 1)

    assert len(server.paths) == 2


async def test_a_peer_without_pongs_is_left(server: DialectServer) -> None:
    quick = Persistence(give_up_after=5, retry_initial=0.001, keepalive=0.03, answer_timeout=0.2)

    async with open_ingest(server.base_url, SESSION, persistence=quick) as ingest:
        server.gate = trio.Event()
        # The server's reader stops reading once its queue is full, so pings go unanswered.
        await ingest.send(second(1))
        await ingest.send(second(2))
        await ingest.send(second(3))
        await server.second_connection.wait()
        server.gate.set()
        await ingest.drain()

    assert holds_exactly(server, 3)


async def test_only_the_latest_partial_waits_to_be_read(server: DialectServer, hasty: Persistence) -> None:
    server.events = [Event(1, 1, "speech_started", {"sample": 1})]
    place = {"stream": "mixed", "utterance": 1, "start_ms": 0}
    server.partials = [PartialFrame(**place, end_ms=n, text=f"{n}") for n in (1, 2, 3)]

    async with open_ingest(server.base_url, SESSION, events=True, persistence=hasty) as ingest:
        await ingest.status()

    told = [event async for event in ingest.events()]
    assert [event["type"] for event in told] == ["speech_started", "partial"]
    assert told[1] == {"type": "partial", **place, "end_ms": 3, "text": "3", "language": None}


async def test_events_come_once_across_a_cut(server: DialectServer, hasty: Persistence) -> None:
    server.events = [Event(n, n, "speech_started", {"sample": n}) for n in (1, 2, 3)]
    server.before = once_at(2, server.cut)

    async with open_ingest(server.base_url, SESSION, events=True, persistence=hasty) as ingest:
        await send_seconds(ingest, 3)
        await ingest.status()

    assert [event["seq_no"] async for event in ingest.events()] == [1, 2, 3]
    assert all(hello.events for hello in server.hellos)


async def test_an_error_in_the_block_comes_out_as_it_is(server: DialectServer, hasty: Persistence) -> None:
    server.gate = trio.Event()

    async def fail_inside() -> None:
        async with open_ingest(server.base_url, SESSION, persistence=hasty) as ingest:
            await ingest.send(second(1))
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await fail_inside()
    server.gate.set()


async def test_cancelled_from_outside_it_ends_at_once(server: DialectServer, hasty: Persistence) -> None:
    server.gate = trio.Event()

    with trio.move_on_after(0.05) as outside, trio.fail_after(10):
        async with open_ingest(server.base_url, SESSION, persistence=hasty) as ingest:
            await send_seconds(ingest, 3)

    assert outside.cancelled_caught
    server.gate.set()
