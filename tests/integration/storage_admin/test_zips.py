"""Many objects as one ZIP: what is in it, what it says is missing, and how much memory it takes."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tracemalloc
import zipfile
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from asgi_calls import PATIENCE, Answer
from interview_edge.backends.memory import MemoryBackend
from interview_edge.testing import Effect, FaultyBackend, PlannedFault
from interview_edge.web import storage_downloads
from interview_edge.web.storage_downloads import MAX_ZIPS
from interview_edge.web.zip_stream import MANIFEST, ZipStream, zip_objects
from nodes import second

from .conftest import OpenAdmin

ONE = "/api/audio-storage/download"


def unzipped(answer: Answer) -> tuple[dict[str, bytes], list[dict[str, object]]]:
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        assert archive.testzip() is None
        entries = {name: archive.read(name) for name in archive.namelist()}
    manifest = [json.loads(line) for line in entries.pop(MANIFEST).splitlines()]
    return entries, manifest


async def test_a_zip_of_some_files(open_admin: OpenAdmin) -> None:
    async with open_admin() as admin:
        await admin.record("a/b", 2)
        await admin.record("c", 1)
        keys = ["sessions/a%2Fb/chunks/00000002.pcm", "sessions/c/chunks/00000001.pcm"]
        answer = await admin.ask("POST", ONE, body={"paths": keys})
        assert answer.headers["content-type"] == "application/zip"
        entries, manifest = unzipped(answer)
        assert entries == dict(zip(keys, (second(2), second(1)), strict=True))
        assert manifest == [
            {"path": key, "size": 32_000, "sha256": hashlib.sha256(data).hexdigest()}
            for key, data in entries.items()
        ]


async def test_a_zip_of_a_session_names_what_is_missing(open_admin: OpenAdmin) -> None:
    async with open_admin() as admin:
        await admin.record("s", 3)
        async with admin.edge.session("s") as session:
            await session.finalize()
        lost = "sessions/s/chunks/00000002.pcm"
        await admin.edge.parts.backend.delete(lost)
        entries, manifest = unzipped(await admin.ask("POST", ONE, body={"sessionId": "s"}))
        assert list(entries) == [
            "sessions/s/chunks/00000001.pcm",
            "sessions/s/chunks/00000003.pcm",
            "sessions/s/result.json",
        ]
        assert {"path": lost, "error": "the object is missing"} in manifest
        assert len(manifest) == 4


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ({}, (400, "invalid_body")),
        ({"paths": [], "sessionId": "s"}, (400, "invalid_body")),
        ({"paths": []}, (400, "invalid_body")),
        ({"paths": "x"}, (400, "invalid_body")),
        ({"paths": [1]}, (400, "invalid_body")),
        ({"paths": ["x"] * 1_001}, (400, "invalid_body")),
        ({"paths": ["../x"]}, (403, "path_refused")),
        ({"paths": ["sessions/s/chunks/00000009.pcm"]}, (404, "file_not_found")),
        ({"sessionId": 1}, (400, "invalid_body")),
        ({"sessionId": ""}, (400, "invalid_session_id")),
        ({"sessionId": "unknown"}, (404, "session_not_found")),
    ],
)
async def test_a_zip_of_nothing_is_refused(
    open_admin: OpenAdmin, body: dict[str, object], refusal: tuple[int, str]
) -> None:
    async with open_admin() as admin:
        await admin.record("s", 1)
        assert await admin.refusal("POST", ONE, body=body) == refusal


class Fresh(MemoryBackend):
    """As over a network: every get makes bytes of its own, though all objects here are the same ones."""

    async def get(self, key: str) -> bytes:
        return bytes(bytearray(await super().get(key)))


async def test_a_gigabyte_takes_a_few_objects_of_memory(open_admin: OpenAdmin) -> None:
    backend, data, count = Fresh(), bytes(2_000_000), 500
    async with open_admin(backend=backend, storage="memory://") as admin:
        _lost, *keys = await admin.name_files("s", count, len(data))
        for key in keys:
            await backend.put(key, data)
        sizes: list[int] = []
        with traced() as peak:
            answer = await admin.ask(
                "POST", ONE, body={"sessionId": "s"}, take=lambda piece: sizes.append(len(piece))
            )
            assert answer.status == 200
            assert (count - 1) * len(data) < sum(sizes) < count * len(data)
            assert peak() < 6 * len(data)


@contextmanager
def traced() -> Iterator[Callable[[], int]]:
    """For the block; answers the most bytes that Python held at once in it, over what it held before."""
    tracing = tracemalloc.is_tracing()
    if not tracing:
        tracemalloc.start()
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    try:
        yield lambda: tracemalloc.get_traced_memory()[1] - before
    finally:
        if not tracing:
            tracemalloc.stop()


async def test_so_many_zips_at_once(open_admin: OpenAdmin) -> None:
    hang = [PlannedFault("get", nth, Effect.HANGS) for nth in range(1, MAX_ZIPS + 1)]
    backend = FaultyBackend(MemoryBackend(), hang)
    async with open_admin(backend=backend, storage="memory://") as admin:
        await admin.record("s", 1)
        async with trio.open_nursery() as nursery:
            for _ in range(MAX_ZIPS):
                nursery.start_soon(partial(admin.ask, "POST", ONE, body={"sessionId": "s"}))
            with trio.fail_after(PATIENCE):
                while backend.calls["get"] < MAX_ZIPS:
                    await trio.lowlevel.checkpoint()
            busy = await admin.ask("POST", ONE, body={"sessionId": "s"})
            assert (busy.status, busy.json()["code"]) == (503, "downloads_busy")
            assert busy.headers["retry-after"] == "5"
            assert (await admin.ask("GET", f"{ONE}/sessions/s/chunks/00000001.pcm")).status == 200
            nursery.cancel_scope.cancel()
        assert (await admin.ask("POST", ONE, body={"sessionId": "s"})).status == 200


async def test_a_session_of_too_many_files(open_admin: OpenAdmin, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_admin() as admin:
        await admin.record("s", 3)
        monkeypatch.setattr(storage_downloads, "MAX_ZIP_FILES", 2)
        assert await admin.refusal("POST", ONE, body={"sessionId": "s"}) == (413, "zip_too_large")
        await admin.data("DELETE", "/api/audio-storage/files/sessions/s/chunks/00000001.pcm")
        assert (await admin.ask("POST", ONE, body={"sessionId": "s"})).status == 200


async def test_each_object_is_a_step_of_its_own_also_one_that_is_missing() -> None:
    """Each step of an answer has a deadline: a thousand lost objects mustn't be one step."""

    async def keys() -> AsyncGenerator[str, None]:
        for seq in range(3):
            yield f"sessions/s/chunks/{seq:08d}.pcm"

    pieces = [piece async for piece in zip_objects(keys(), MemoryBackend(), now=0.0, timeout=5.0)]
    assert pieces[:3] == [b""] * 3
    assert len(pieces) == 4


