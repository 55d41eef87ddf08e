"""Files deleted by hand and by age: what went, what didn't, and what reads say afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from interview_edge.backends.memory import MemoryBackend
from interview_edge.core.keys import conflict_key
from interview_edge.core.models import StreamKey
from interview_edge.testing import Effect, FaultyBackend, PlannedFault
from interview_edge.web.storage_removals import DAY_MS
from nodes import second

from .conftest import Admin, OpenAdmin

FILES = "/api/audio-storage/files"


def key_of(seq: int, session: str = "s") -> str:
    return f"sessions/{session}/chunks/{seq:08d}.pcm"


async def test_a_deleted_file_reads_as_gone(open_admin: OpenAdmin) -> None:
    async with open_admin() as admin:
        await admin.record("s", 3)
        done = await admin.data("DELETE", f"{FILES}/{key_of(2)}")
        assert done == {"deleted": [key_of(2)], "failed": [], "freedSpaceBytes": 32_000}
        assert await admin.refusal("GET", f"/api/audio-storage/download/{key_of(2)}") == (
            410,
            "chunk_expired",
        )
        assert await admin.refusal("DELETE", f"{FILES}/{key_of(2)}") == (410, "chunk_expired")
        chunk = await admin.ask("GET", "/v1/sessions/s/chunks/2")
        assert (chunk.status, chunk.json()["code"]) == (410, "chunk_expired")
        assert (await admin.ask("GET", "/v1/sessions/s/chunks/3")).body == second(3)
        stored = [info.key async for info in admin.edge.parts.backend.list("")]
        assert stored == [key_of(1), key_of(3)]
        actions = [entry.action for _, entry in await admin.edge.parts.catalog.access.audit(limit=10)]
        assert actions.count("storage.delete") == 2


async def test_a_batch_says_of_each_path_what_became_of_it(open_admin: OpenAdmin) -> None:
    backend = FaultyBackend(MemoryBackend(), [PlannedFault("delete", 2, Effect.REFUSED)])
    async with open_admin(backend=backend, storage="memory://", upload_concurrency=1) as admin:
        await admin.record("s", 3)
        async with admin.edge.session("s") as session:
            await session.finalize()
        conflict = conflict_key(StreamKey("s"), 1, b"i" * 16)
        await backend.put(conflict, b"other")
        paths = [key_of(1), key_of(2), key_of(3), key_of(9), "../x", "sessions/s/result.json", conflict]
        done = await admin.data("POST", "/api/audio-storage/delete", body={"paths": [*paths, paths[0]]})
        assert sorted(done["deleted"]) == sorted([key_of(1), key_of(3), conflict])
        assert {each["path"]: each["code"] for each in done["failed"]} == {
            key_of(2): "storage_unavailable",
            key_of(9): "file_not_found",
            "../x": "path_refused",
            "sessions/s/result.json": "file_stays",
        }
        assert done["freedSpaceBytes"] == 64_000 + len(b"other")
        # The one that failed is marked all the same, and may be tried again.
        assert (await admin.ask("GET", "/v1/sessions/s/chunks/2")).status == 410
        again = await admin.data("DELETE", f"{FILES}/{key_of(2)}")
        assert again == {"deleted": [key_of(2)], "failed": [], "freedSpaceBytes": 32_000}
        assert await admin.refusal("DELETE", f"{FILES}/{key_of(2)}") == (410, "chunk_expired")
        assert [info.key async for info in backend.list("")] == ["sessions/s/result.json"]


async def test_a_store_that_fails_one_look_keeps_no_other_from_going(open_admin: OpenAdmin) -> None:
    backend = FaultyBackend(MemoryBackend(), [PlannedFault("head", 1, Effect.UNAVAILABLE)])
    async with open_admin(backend=backend, storage="memory://") as admin:
        await admin.record("s", 1)
        conflict = conflict_key(StreamKey("s"), 1, b"i" * 16)
        await backend.put(conflict, b"other")
        done = await admin.data("POST", "/api/audio-storage/delete", body={"paths": [conflict, key_of(1)]})
        assert done["deleted"] == [key_of(1)]
        assert [(each["path"], each["code"]) for each in done["failed"]] == [
            (conflict, "storage_unavailable")
        ]
        assert await admin.data("DELETE", f"{FILES}/{conflict}") == {
            "deleted": [conflict],
            "failed": [],
            "freedSpaceBytes": 5,
        }


async def test_the_audit_says_what_went(open_admin: OpenAdmin) -> None:
    async with open_admin() as admin:
        for name in ("a/b", "c"):
            await admin.record(name, 2)
        keys = [key_of(1, "a%2Fb"), key_of(1, "c"), key_of(9, "c")]
        for body in ({"paths": keys[:2]}, {"sessionId": "c"}):
            assert (await admin.ask("POST", "/api/audio-storage/download", body=body)).status == 200
        await admin.data("POST", "/api/audio-storage/delete", body={"paths": keys})
        await age(admin, "c", 30)
        await admin.data("POST", "/api/audio-storage/cleanup", body={"maxAgeDays": 30})
        audit = await admin.edge.parts.catalog.access.audit(limit=10)
        rows = [entry for _, entry in audit if entry.action.startswith("storage.")]
        told = [
            {name: value for name, value in row.detail.items() if name not in ("route", "status")}
            for row in rows
        ]
        assert [row.action for row in rows] == [
            *["storage.download"] * 2,
            "storage.delete",
            "storage.cleanup",
        ]
        assert told == [
            {"files": 2, "sessions": ["a/b", "c"]},
            {"sessions": ["c"]},
            {"files": 2, "sessions": ["a/b", "c"], "deleted": 2, "freed_bytes": 64_000},
            {"max_age_days": 30, "dry_run": False, "deleted": 1, "freed_bytes": 32_000},
        ]
        assert {row.owner for row in rows} == {"root"}


async def age(admin: Admin, session_id: str, days: int) -> None:
    """As if the session's files had been stored so many days before."""
    past = admin.edge.parts.wall_ms() - days * DAY_MS - 1

    def work(connection: Any) -> None:
        connection.execute("UPDATE objects SET stored_at = ? WHERE session_id = ?", (past, session_id))
        connection.execute(
            "UPDATE sessions SET created_at = ?, updated_at = ? WHERE session_id = ?",
            (past, past, session_id),
        )

    await admin.edge.parts.catalog._write(work)  # type: ignore[attr-defined]


