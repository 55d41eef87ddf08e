"""What fails below the ack, and what a client sees of it (contract ingest.md, Pace; invariants 1, 5, 6)."""

from __future__ import annotations

import gc
from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio
import trio.testing

from interview_edge.app import Edge
from interview_edge.backends.memory import MemoryBackend
from interview_edge.catalog.protocol import CatalogUnavailable
from interview_edge.core.models import AckLevel, StreamKey
from interview_edge.errors import EdgeError
from interview_edge.journal import Append, JournalFull, JournalUnavailable
from interview_edge.sessions.deleting import delete
from interview_edge.testing import FaultyBackend
from interview_edge.web.outbox import Outbox
from nodes import PATIENCE, OpenNode, connect, second
from storage_faults import hold_commits


async def until_queue_is_full(edge: Edge) -> None:
    with trio.fail_after(PATIENCE):
        while edge.parts.journal.has_room:
            await trio.lowlevel.checkpoint()


async def test_a_disk_that_hangs_stops_acks_and_closes_1013_and_nothing_is_dropped(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node(
        storage_timeout=0.4
    ) as edge:  # half of it is for the real commit below, beside others
        go_on = hold_commits(edge, monkeypatch)
        async with connect(edge, "s") as client:
            await client.send_chunk(1)
            error = await client.answer()
            assert (error["code"], error["seq"]) == ("storage_unavailable", 1)
            assert await client.closed_with() == (1013, "storage_unavailable")
        go_on.set()
        async with connect(edge, "s") as client:
            await client.send_chunk(1)
            assert (await client.answer())["status"] in {"stored", "duplicate"}
            assert (await client.status())["received_chunks"] == 1


async def test_a_repeat_of_a_pending_chunk_waits_for_its_commit(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node() as edge:
        go_on = hold_commits(edge, monkeypatch)
        async with connect(edge, "s") as one, connect(edge, "s") as two:
            await one.send_chunk(1)
            await trio.testing.wait_all_tasks_blocked()
            await two.send_chunk(1)
            await two.send_chunk(1, second(9))
            await trio.testing.wait_all_tasks_blocked()
            go_on.set()
            assert (await one.answer())["status"] == "stored"
            repeat, conflict = await two.answers(2)
            assert (repeat["status"], conflict["code"]) == ("duplicate", "chunk_conflict")


async def test_more_than_max_in_flight_stops_the_reading_and_closes_1013(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node(max_in_flight=2, in_flight_timeout=0.05) as edge:
        go_on = hold_commits(edge, monkeypatch)
        async with connect(edge, "s") as client:
            for seq in (1, 2, 3):
                await client.send_chunk(seq)
            assert (await client.answer())["code"] == "in_flight_full"
            assert await client.closed_with() == (1013, "in_flight_full")
        session = edge.registry.live("s")
        assert session is not None
        assert set(session.streams["mixed"].pending) == {1, 2}
        go_on.set()


async def test_a_flood_of_all_sessions_waits_for_the_disk_and_is_not_refused(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node(journal_queue_bytes=10**6) as edge, AsyncExitStack() as stack:
        go_on = hold_commits(edge, monkeypatch)
        clients = [await stack.enter_async_context(connect(edge, f"s{n}")) for n in range(4)]
        for client in clients:
            for seq in range(1, 17):  # twice as many as the queue takes
                await client.send_chunk(seq)
        await until_queue_is_full(edge)
        go_on.set()
        for client in clients:
            assert {answer.get("status") for answer in await client.answers(16)} == {"stored"}


async def test_a_queue_that_stays_full_refuses_after_the_deadline(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node(journal_queue_bytes=10**6, in_flight_timeout=0.05) as edge:
        go_on = hold_commits(edge, monkeypatch)
        async with connect(edge, "s") as client, connect(edge, "t") as other:
            for seq in range(1, 31):
                await client.send_chunk(seq)
            await until_queue_is_full(edge)
            await other.send_chunk(1)
            assert (await other.answer())["code"] == "storage_unavailable"
            go_on.set()
            assert {answer["status"] for answer in await client.answers(30)} == {"stored"}


async def test_a_pong_does_not_wait_for_the_disk(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node() as edge:
        go_on = hold_commits(edge, monkeypatch)
        async with connect(edge, "s") as client:
            await client.send_chunk(1)
            await client.send_json(type="ping")
            assert (await client.answer())["type"] == "pong"
            go_on.set()
            assert (await client.answer())["type"] == "ack"


async def test_a_full_journal_refuses_and_the_seq_stays_free(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node() as edge, connect(edge, "s") as client:
        journal = edge.parts.journal
        append = journal.append

        def full(entry: object) -> None:
            raise JournalFull("the disk has 0 bytes free")

        monkeypatch.setattr(journal, "append", full)
        await client.send_chunk(1)
        assert (await client.answer())["code"] == "storage_unavailable"
        monkeypatch.setattr(journal, "append", append)
        await client.send_chunk(1)
        assert (await client.answer())["status"] == "stored"


async def test_a_store_that_is_down_stops_no_ack_at_level_journal(open_node: OpenNode) -> None:
    backend = FaultyBackend(MemoryBackend())
    backend.outage = True
    async with (
        open_node(backend=backend, upload_interval_ms=1, drain_timeout=0.05, retry_initial=0.001) as edge,
        connect(edge, "s") as client,
    ):
        for seq in range(1, 11):
            await client.send_chunk(seq)
        assert {a["status"] for a in await client.answers(10)} == {"stored"}
        backend.outage = False
        await edge.parts.archive.flush("s")
        assert [info.key async for info in backend.list("sessions/s/chunks/")] == [
            f"sessions/s/chunks/{seq:08d}.pcm" for seq in range(1, 11)
        ]


async def test_level_backend_acks_only_what_the_store_confirmed(open_node: OpenNode) -> None:
    backend = FaultyBackend(MemoryBackend())
    backend.outage = True
    settings: dict[str, Any] = {"ack": AckLevel.BACKEND, "retry_initial": 0.001, "retry_max": 0.01}
    hasty = settings | {"storage_timeout": 0.2, "drain_timeout": 0.05}
    async with open_node(backend=backend, **hasty) as edge, connect(edge, "s") as client:
        assert (await client.hello())["ack"] == "backend"
        await client.send_chunk(1)
        assert (await client.answer())["code"] == "storage_unavailable"
        assert (await client.closed_with())[0] == 1013
    # A restart finds the chunk journalled: not held at this level until the store has it.
    backend.outage = False
    async with open_node(backend=backend, **settings) as edge, connect(edge, "s") as client:
        await client.send_chunk(1)
        answer = await client.answer()
        assert answer.get("status") == "duplicate", answer
        assert [info.key async for info in backend.list("sessions/s/")] == ["sessions/s/chunks/00000001.pcm"]


async def test_level_memory_acks_at_admission(open_node: OpenNode, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_node(ack=AckLevel.MEMORY) as edge:
        go_on = hold_commits(edge, monkeypatch)
        async with connect(edge, "s") as client:
            await client.send_chunk(1)
            await client.send_chunk(1)
            await client.send_chunk(1, second(9))
            assert (await client.answer())["status"] == "stored"
            go_on.set()
            assert [a.get("status") or a["code"] for a in await client.answers(2)] == [
                "duplicate",
                "chunk_conflict",
            ]
        await edge.parts.archive.flush("s")


async def test_a_peer_that_reads_nothing_is_closed(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interview_edge.web.audio_socket.MAX_WAITING", 8)
    monkeypatch.setattr("interview_edge.web.outbox.MAX_WAITING", 8)
    async with open_node(in_flight_timeout=0.05, send_timeout=0.05) as edge, connect(edge, "s") as client:
        client.reads = trio.Event()
        for _ in range(40):
            await client.send_text(b"[]")
        assert await client.closed_with() == (1013, "slow_reader")


async def test_feeding_a_node_that_is_draining_is_refused(open_node: OpenNode) -> None:
    async with open_node() as edge:
        edge.registry.drain()
        with pytest.raises(EdgeError, match="draining"):
            async with edge.session("new"):
                pass


async def test_a_repeat_that_waits_while_the_node_ends_does_not_fail_the_last_commit(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node(storage_timeout=0.1, drain_timeout=0.1) as edge:
        go_on = hold_commits(edge, monkeypatch)
        close = edge.parts.journal._close

        def close_and_commit(timeout: float) -> None:
            close(timeout)
            go_on.set()

        monkeypatch.setattr(edge.parts.journal, "_close", close_and_commit)
        async with connect(edge, "s") as client:
            await client.send_chunk(1)
            await client.send_chunk(1)
            await client.send_chunk(2)
            await client.closed_with()
    async with open_node() as edge, edge.session("s") as session:
        assert session.status().received_chunks == 2


async def test_level_memory_finalizes_what_was_acked_though_the_disk_is_slow(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node(ack=AckLevel.MEMORY) as edge, edge.session("s") as session:
        go_on = hold_commits(edge, monkeypatch)
        await session.feed(second(1), seq=1)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def finalize() -> None:
                answer = await session.finalize()
                assert (answer["complete"], answer["missing"]) == (True, [])

            await trio.testing.wait_all_tasks_blocked(0.01)
            go_on.set()
        extents = await edge.parts.catalog.extents(StreamKey("s"))
        assert [(e.first, e.last) for e in extents] == [(1, 1)]


async def test_a_finalize_that_fails_leaves_its_socket_and_its_chunks_alone(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node() as edge, connect(edge, "s") as client:
        await client.send_chunk(1)
        await client.answer()

        async def down(*_: object) -> None:
            raise CatalogUnavailable("down")

        monkeypatch.setattr(edge.parts.catalog, "load_session", down)
        await client.send_json(type="finalize")
        assert (await client.answer())["code"] == "catalog_unavailable"
        await client.send_chunk(2)
        assert (await client.answer())["status"] == "stored"


async def test_a_journal_that_can_not_be_read_closes_1013_and_not_as_a_defect(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node(storage_timeout=0.1) as edge, connect(edge, "s") as client:

        async def fails(*_: object) -> None:
            raise JournalUnavailable("disk I/O error")

        monkeypatch.setattr(edge.parts.journal, "repeats", fails)
        await client.send_chunk(1)
        assert (await client.answer())["code"] == "storage_unavailable"
        assert await client.closed_with() == (1013, "storage_unavailable")


async def test_repeats_that_wait_for_the_disk_hold_no_audio(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They count little in the journal's queue, so that little is what they may cost."""
    async with open_node(storage_timeout=60) as edge, connect(edge, "s") as client:
        await client.send_chunk(1)
        await client.answer()
        go_on = hold_commits(edge, monkeypatch)
        await client.send_chunk(2)
        for seq in (2, 2, 1, 1):
            await client.send_chunk(seq)
        await trio.testing.wait_all_tasks_blocked(0.01)
        gc.collect()
        audio = [c for c in gc.get_objects() if isinstance(c, Append) and c.repeat and c.chunk.pcm]
        session = edge.registry.live("s")
        assert session is not None
        waiting = session.streams["mixed"].pending[2].repeats
        assert waiting is not None
        assert audio + [chunk for chunk, _ in waiting if chunk.pcm] == []
        go_on.set()
        assert [a["status"] for a in await client.answers(5)] == ["stored", *["duplicate"] * 4]


async def test_a_second_that_rotted_in_the_journal_does_not_close_its_session_to_new_audio(
    open_node: OpenNode,
) -> None:
    backend = FaultyBackend(MemoryBackend())
    backend.outage = True
    async with open_node(backend=backend, drain_timeout=0.05) as edge, edge.session("s") as session:
        await session.feed(second(1), seq=1)
    async with open_node(backend=backend, drain_timeout=0.05) as edge:
        journal = edge.parts.journal
        await journal._writer.transact(lambda c: c.execute("UPDATE audio SET pcm = zeroblob(32000)").get)
        async with edge.session("s") as session:
            await session.feed(second(2), seq=2)
            assert session.status().received_chunks == 2


async def test_level_memory_acks_repeats_too_while_the_journal_hangs(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node(ack=AckLevel.MEMORY, drain_timeout=0.1) as edge, connect(edge, "s") as client:
        go_on = hold_commits(edge, monkeypatch)
        for seq in (1, 2, 1, 3):
            await client.send_chunk(seq)
        answers = [answer["status"] for answer in await client.answers(4)]
        go_on.set()
        assert answers == ["stored", "stored", "duplicate", "stored"]


async def test_level_memory_tells_a_repeat_by_the_window_where_the_journal_cannot_be_read(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node(ack=AckLevel.MEMORY) as edge, connect(edge, "s") as client:
        with monkeypatch.context() as patched:
            patched.setattr(edge.parts.journal, "rows", fails)
            for pcm in (second(1), second(1), second(2)):
                await client.send_chunk(1, pcm)
            stored, repeat, other = await client.answers(3)
        assert (stored["status"], repeat["status"]) == ("stored", "duplicate")
        assert other["code"] == "chunk_conflict"


async def fails(*_: Any) -> Any:
    raise JournalUnavailable("the disk is away")


async def test_a_client_that_comes_again_while_the_disk_hangs_leaves_nothing_behind(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node(drain_timeout=0.1) as edge:
        go_on = hold_commits(edge, monkeypatch)
        for _ in range(5):
            async with connect(edge, "s") as client:
                for seq in (1, 2, 3):
                    await client.send_chunk(seq)
                await trio.testing.wait_all_tasks_blocked()
        live = edge.registry.live("s")
        assert live is not None
        pending = live.streams["mixed"].pending.values()
        assert [len(each.repeats or ()) for each in pending] == [1, 1, 1]
        gc.collect()
        assert not [each for each in gc.get_objects() if isinstance(each, Outbox)]
        go_on.set()


async def test_a_feed_that_waits_for_the_store_ends_with_its_session(open_node: OpenNode) -> None:
    backend = FaultyBackend(MemoryBackend())
    backend.outage = True
    async with (
        open_node(backend=backend, ack=AckLevel.BACKEND, drain_timeout=0.1, close_timeout=0.05) as edge,
        trio.open_nursery() as nursery,
    ):
        refused: list[EdgeError] = []

        async def feed() -> None:
            async with edge.session("s") as session:
                try:
                    await session.feed(second(1), seq=1)
                except EdgeError as error:
                    refused.append(error)

        nursery.start_soon(feed)
        await trio.testing.wait_all_tasks_blocked(0.01)
        backend.outage = False
        with trio.fail_after(PATIENCE):
            await delete("s", edge.registry, edge.parts)
            while not refused:
                await trio.sleep(0.001)
        assert refused[0].kind.code == "session_deleted"
