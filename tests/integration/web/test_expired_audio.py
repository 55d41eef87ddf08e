"""A session's audio after a part of it was given up."""

from __future__ import annotations

import json

import pytest
import trio

from asgi_calls import Answer, call
from interview_edge.app import Edge
from interview_edge.backends.memory import MemoryBackend
from interview_edge.core.models import Layout, StreamKey
from nodes import Gate, OpenNode, connect, second

SILENCE = bytes(32_000)
KEY = StreamKey("s")


async def record(edge: Edge, seqs: tuple[int, ...] = (1, 2, 4, 5)) -> None:
    async with connect(edge, "s") as peer:
        for seq in seqs:
            await peer.send_chunk(seq)
        await peer.answers(len(seqs))
    await edge.parts.archive.flush("s")


async def give_up(edge: Edge, *seqs: int) -> None:
    files = await edge.parts.catalog.files.listing(limit=100)
    removal = await edge.parts.remover.remove([f for f in files if set(range(f.first, f.last + 1)) & {*seqs}])
    assert not removal.failed


async def get(edge: Edge, query: str = "", method: str = "GET", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await call(edge.asgi_app, method, f"/v1/sessions/s/audio{query}", headers=named)


async def test_what_expired_is_silence_is_counted_and_changes_the_etag(open_node: OpenNode) -> None:
    async with open_node() as edge:
        await record(edge)
        whole = await get(edge)
        assert (whole.headers["x-missing-seconds"], whole.headers["x-expired-seconds"]) == ("1", "0")
        await give_up(edge, 2, 5)
        left = await get(edge)
        assert left.status == 200
        assert (left.headers["x-missing-seconds"], left.headers["x-expired-seconds"]) == ("1", "2")
        assert left.body[44:] == second(1) + SILENCE + SILENCE + second(4) + SILENCE
        assert left.headers["etag"] != whole.headers["etag"]
        resumed = await get(edge, range="bytes=44-143", if_range=whole.headers["etag"])
        assert resumed.status == 200, "a download that was cut off begins anew"
        part = await get(edge, range="bytes=32044-32143", if_range=left.headers["etag"])
        assert (part.status, part.body) == (206, bytes(100))
        flac = await get(edge, "?format=flac")
        assert (flac.status, flac.headers["x-expired-seconds"]) == (200, "2")


@pytest.mark.parametrize("query", ["", "?format=flac"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_all_of_it_expired_is_410(open_node: OpenNode, query: str, method: str) -> None:
    async with open_node(layout=Layout.SEGMENTS) as edge:
        await record(edge)
        await give_up(edge, 1, 2, 4, 5)
        answer = await get(edge, query, method)
        assert answer.status == 410
        if method == "GET":
            assert answer.json() == {"detail": "the audio expired and was deleted", "code": "chunk_expired"}


async def test_what_expires_while_the_answer_is_made_is_not_sent_as_sound(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All answers under one ETag are the same bytes."""
    async with open_node() as edge:
        await record(edge)
        gate = Gate(edge.parts.catalog.files, "expired_seqs", monkeypatch)
        answers: list[Answer] = []

        async def ask() -> None:
            answers.append(await get(edge))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            with trio.fail_after(5):
                await gate.reached.wait()
            await give_up(edge, 1)
            gate.go_on.set()
        assert answers[0].status == 410


async def test_finalize_after_expiry_names_no_object_as_there(open_node: OpenNode) -> None:
    backend = MemoryBackend()
    async with open_node(backend=backend) as edge:
        await record(edge)
        async with edge.session("s") as session:
            before = await session.finalize()
            assert await session.finalize() == before
            await give_up(edge, 2, 5)
            after = await session.finalize()
        assert after["complete"] == before["complete"], "an expired second is held"
        assert after["missing"] == before["missing"] == [[3, 3]]
        result = json.loads(await backend.get(after["result_key"]))
        listed = {row["key"]: row.get("expired", False) for row in result["audio"]}
        stored = {info.key async for info in backend.list("sessions/s/chunks/")}
        assert {key for key, expired in listed.items() if not expired} == stored
        assert sum(listed.values()) == 2