async def test_a_cleanup_takes_what_is_older_and_a_dry_run_nothing(open_admin: OpenAdmin) -> None:
    async with open_admin() as admin:
        await admin.record("old", 2)
        await admin.record("young", 1)
        await admin.record("live", 1)
        for name in ("old", "live"):
            await age(admin, name, 10)
        async with admin.edge.session("live"):
            counted = await admin.data(
                "POST", "/api/audio-storage/cleanup", body={"maxAgeDays": 10, "dryRun": True}
            )
            assert len([info async for info in admin.edge.parts.backend.list("")]) == 4
            done = await admin.data("POST", "/api/audio-storage/cleanup", body={"maxAgeDays": 10})
            later = await admin.data("POST", "/api/audio-storage/cleanup", body={"maxAgeDays": 10})
        assert done == {
            "deletedFiles": 2,
            "freedSpaceBytes": 64_000,
            "freedSpaceMB": 0.06,
            "failedFiles": 0,
            "sessions": 1,
            "liveSessions": 1,
            "dryRun": False,
        }
        assert counted == done | {"dryRun": True}
        assert later["deletedFiles"] == 0
        left = [info.key async for info in admin.edge.parts.backend.list("")]
        assert left == [key_of(1, "live"), key_of(1, "young")]
        too_young = await admin.data("POST", "/api/audio-storage/cleanup", body={"maxAgeDays": 11})
        assert too_young["deletedFiles"] == 0


@pytest.mark.parametrize("days", [-1, 0, 366, "30", "text", True, 1.5, None, [], 10**30])
async def test_an_age_that_is_none_is_named(open_admin: OpenAdmin, days: object) -> None:
    async with open_admin() as admin:
        answer = await admin.ask("POST", "/api/audio-storage/cleanup", body={"maxAgeDays": days})
        body = answer.json()
        assert (answer.status, body["code"], body["field"]) == (400, "invalid_body", "maxAgeDays")
        assert body["error"] == "maxAgeDays must be a whole number, 1..365"


async def test_a_cleanup_needs_an_age_and_a_plain_dry_run(open_admin: OpenAdmin) -> None:
    async with open_admin() as admin:
        assert await admin.refusal("POST", "/api/audio-storage/cleanup", body={}) == (400, "invalid_body")
        assert await admin.refusal("POST", "/api/audio-storage/cleanup") == (400, "body_not_json")
        wrong = await admin.ask("POST", "/api/audio-storage/cleanup", body={"maxAgeDays": 1, "dryRun": 1})
        assert (wrong.status, wrong.json()["field"]) == (400, "dryRun")


@pytest.mark.parametrize(
    ("route", "body", "field", "meant"),
    [
        ("cleanup", {"maxAgeDays": 1, "dryrun": True}, "dryrun", "dryRun"),
        ("cleanup", {"maxAgeDay": 1}, "maxAgeDay", "maxAgeDays"),
        ("delete", {"paths": [key_of(1)], "path": []}, "path", "paths"),
        ("download", {"sessionId": "s", "sessionID": "t"}, "sessionID", "sessionId"),
        ("cleanup", {"maxAgeDays": 1, "force": True}, "force", None),
        ("cleanup", {"maxAgeDays": 1, "x" * 65: 1}, f"{'x' * 64}...", None),
    ],
)
async def test_a_field_that_is_none_is_named_and_nothing_is_done(
    open_admin: OpenAdmin, route: str, body: dict[str, object], field: str, meant: str | None
) -> None:
    async with open_admin() as admin:
        await admin.record("s", 1)
        await age(admin, "s", 10)
        answer = await admin.ask("POST", f"/api/audio-storage/{route}", body=body)
        hint = "" if meant is None else f"; did you mean {meant!r}?"
        assert (answer.status, answer.json()) == (
            400,
            {
                "success": False,
                "error": f"{field} is no field of this body{hint}",
                "code": "invalid_body",
                "field": field,
            },
        )
        assert [info.key async for info in admin.edge.parts.backend.list("")] == [key_of(1)]
