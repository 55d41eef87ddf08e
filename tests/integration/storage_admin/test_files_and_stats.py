"""What there is: stats without a listing of the store, and files in pages that really page."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest

from interview_edge.backends.memory import MemoryBackend
from interview_edge.core.models import StreamKey
from interview_edge.testing.catalog_steps import stored_chunks
from interview_edge.web.cursors import encode_cursor
from interview_edge.web.storage_resource import format_size
from nodes import second

from .conftest import Admin, OpenAdmin

FILES = "/api/audio-storage/files"
MANY = 10_000


async def pages(admin: Admin, user: str, limit: int) -> AsyncIterator[list[dict[str, Any]]]:
    cursor: str | None = ""
    while cursor is not None:
        more = f"&cursor={cursor}" if cursor else ""
        page = await admin.data("GET", f"{FILES}/{user}?limit={limit}{more}")
        cursor = page["nextCursor"]
        yield page["files"]


async def test_a_file_says_what_it_is(open_admin: OpenAdmin) -> None:
    async with open_admin() as admin:
        await admin.record("a/b", 2)
        page = await admin.data("GET", f"{FILES}/alice")
        assert (page["totalFiles"], page["totalSize"], page["nextCursor"]) == (2, 64_000, None)
        first = page["files"][0]
        assert first.pop("uploadedAt").endswith("Z")
        assert first == {
            "sessionId": "a/b",
            "stream": "mixed",
            "filename": "00000001.pcm",
            "key": "sessions/a%2Fb/chunks/00000001.pcm",
            "size": 32_000,
            "firstSeq": 1,
            "lastSeq": 1,
            "durationMs": 1_000,
            "sha256": hashlib.sha256(second(1)).hexdigest(),
        }
        nobody = await admin.data("GET", f"{FILES}/nobody")
        assert nobody == {"files": [], "totalFiles": 0, "totalSize": 0, "nextCursor": None}


@pytest.mark.parametrize("user", ["李 雷", "a/b", "%", "..", "x" * 200])
async def test_a_user_may_be_called_anything(open_admin: OpenAdmin, user: str) -> None:
    async with open_admin() as admin:
        await admin.record("s", 1, owner=user)
        page = await admin.data("GET", f"{FILES}/{quote(user, safe='')}")
        assert [file["sessionId"] for file in page["files"]] == ["s"]


async def test_ten_thousand_files_page_without_gap_or_repeat(open_admin: OpenAdmin) -> None:
    """Also while some are deleted and others come."""
    async with open_admin() as admin:
        catalog, keys = admin.edge.parts.catalog, await admin.name_files("s", MANY)
        seen: list[int] = []
        async for page in pages(admin, "alice", 1_000):
            seen += [file["firstSeq"] for file in page]
            if len(seen) == 3_000:
                # The last one seen, one seen, one to come; and a new one.
                await catalog.files.expire("s", [keys[seq - 1] for seq in (3_000, 5, 7_000)])
                await catalog.record_stored(stored_chunks(MANY + 1, MANY + 1, key=StreamKey("s"), at=2))
        assert seen == [*range(1, 7_000), *range(7_001, MANY + 2)]


async def test_a_wrong_page_is_named(open_admin: OpenAdmin) -> None:
    limits = ["0", "1001", "x", "", "1.5", "-1"]
    # No base64, no place, and numbers that no column holds.
    cursors = [
        "x",
        "",
        "W10",
        encode_cursor((2**63, "s", "mixed", 1, "k")),
        encode_cursor((1, "s", "m", -1, "k")),
    ]
    async with open_admin() as admin:
        for limit in limits:
            answer = await admin.ask("GET", f"{FILES}/alice?limit={limit}")
            assert (answer.status, answer.json()) == (
                400,
                {
                    "success": False,
                    "error": "limit must be a whole number, 1..1000",
                    "code": "invalid_query",
                    "field": "limit",
                },
            )
        for cursor in cursors:
            answer = await admin.ask("GET", f"{FILES}/alice?cursor={cursor}")
            assert (answer.status, answer.json()["field"]) == (400, "cursor"), cursor
            assert answer.json()["error"] == "cursor must be one that a page gave"


async def test_stats_count_what_is_there_and_ask_the_store_nothing(open_admin: OpenAdmin) -> None:
    class Unlisted(MemoryBackend):
        def list(self, *args: Any, **more: Any) -> Any:
            raise AssertionError("the store was listed")

    async with open_admin(backend=Unlisted(), storage="memory://") as admin:
        empty = await admin.data("GET", "/api/audio-storage/stats")
        assert (empty["totalFiles"], empty["formattedSize"]) == (0, "0 B")
        await admin.record("one", 3)
        await admin.record("two", 2, owner="bob")
        stats = await admin.data("GET", "/api/audio-storage/stats")
        shown = {
            name: stats[name] for name in ("totalFiles", "totalSizeBytes", "totalSizeMB", "audioSessions")
        }
        assert shown == {"totalFiles": 5, "totalSizeBytes": 160_000, "totalSizeMB": 0.16, "audioSessions": 2}
        assert stats["formattedSize"] == "160 kB"
        live = stats["live"]
        assert (live["sessions"], live["backlogChunks"], live["oldestUnstoredMs"]) == (0, 0, None)
        assert (live["uploadsOk"], live["uploadsFailed"], live["status"]) == (5, 0, "ok")
        assert live["p99UploadMs"] >= 0


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (99_949, "99.9 kB"),
        (99_950, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (3 * 10**15, "3.0 PB"),
        (3 * 10**18, "3000 PB"),
    ],
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert format_size(size) == text
