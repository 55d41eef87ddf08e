"""Objects out again: with Range, and nothing by a path that is no file's."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from api_keys import bearer, give_key
from asgi_calls import call
from interview_edge.core.keys import conflict_key
from interview_edge.core.models import Layout, StreamKey
from nodes import second

from .conftest import OpenAdmin

ONE = "/api/audio-storage/download"


def url(key: str) -> str:
    """Each segment of the key encoded once more."""
    return f"{ONE}/{quote(key)}"


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


async def test_an_object_that_the_store_lost_is_missing(open_admin: OpenAdmin) -> None:
    async with open_admin() as admin:
        await admin.record("s", 1)
        key = "sessions/s/chunks/00000001.pcm"
        await admin.edge.parts.backend.delete(key)
        assert await admin.refusal("GET", url(key)) == (404, "file_not_found")
        assert (await admin.ask("HEAD", url(key))).status == 404


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


NO_FILES = {
    "": 403,
    "..": 403,
    "../catalog.db": 403,
    "%2e%2e/catalog.db": 403,
    "sessions/../../catalog.db": 403,
    "sessions/s/../t/chunks/00000001.pcm": 403,
    "sessions/s/%2e%2e/%2e%2e/catalog.db": 403,
    "sessions/s/..%2f..%2fcatalog.db": 403,
    "/etc/passwd": 403,
    "%2Fetc%2Fpasswd": 403,
    "file:///etc/passwd": 403,
    "sessions\\s\\chunks\\00000001.pcm": 403,
    "sessions/s/chunks/00000001.pcm%00.txt": 403,
    "sessions//s/chunks/00000001.pcm": 403,
    "sessions/s/chunks/00000001.pcm/": 403,
    "sessions/s/chunks/1.pcm": 403,
    "sessions/s/secret.txt": 403,
    "other/s/chunks/00000001.pcm": 403,
    "Sessions/s/chunks/00000001.pcm": 403,
    "sessions/s/chunks/00000001.pcm%0d%0aX: y": 403,
    "sessions/s/chunks/00000002.pcm": 404,
    "sessions/t/chunks/00000001.pcm": 404,
    "sessions/deleted/chunks/00000001.pcm": 404,
    "sessions/~/chunks/00000001.pcm": 404,
    "sessions/s/chunks/teacher/00000001.pcm": 404,
    "sessions/s/segments/00000001-00000060.flac": 404,
    "sessions/s/result.json": 404,
    "sessions/..%25/result.json": 404,
    "sessions/%252e%252e/chunks/00000001.pcm": 404,
    "%252e%252e/catalog.db": 403,
    "sessions%5Cs%5Cchunks%5C00000001.pcm": 403,
    "C:/sessions/s/chunks/00000001.pcm": 403,
    "sessions/s/chunks/mixed/../00000001.pcm": 403,
    "sessions/s/chunks/./00000001.pcm": 403,
    "%ff": 400,
    "%zz": 400,
}


async def test_what_is_no_file_is_not_served(open_admin: OpenAdmin) -> None:
    async with open_admin() as admin:
        await admin.record("s", 1)
        await admin.record("deleted", 1)
        assert (await admin.ask("DELETE", "/v1/sessions/deleted")).status == 200
        for method, where in (("GET", ONE), ("HEAD", ONE), ("DELETE", "/api/audio-storage/files")):
            answers = {path: await admin.ask(method, f"{where}/{path}") for path in NO_FILES}
            assert {path: answer.status for path, answer in answers.items()} == NO_FILES
            for path, answer in answers.items():
                assert b"etc/passwd" not in answer.body, path
                # A path that is no text belongs to no family of routes, whose shape an error could have.
                if method != "HEAD" and answer.status != 400:
                    assert answer.json()["success"] is False, path
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
