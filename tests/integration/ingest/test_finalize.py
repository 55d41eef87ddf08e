"""Finalize: idempotent at every crash point, result.json last, never names what isn't there (invariant 7)."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
import trio

from asgi_calls import call
from interview_edge.app import Edge
from interview_edge.backends.memory import MemoryBackend
from interview_edge.backends.protocol import ObjectNotFound
from interview_edge.catalog.protocol import CatalogUnavailable
from interview_edge.core.models import Layout, StreamKey
from interview_edge.errors import EdgeError
from interview_edge.testing import FaultyBackend
from nodes import OpenNode, connect, second

MIXED = StreamKey("s")


async def fed(edge: Edge, seqs: list[int], session_id: str = "s", stream: str = "mixed") -> None:
    async with edge.session(session_id) as session:
        for seq in seqs:
            await session.feed(second(seq), seq=seq, stream=stream)


async def result(edge: Edge, session_id: str = "s") -> dict[str, Any]:
    content: dict[str, Any] = json.loads(await edge.parts.backend.get(f"sessions/{session_id}/result.json"))
    return content


@pytest.mark.parametrize("layout", list(Layout))
async def test_the_manifest_names_every_second_and_its_hash(open_node: OpenNode, layout: Layout) -> None:
    async with open_node(layout=layout) as edge:
        await fed(edge, [1, 2, 4])
        async with edge.session("s") as session:
            answer = await session.finalize({"room": "A"}, last_seq={"mixed": 6})
        assert answer["complete"] is False
        assert answer["missing"] == [[3, 3], [5, 6]]
        assert "missing_truncated" not in answer
        content = await result(edge)
        assert content["metadata"] == {"room": "A"}
        assert content["missing"] == answer["missing"]
        assert content["ingest"]["received_chunks"] == 3
        held: dict[int, bytes] = {}
        for row in content["audio"]:
            pcm = b"".join([await edge.parts.reader.chunk(MIXED, s) or b"" for s in _seqs(row)])
            assert hashlib.sha256(pcm).hexdigest() == row["sha256"]
            assert (await edge.parts.backend.head(row["key"])).size > 0
            held |= {seq: second(seq) for seq in _seqs(row)}
        assert sorted(held) == [1, 2, 4]


def _seqs(row: dict[str, Any]) -> range:
    return range(row["first_seq"], row["last_seq"] + 1)


async def test_again_it_answers_as_before_until_something_changed(open_node: OpenNode) -> None:
    async with open_node() as edge:
        await fed(edge, [1, 3])
        async with edge.session("s") as session:
            first = await session.finalize({"room": "A"})
            assert await session.finalize() == first
            await session.feed(second(1), seq=1)  # a duplicate changes nothing that was recorded
            assert await session.finalize() == first
            await session.feed(second(2), seq=2)  # late, but kept
            second_ = await session.finalize()
            assert (second_["complete"], second_["missing"]) == (True, [])
            assert (await result(edge))["metadata"] == {"room": "A"}
            assert (await session.finalize({"room": "B"}))["complete"] is True
        assert (await result(edge))["metadata"] == {"room": "B"}
    async with open_node() as edge, edge.session("s") as session:
        assert (await session.finalize())["missing"] == []


async def test_a_stated_end_is_remembered_and_hides_nothing(open_node: OpenNode) -> None:
    async with open_node() as edge:
        await fed(edge, [1, 2, 3])
        async with edge.session("s") as session:
            assert (await session.finalize(last_seq={"mixed": 5}))["missing"] == [[4, 5]]
            assert (await session.finalize())["missing"] == [[4, 5]]
            assert (await session.finalize(last_seq={"mixed": 2}))["missing"] == [[4, 5]]


async def test_a_list_of_missing_that_was_cut_says_so(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over HTTP, over the socket and in result.json. With a limit of 2: a thousand holes take seconds."""
    monkeypatch.setattr("interview_edge.core.ledger.MAX_MISSING_LISTED", 2)
    async with open_node() as edge:
        await fed(edge, [2, 4, 6])
        async with connect(edge, "s") as peer, connect(edge, "s", "teacher") as other:
            await peer.send_json(type="finalize")
            cut = await peer.answer()
            await other.send_json(type="finalize")
            whole = await other.answer()
        async with edge.session("s") as session:
            answer = await session.finalize()
        content = await result(edge)
    assert (cut["missing"], cut["missing_truncated"]) == ([[1, 1], [3, 3]], True)
    assert (whole["missing"], "missing_truncated" in whole) == ([], False)
    for shown in (answer, content):
        assert (shown["missing"], shown["missing_truncated"]) == ([[1, 1], [3, 3]], True)


