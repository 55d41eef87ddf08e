"""`/api/audio-storage`: what there is, whose, and how the store does (contract storage.md, Admin API)."""

from __future__ import annotations

from typing import Any

import attrs
import trio
from quart import Response, request

from interview_edge.access.principal import Scope
from interview_edge.catalog.files import FileCursor, StoredFile
from interview_edge.core.pcm import SAMPLE_BYTES, SAMPLE_RATE
from interview_edge.core.times import iso_from_ms
from interview_edge.errors import CATALOG_UNAVAILABLE, INVALID_QUERY, STORAGE_UNAVAILABLE
from interview_edge.web import health
from interview_edge.web.context import WebContext
from interview_edge.web.cursors import Whole, decode_cursor, encode_cursor
from interview_edge.web.messages import json_reply, whole_number
from interview_edge.web.routes import Content, Parameter, Route
from interview_edge.web.schemas import TEXT, ref, whole

PAGE = 50
MAX_PAGE = 1_000
MEGABYTE = 10**6

_JSON = "application/json"
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")

# created_at, session_id, stream, first, key: FileCursor, as a cursor's text holds it.
_Place = tuple[int, str, str, int, str]


@attrs.frozen
class StorageResource:
    """The views that change nothing and answer JSON."""

    context: WebContext

    def routes(self) -> list[Route]:
        return [
            Route(
                method="GET",
                path="/api/audio-storage/stats",
                view=self.stats,
                access=(Scope.ADMIN,),
                summary="How much audio is stored, and how storing goes",
                answers={200: Content(_JSON, ref("StorageStats"), "As of now; the store isn't listed.")},
                errors=(CATALOG_UNAVAILABLE, STORAGE_UNAVAILABLE),
            ),
            Route(
                method="GET",
                path="/api/audio-storage/files/<segment:user_or_path>",
                view=self.files,
                access=(Scope.ADMIN,),
                summary="A user's files, those of the newest session first",
                answers={200: Content(_JSON, ref("StoredFiles"), "One page.")},
                errors=(INVALID_QUERY, CATALOG_UNAVAILABLE, STORAGE_UNAVAILABLE),
                parameters=(
                    Parameter("limit", whole(1, MAX_PAGE), f"1..{MAX_PAGE}, default {PAGE}"),
                    Parameter("cursor", TEXT, "`nextCursor` of the page before"),
                ),
            ),
        ]

    async def stats(self) -> Response:
        parts = self.context.parts
        with trio.fail_after(parts.settings.storage_timeout):
            totals = await parts.catalog.files.totals()
        figures = await health.measure(self.context)
        journal, uploads = figures.journal, figures.uploads
        live = {
            "status": health.overall(health.judge(figures, parts.settings)),
            "sessions": figures.sessions,
            "windowBytes": figures.window_bytes,
            "journalChunks": journal.rows,
            "journalBytes": journal.bytes,
            "backlogChunks": uploads.chunks_waiting,
            "oldestUnstoredMs": uploads.oldest_unstored_ms,
            "uploadsOk": uploads.uploads_ok,
            "uploadsFailed": uploads.uploads_failed,
            "uploadsRetrying": uploads.retrying,
            "meanUploadMs": uploads.mean_upload_ms,
            "p99UploadMs": uploads.p99_upload_ms,
        }
        return success(
            {
                "totalFiles": totals.files,
                "totalSizeBytes": totals.size,
                "totalSizeMB": megabytes(totals.size),
                "formattedSize": format_size(totals.size),
                "audioSessions": totals.sessions,
                "lastUpdated": iso_from_ms(parts.wall_ms()),
                "live": live,
            }
        )

    async def files(self, user_or_path: str) -> Response:
        user = user_or_path
        limit = whole_number(request, "limit", PAGE, 1, MAX_PAGE)
        place = decode_cursor(request.args.get("cursor"), tuple[Whole, str, str, Whole, str])
        files = self.context.parts.catalog.files
        with trio.fail_after(self.context.parts.settings.storage_timeout):
            found = await files.listing(
                limit=limit + 1, after=None if place is None else _cursor(place), owner=user
            )
            totals = await files.totals(user)
        page = found[:limit]
        following = encode_cursor(attrs.astuple(page[-1].cursor)) if len(found) > limit else None
        return success(
            {
                "files": [_show(file) for file in page],
                "totalFiles": totals.files,
                "totalSize": totals.size,
                "nextCursor": following,
            }
        )


def success(data: Any) -> Response:
    """An answer of the family `/api`."""
    return json_reply({"success": True, "data": data})


def megabytes(size: int) -> float:
    return round(size / MEGABYTE, 2)


def format_size(size: int) -> str:
    """For people: three digits or so, in steps of a thousand."""
    amount, unit = float(size), 0
    while amount >= 999.5 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1000, unit + 1
    return f"{amount:.0f} {_UNITS[unit]}" if unit == 0 or amount >= 99.95 else f"{amount:.1f} {_UNITS[unit]}"


def _cursor(place: _Place) -> FileCursor:
    created_at, session_id, stream, first, key = place
    return FileCursor(created_at=created_at, session_id=session_id, stream=stream, first=first, key=key)


def _show(file: StoredFile) -> dict[str, Any]:
    return {
        "sessionId": file.session_id,
        "stream": file.stream,
        "filename": file.key.rpartition("/")[2],
        "key": file.key,
        "size": file.size,
        "uploadedAt": iso_from_ms(file.stored_at),
        "firstSeq": file.first,
        "lastSeq": file.last,
        "durationMs": file.pcm_bytes * 1000 // (SAMPLE_RATE * SAMPLE_BYTES),
        "sha256": None if file.sha256 is None else file.sha256.hex(),
    }
