"""Objects out again: with Range, as a ZIP, and nothing by a path that is no file's."""

from __future__ import annotations

import hashlib
import io
import json
import tracemalloc
import zipfile
from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest

from api_keys import bearer, give_key
from asgi_calls import Answer, call
from interview_edge.backends.memory import MemoryBackend
from interview_edge.backends.protocol import ObjectNotFound
from interview_edge.core.keys import conflict_key
from interview_edge.core.models import Layout, StreamKey
from interview_edge.web.zip_stream import MANIFEST, zip_objects
from nodes import second

from .conftest import OpenAdmin

ONE = "/api/audio-storage/download"


def url(key: str) -> str:
    """Each segment of the key encoded once more."""
    return f"{ONE}/{quote(key)}"


def unzipped(answer: Answer) -> tuple[dict[str, bytes], list[dict[str, object]]]:
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        assert archive.testzip() is None
        entries = {name: archive.read(name) for name in archive.namelist()}
    manifest = [json.loads(line) for line in entries.pop(MANIFEST).splitlines()]
    return entries, manifest


@pytest.mark.parametrize("session_id", ["plain", "a/b", "会议", "100%", "x" * 128])
async def test_any_session_s_file_can_be_had(open_admin: OpenAdmin, session_id: str) -> None:
    async with open_admin() as admin:
        await admin.record(session_id, 1)
        (file,) = (await admin.data("GET", "/api/audio-storage/files/alice"))["files"]
        for target in (url(file["key"]), f"{ONE}/{quote(file['key'], safe='')}"):
            answer = await admin.ask("GET", target)
            assert (answer.status, answer.body) == (200, second(1))
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-length"] == "32000"
        assert answer.headers["content-disposition"].startswith('attachment; filename="00000001.pcm"')
        head = await admin.ask("HEAD", url(file["key"]))
        assert (head.status, head.body, head.headers["etag"]) == (200, b"", answer.headers["etag"])


async def test_a_range_of_it(open_admin: OpenAdmin) -> None:
    async with open_admin(layout=Layout.SEGMENTS) as admin:
        await admin.record("s", 2)
        (file,) = (await admin.data("GET", "/api/audio-storage/files/alice"))["files"]
        whole = await admin.ask("GET", url(file["key"]))
        assert whole.headers["content-type"] == "audio/flac"
        part = await admin.ask("GET", url(file["key"]), headers={"range": "bytes=5-9"})
        assert (part.status, part.body) == (206, whole.body[5:10])
        assert part.headers["content-range"] == f"bytes 5-9/{len(whole.body)}"
        stale = await admin.ask(
            "GET", url(file["key"]), headers={"range": "bytes=5-9", "if-range": '"another"'}
        )
        assert (stale.status, stale.body) == (200, whole.body)
        beyond = await admin.ask("GET", url(file["key"]), headers={"range": "bytes=99999999-"})
        assert (beyond.status, beyond.json()["code"]) == (416, "range_not_satisfiable")


async def test_result_and_conflicts_can_be_had_too(open_admin: OpenAdmin) -> None:
    async with open_admin() as admin:
        await admin.record("s", 1)
        async with admin.edge.session("s") as session:
            await session.finalize()
        result = await admin.ask("GET", url("sessions/s/result.json"))
        assert (result.status, result.json()["session_id"]) == (200, "s")
        assert result.headers["content-type"] == "application/json"
        key = conflict_key(StreamKey("s"), 1, b"i" * 16)
        assert await admin.refusal("GET", url(key)) == (404, "file_not_found")
        await admin.edge.parts.backend.put(key, b"other")
        assert (await admin.ask("GET", url(key))).body == b"other"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("", 403),
        ("..", 403),
        ("../catalog.db", 403),
        ("%2e%2e/catalog.db", 403),
        ("sessions/../../catalog.db", 403),
        ("sessions/s/../t/chunks/00000001.pcm", 403),
        ("sessions/s/%2e%2e/%2e%2e/catalog.db", 403),
        ("sessions/s/..%2f..%2fcatalog.db", 403),
        ("/etc/passwd", 403),
        ("%2Fetc%2Fpasswd", 403),
        ("file:///etc/passwd", 403),
        ("sessions\\s\\chunks\\00000001.pcm", 403),
        ("sessions/s/chunks/00000001.pcm%00.txt", 403),
        ("sessions//s/chunks/00000001.pcm", 403),
        ("sessions/s/chunks/00000001.pcm/", 403),
        ("sessions/s/chunks/1.pcm", 403),
        ("sessions/s/secret.txt", 403),
        ("other/s/chunks/00000001.pcm", 403),
        ("Sessions/s/chunks/00000001.pcm", 403),
        ("sessions/s/chunks/00000001.pcm%0d%0aX: y", 403),
        ("sessions/s/chunks/00000002.pcm", 404),
        ("sessions/t/chunks/00000001.pcm", 404),
        ("sessions/s/chunks/teacher/00000001.pcm", 404),
        ("sessions/s/segments/00000001-00000060.flac", 404),
        ("sessions/s/result.json", 404),
        ("sessions/..%25/result.json", 404),
        ("%ff", 400),
        ("%zz", 400),
    ],
)
async def test_what_is_no_file_is_not_served(open_admin: OpenAdmin, path: str, status: int) -> None:
    async with open_admin() as admin:
        await admin.record("s", 1)
        for method, target in (("GET", f"{ONE}/{path}"), ("DELETE", f"/api/audio-storage/files/{path}")):
            answer = await admin.ask(method, target)
            assert answer.status == status, (method, answer)
            # A path that is no text belongs to no family of routes, whose shape an error could have.
            assert status == 400 or answer.json()["success"] is False
            assert b"etc/passwd" not in answer.body
        assert (await admin.ask("GET", url("sessions/s/chunks/00000001.pcm"))).status == 200


async def test_other_users_and_other_scopes_get_nothing(open_admin: OpenAdmin) -> None:
    async with open_admin() as admin:
        await admin.record("s", 1)
        for scopes in (("sessions",), ("ingest", "sessions", "chat", "rag")):
            key = await give_key(admin.edge, *scopes, owner="alice")
            for method, target in (
                ("GET", "/api/audio-storage/stats"),
                ("GET", "/api/audio-storage/files/alice"),
                ("GET", url("sessions/s/chunks/00000001.pcm")),
                ("DELETE", "/api/audio-storage/files/sessions/s/chunks/00000001.pcm"),
                ("POST", "/api/audio-storage/cleanup"),
            ):
                answer = await call(admin.edge.asgi_app, method, target, headers=bearer(key))
                assert (answer.status, answer.json()["code"]) == (403, "insufficient_scope")


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


class Endless(MemoryBackend):
    """Objects of two megabytes that are nowhere: only their names count."""

    async def get(self, key: str) -> bytes:
        if key.endswith("7"):
            raise ObjectNotFound(key)
        return bytes(2_000_000)


async def test_a_gigabyte_takes_a_few_objects_of_memory() -> None:
    async def keys() -> AsyncIterator[str]:
        for number in range(500):
            yield f"sessions/s/segments/{number:08d}"

    size, tracing = 0, tracemalloc.is_tracing()
    tracemalloc.start()
    try:
        async for piece in zip_objects(keys(), Endless(), now=0.0, timeout=5.0):
            size += len(piece)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        if not tracing:
            tracemalloc.stop()
    assert size > 450 * 2_000_000
    assert peak < 12_000_000
