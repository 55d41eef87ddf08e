"""What a client of the chunk dialect is answered (contract ingest.md, WebSocket and Ledger semantics)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from interview_edge.core.pcm import CHUNK_BYTES
from nodes import OpenNode, connect, second

GOLDEN = Path(__file__).parents[2] / "golden" / "chunk_dialect"


async def test_hello_is_answered_by_ready_and_a_new_stream_starts_at_1(open_node: OpenNode) -> None:
    async with open_node() as edge, connect(edge, "s") as client:
        ready = await client.hello(meeting_id="s")
        assert ready["type"] == "ready"
        assert (ready["next_seq"], ready["missing"], ready["ack"], ready["max_in_flight"]) == (
            1,
            [],
            "journal",
            32,
        )
        assert (ready["target_sample_rate"], ready["target_channels"], ready["target_format"]) == (
            16000,
            1,
            "pcm_s16le",
        )
        assert ready["ingest"]["last_seq"] == 0


async def test_a_late_chunk_fills_its_gap(open_node: OpenNode) -> None:
    async with open_node() as edge, connect(edge, "s") as client:
        for seq in (1, 4, 2, 3):
            await client.send_chunk(seq)
        acks = await client.answers(4)
        assert [a["seq"] for a in acks] == [1, 4, 2, 3]
        assert [a["missing_count"] for a in acks] == [0, 2, 1, 0]
        assert [a["next_seq"] for a in acks] == [2, 2, 3, 5]
        assert [a["last_seq"] for a in acks] == [1, 4, 4, 4]
        assert {a["status"] for a in acks} == {"stored"}
        assert acks[1]["key"] == "sessions/s/chunks/00000004.pcm"
        status = await client.status()
        assert (status["received_chunks"], status["missing_chunks"], status["bytes_stored"]) == (
            4,
            0,
            4 * CHUNK_BYTES,
        )


async def test_repeats_are_duplicates_in_order_whether_pending_journalled_or_stored(
    open_node: OpenNode,
) -> None:
    async with open_node(upload_interval_ms=1) as edge, connect(edge, "s") as client:
        for _ in range(3):
            await client.send_chunk(1)
        await client.send_chunk(2)
        acks = await client.answers(4)
        assert [(a["seq"], a["status"]) for a in acks] == [
            (1, "stored"),
            (1, "duplicate"),
            (1, "duplicate"),
            (2, "stored"),
        ]
        assert "key" not in acks[1]
        await edge.parts.archive.flush("s")
        await client.send_chunk(2)
        assert (await client.answer())["status"] == "duplicate"
        status = await client.status()
        assert (status["received_chunks"], status["duplicate_chunks"]) == (2, 3)


@pytest.mark.parametrize("stored", [False, True])
async def test_other_bytes_at_a_held_seq_are_a_conflict_and_change_nothing(
    open_node: OpenNode, stored: bool
) -> None:
    async with open_node() as edge, connect(edge, "s") as client:
        await client.send_chunk(1)
        await client.send_chunk(1, second(99))
        first, error = await client.answers(2)
        assert (first["status"], error["type"], error["code"], error["seq"]) == (
            "stored",
            "error",
            "chunk_conflict",
            1,
        )
        if stored:
            await edge.parts.archive.flush("s")
        await client.send_chunk(1, second(99))
        assert (await client.answer())["code"] == "chunk_conflict"
        async with edge.session("s") as session:
            assert await session.chunk(1) == second(1)
        status = await client.status()
        assert (status["received_chunks"], status["duplicate_chunks"]) == (1, 0)


async def test_the_final_chunk_may_be_short_and_ends_the_stream(open_node: OpenNode) -> None:
    async with open_node() as edge, connect(edge, "s") as client:
        await client.send_chunk(1)
        await client.send_chunk(3, second(3)[:1000], final=True)
        await client.send_chunk(4)
        await client.send_chunk(2)
        await client.send_chunk(3, second(3)[:1000], final=True)
        answers = await client.answers(5)
        assert [a.get("status") or a["code"] for a in answers] == [
            "stored",
            "stored",
            "stream_ended",
            "stored",
            "duplicate",
        ]
        assert (await client.status())["bytes_stored"] == 2 * CHUNK_BYTES + 1000


async def test_a_final_chunk_below_a_held_seq_is_refused(open_node: OpenNode) -> None:
    async with open_node() as edge, connect(edge, "s") as client:
        await client.send_chunk(5)
        await client.send_chunk(4, final=True)
        assert [a.get("status") or a["code"] for a in await client.answers(2)] == [
            "stored",
            "final_below_held",
        ]
        assert (await client.status())["received_chunks"] == 1


async def test_a_seq_over_a_day_ahead_is_refused(open_node: OpenNode) -> None:
    async with open_node() as edge, connect(edge, "s") as client:
        await client.send_chunk(86_401)
        await client.send_chunk(86_400)
        refused, taken = await client.answers(2)
        assert (refused["code"], refused["seq"], taken["status"]) == ("seq_too_far", 86_401, "stored")


def _refused() -> list[Any]:
    return sorted((GOLDEN / "refused").glob("*.json"))


async def test_every_bad_frame_leaves_the_socket_good_and_the_ledger_unchanged(open_node: OpenNode) -> None:
    expected = json.loads((GOLDEN / "refused.json").read_text())
    async with open_node() as edge, connect(edge, "s") as client:
        await client.send_chunk(1)
        await client.answer()
        before = await client.status()
        for path in _refused():
            await client.send_text(path.read_bytes())
            answer = await client.answer()
            assert answer["type"] == "error", path.name
            assert answer["detail"], path.name
        assert len(expected) >= len(_refused())
        assert await client.status() == before
        await client.send_chunk(2)
        assert (await client.answer())["status"] == "stored"


async def test_two_sockets_of_one_stream_share_one_ledger(open_node: OpenNode) -> None:
    async with open_node() as edge, connect(edge, "s") as one, connect(edge, "s") as two:
        for seq in range(1, 21):
            await (one if seq % 2 else two).send_chunk(seq)
        assert {a["status"] for a in await one.answers(10) + await two.answers(10)} == {"stored"}
        assert (await one.status())["received_chunks"] == 20
        assert (await two.status())["missing_chunks"] == 0


async def test_streams_have_ledgers_of_their_own_and_a_fifth_is_refused(open_node: OpenNode) -> None:
    async with open_node() as edge:
        for stream in ("teacher", "students", "a", "b"):
            async with connect(edge, "s", stream) as client:
                await client.send_chunk(1)
                assert (await client.answer())["status"] == "stored"
        async with connect(edge, "s", "c") as client:
            await client.send_chunk(1)
            assert (await client.answer())["code"] == "stream_limit"
            assert (await client.closed_with())[0] == 1008


async def test_close_answers_everything_before_it(open_node: OpenNode) -> None:
    async with open_node() as edge, connect(edge, "s") as client:
        await client.send_chunk(1)
        await client.send_chunk(2)
        await client.send_json(type="close", reason="x" * 200)
        answers = await client.answers(3)
        assert [a["type"] for a in answers] == ["ack", "ack", "closing"]
        assert await client.closed_with() == (1000, "x" * 120)


async def test_ping_is_answered_with_the_clock(open_node: OpenNode) -> None:
    async with open_node() as edge, connect(edge, "s") as client:
        await client.send_json(type="ping")
        pong = await client.answer()
        assert pong["type"] == "pong"
        assert isinstance(pong["ts"], int)