@pytest.mark.skipif(shutil.which("unzip") is None, reason="there is no unzip here")
async def test_other_programs_read_it(tmp_path: Path) -> None:
    stream = ZipStream(now=0.0)
    parts = [await stream.add(f"sessions/%E4%BC%9A/chunks/{seq:08d}.pcm", second(seq)) for seq in (1, 2)]
    archive = tmp_path / "audio.zip"
    archive.write_bytes(b"".join([*parts, await stream.finish()]))
    tested = await trio.run_process(["unzip", "-t", archive], capture_stdout=True)
    assert b"No errors detected" in tested.stdout


async def test_past_four_gigabytes(tmp_path: Path) -> None:
    """Places that no 32 bits hold; the gigabytes are a hole in the file."""
    stream, hole = ZipStream(now=0.0), 5 * 2**30
    with (tmp_path / "audio.zip").open("w+b") as file:
        file.write(await stream.add("first", second(1)))
        file.seek(hole, io.SEEK_CUR)
        stream._zip.fp.offset += hole  # type: ignore[union-attr]
        file.write(await stream.add("second", second(2)))
        file.write(await stream.finish())
        with zipfile.ZipFile(file) as archive:
            assert archive.testzip() is None
            assert (archive.read("first"), archive.read("second")) == (second(1), second(2))
