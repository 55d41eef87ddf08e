"""Downloads over a real socket: one that is cut off looks cut off."""

from __future__ import annotations

import io
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trio

from interview_edge.backends.memory import MemoryBackend
from interview_edge.core.models import Caller
from interview_edge.serving import open_server
from interview_edge.settings import Settings
from interview_edge.testing import Effect, FaultyBackend, PlannedFault
from nodes import second

ONE = "/api/audio-storage/download"
SECONDS = 3


@asynccontextmanager
async def downloads(folder: Path, backend: FaultyBackend) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a served node whose store holds the session `s`."""
    settings = Settings(data_dir=folder, port=0, journal_min_free_bytes=0, drain_timeout=2.0)
    with trio.fail_after(30):
        async with (
            open_server(settings, backend=backend) as server,
            httpx.AsyncClient(base_url=server.url) as client,
        ):
            edge = server.edge
            async with edge.registry.use("s", Caller("alice")) as session:
                for seq in range(1, SECONDS + 1):
                    session.audio.accept(session.stream("mixed"), seq, 1_000, second(seq))
                await session.settle()
            await edge.parts.archive.flush("s")
            yield client


async def test_a_zip_that_the_store_cuts_off_is_no_whole_answer(tmp_path: Path) -> None:
    backend = FaultyBackend(MemoryBackend(), [PlannedFault("get", 2, Effect.UNAVAILABLE)])
    async with downloads(tmp_path, backend) as client:
        received = b""
        async with client.stream("POST", ONE, json={"sessionId": "s"}) as cut:
            assert cut.status_code == 200
            pieces = cut.aiter_raw()
            while second(1) not in received:
                received += await anext(pieces)
            with pytest.raises(httpx.RemoteProtocolError):
                received += b"".join([piece async for piece in pieces])
        with pytest.raises(zipfile.BadZipFile):
            zipfile.ZipFile(io.BytesIO(received))
        again = await client.post(ONE, json={"sessionId": "s"})
        with zipfile.ZipFile(io.BytesIO(again.content)) as whole:
            assert len(whole.namelist()) == SECONDS + 1  # and the manifest


async def test_an_object_shorter_than_recorded_is_no_whole_answer(tmp_path: Path) -> None:
    backend = FaultyBackend(MemoryBackend())
    async with downloads(tmp_path, backend) as client:
        key = "sessions/s/chunks/00000001.pcm"
        await backend.put(key, second(1)[:7])
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(f"{ONE}/{key}")
        again = await client.get(f"{ONE}/sessions/s/chunks/00000002.pcm")
        assert again.content == second(2)


async def test_a_store_that_is_away_from_the_start_is_an_error(tmp_path: Path) -> None:
    backend = FaultyBackend(MemoryBackend())
    async with downloads(tmp_path, backend) as client:
        backend.outage = True
        for answer in (
            await client.post(ONE, json={"sessionId": "s"}),
            await client.get(f"{ONE}/sessions/s/chunks/00000001.pcm"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