async def test_all_streams_count(open_node: OpenNode) -> None:
    async with open_node() as edge:
        await fed(edge, [1, 2], stream="teacher")
        await fed(edge, [2], stream="students")
        async with edge.session("s") as session:
            answer = await session.finalize()
        assert answer["missing"] == []
        assert answer["missing_by_stream"] == {"students": [[1, 1]], "teacher": []}
        assert answer["complete"] is False
        assert (await result(edge))["ingest"]["received_chunks"] == 3


async def test_what_is_not_stored_in_time_is_503_and_nothing_is_written(open_node: OpenNode) -> None:
    backend = FaultyBackend(MemoryBackend())
    backend.outage = True
    async with open_node(
        backend=backend, finalize_timeout=0.1, drain_timeout=0.05, retry_initial=0.001
    ) as edge:
        await fed(edge, [1])
        async with edge.session("s") as session:
            with pytest.raises(EdgeError) as refused:
                await session.finalize()
            assert (refused.value.kind.code, refused.value.kind.status) == ("finalize_timeout", 503)
            assert refused.value.retry_after
            with pytest.raises(ObjectNotFound):
                await backend.inner.get("sessions/s/result.json")
            backend.outage = False
            assert (await session.finalize())["complete"] is True


async def test_a_crash_between_result_and_catalog_is_finished_by_the_next_call(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node() as edge:
        await fed(edge, [1])

        async def fails(*_: object) -> None:
            raise CatalogUnavailable("cut off")

        with monkeypatch.context() as cut:
            cut.setattr(edge.parts.catalog, "record_finalized", fails)
            async with edge.session("s") as session:
                with pytest.raises(CatalogUnavailable):
                    await session.finalize({"room": "A"})
        written = await result(edge)
    async with open_node() as edge, edge.session("s") as session:
        answer = await session.finalize({"room": "A"})
        again = await result(edge)
        assert answer["finalized_at"] == again["finalized_at"]
        assert {**again, "finalized_at": 0} == {**written, "finalized_at": 0}


async def test_the_result_is_what_the_last_good_finalize_answered(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that fails after it has put its result must not be what people read, while the answer says else."""

    async def away(*_: Any) -> Any:
        raise CatalogUnavailable("away")

    async with open_node() as edge, edge.session("s") as session:
        await session.feed(second(1), seq=1)
        await session.finalize()
        put = edge.parts.backend.put

        async def put_and_fail(*args: Any, **more: Any) -> None:
            await put(*args, **more)
            monkeypatch.setattr(edge.parts.catalog, "record_finalized", away)

        with monkeypatch.context() as patched:
            patched.setattr(edge.parts.backend, "put", put_and_fail)
            with pytest.raises(CatalogUnavailable):
                await session.finalize({"title": "typo"}, last_seq={"mixed": 5})
        monkeypatch.undo()
        answer = await session.finalize()
        result = (await call(edge.asgi_app, "GET", "/v1/sessions/s/result")).json()
        assert (answer["complete"], result["complete"], result["metadata"]) == (True, True, {})
        assert result["finalized_at"] == answer["finalized_at"]


async def test_a_finalize_waits_for_what_was_accepted_before_it(open_node: OpenNode) -> None:
    async with open_node() as edge, connect(edge, "s") as client:
        for seq in range(1, 31):
            await client.send_chunk(seq)
        await client.send_json(type="finalize", last_seq=30)
        frames = []
        while not frames or frames[-1]["type"] != "finalized":
            frames.append(await client.answer())
        assert frames[-1] == {
            "type": "finalized",
            "result_key": "sessions/s/result.json",
            "complete": True,
            "missing": [],
            "missing_by_stream": {"mixed": []},
        }


async def test_ten_at_once_write_one_result(open_node: OpenNode) -> None:
    async with open_node() as edge:
        await fed(edge, [1])
        answers = []
        async with edge.session("s") as session, trio.open_nursery() as nursery:

            async def one() -> None:
                answers.append(await session.finalize())

            for _ in range(10):
                nursery.start_soon(one)
        assert len(answers) == 10
        assert all(answer == answers[0] for answer in answers)


async def test_an_end_over_a_day_ahead_is_refused_like_a_chunk(open_node: OpenNode) -> None:
    async with open_node() as edge, edge.session("s") as session:
        await session.feed(second(1), seq=1)
        with pytest.raises(EdgeError, match=r"frame\.last_seq must be at most 86400 ahead"):
            await session.finalize(last_seq={"mixed": 86_402})
        assert (await session.finalize(last_seq={"mixed": 86_401}))["missing"] == [[2, 86_401]]
