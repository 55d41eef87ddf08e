"""`/api/audio-storage/download`: one object with Range, or many as one ZIP."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import Any

import attrs
import trio
from quart import Response, request

from interview_edge.access.principal import Scope
from interview_edge.backends.protocol import ObjectNotFound, StorageBackend
from interview_edge.catalog.files import FileCursor, FileRecords
from interview_edge.core.keys import check_session_id, session_component
from interview_edge.errors import (
    BODY_NOT_JSON,
    BODY_TOO_LARGE,
    BODY_TOO_SLOW,
    CATALOG_UNAVAILABLE,
    CHUNK_EXPIRED,
    DOWNLOADS_BUSY,
    FILE_NOT_FOUND,
    INVALID_BODY,
    INVALID_SESSION_ID,
    PATH_REFUSED,
    RANGE_NOT_SATISFIABLE,
    SESSION_NOT_FOUND,
    STORAGE_UNAVAILABLE,
    ZIP_TOO_LARGE,
    EdgeError,
)
from interview_edge.web.audit_trail import tell_audit
from interview_edge.web.context import WebContext
from interview_edge.web.file_answers import Downloads, RangedFile, attachment, streamed
from interview_edge.web.messages import held_by_request, invalid_field, parse_fields, read_body
from interview_edge.web.routes import Content, Parameter, Route
from interview_edge.web.schemas import TEXT, ref
from interview_edge.web.storage_schemas import MAX_PATHS
from interview_edge.web.stored_objects import StoredObjects, name_sessions
from interview_edge.web.zip_stream import zip_objects

PIECE = 1024 * 1024
FILES_A_LOOK = 500
# A ZIP ends with a directory of its entries, some 1.5 kB each in memory by then: four of them 300 MB at most.
MAX_ZIPS = 4  # under way
MAX_ZIP_FILES = 50_000  # in one: fourteen hours of one-second objects
BATCH_BODY = 1_200_000  # a thousand paths of the longest kind

_COMMON = {"x-content-type-options": "nosniff", "cache-control": "private, no-cache"}
_BODY_ERRORS = (BODY_NOT_JSON, BODY_TOO_LARGE, BODY_TOO_SLOW, INVALID_BODY)


@attrs.frozen
class StorageDownloads:
    """The views."""

    context: WebContext
    downloads: Downloads = attrs.field(factory=Downloads)
    zips: Downloads = attrs.field(factory=lambda: Downloads(MAX_ZIPS))

    def routes(self) -> list[Route]:
        found = (PATH_REFUSED, FILE_NOT_FOUND, CHUNK_EXPIRED)
        failing = (DOWNLOADS_BUSY, CATALOG_UNAVAILABLE, STORAGE_UNAVAILABLE)
        return [
            Route(
                method="GET",
                path="/api/audio-storage/download/<key:path>",
                view=self.one,
                access=(Scope.ADMIN,),
                audited="storage.download",
                summary="One object as it lies in the store",
                answers={
                    200: Content("application/octet-stream", None, "All of it.", others=_OTHERS),
                    206: Content("application/octet-stream", None, "The range.", others=_OTHERS),
                },
                errors=(RANGE_NOT_SATISFIABLE, *found, *failing),
                parameters=(
                    Parameter("range", TEXT, "one range of bytes", place="header"),
                    Parameter("if-range", TEXT, "the ETag that the range is of", place="header"),
                ),
            ),
            Route(
                method="POST",
                path="/api/audio-storage/download",
                view=self.many,
                access=(Scope.ADMIN,),
                audited="storage.download",
                summary="Many objects as one ZIP, with a manifest of their SHA-256",
                answers={200: Content("application/zip", None, "The entries are named by their keys.")},
                errors=(
                    *_BODY_ERRORS,
                    INVALID_SESSION_ID,
                    SESSION_NOT_FOUND,
                    ZIP_TOO_LARGE,
                    *found,
                    *failing,
                ),
                body=Content(
                    "application/json", ref("FilesWanted"), f"1..{MAX_PATHS} keys, or a whole session."
                ),
                max_body=BATCH_BODY,
            ),
        ]

    async def one(self, path: str) -> Response:
        parts = self.context.parts
        with trio.fail_after(parts.settings.storage_timeout):
            found = await StoredObjects(parts).find(path)
            if request.method == "HEAD":
                await self._check_there(found.key)
        headers = {
            **_COMMON,
            "content-type": found.media_type,
            "content-disposition": attachment(found.key.rpartition("/")[2]),
        }
        held_by_request().enter_context(self.downloads.one())
        file = RangedFile(found.size, found.etag, headers, partial(read_object, parts.backend, found.key))
        try:
            return await file.answer(parts.settings.upload_timeout)
        except ObjectNotFound:
            raise EdgeError(FILE_NOT_FOUND, fields={"path": found.key}) from None

    async def _check_there(self, key: str) -> None:
        """That the store has what the catalog names, as a GET would find out. Raises EdgeError."""
        try:
            await self.context.parts.backend.head(key)
        except ObjectNotFound:
            raise EdgeError(FILE_NOT_FOUND, fields={"path": key}) from None

    async def many(self) -> Response:
        parts = self.context.parts
        body = parse_fields(await read_body(), ["paths", "sessionId"])
        if ("paths" in body) == ("sessionId" in body):
            raise invalid_field("paths", "or sessionId must be there, and not both")
        with trio.fail_after(parts.settings.upload_timeout):
            name, keys = await (self._paths(body) if "paths" in body else self._session(body))
        held_by_request().enter_context(self.zips.one())
        pieces = zip_objects(
            keys, parts.backend, now=parts.wall_ms() / 1000, timeout=parts.settings.upload_timeout
        )
        headers = {**_COMMON, "content-type": "application/zip", "content-disposition": attachment(name)}
        return await streamed(pieces, headers, parts.settings.upload_timeout)

    async def _paths(self, body: dict[str, Any]) -> tuple[str, AsyncGenerator[str, None]]:
        objects = StoredObjects(self.context.parts)
        found = [await objects.find(path) for path in read_paths(body)]
        tell_audit(request.scope, files=len(found), sessions=name_sessions(found))
        return "audio.zip", _each([each.key for each in found])

    async def _session(self, body: dict[str, Any]) -> tuple[str, AsyncGenerator[str, None]]:
        session_id = body["sessionId"]
        if not isinstance(session_id, str):
            raise invalid_field("sessionId", "must be text")
        record = await self.context.parts.catalog.load_session(check_session_id(session_id))
        tell_audit(request.scope, sessions=[session_id])
        if record is None or record.deleted_at is not None:
            raise EdgeError(SESSION_NOT_FOUND)
        files = self.context.parts.catalog.files
        count = (await files.totals(session_id=session_id)).files
        if count == 0:
            raise EdgeError(FILE_NOT_FOUND)
        if count > MAX_ZIP_FILES:
            raise EdgeError(ZIP_TOO_LARGE)
        result = None if record.finalized is None else record.finalized.result_key
        return f"{session_component(session_id)}.zip", _keys_of_session(session_id, files, result)


_OTHERS = {"audio/flac": None, "audio/wav": None, "application/json": None}


def read_paths(body: dict[str, Any]) -> Sequence[str]:
    """The paths of a batch, each once. Raises EdgeError(invalid_body)."""
    paths = body.get("paths")
    if not isinstance(paths, list) or not 1 <= len(paths) <= MAX_PATHS:
        raise invalid_field("paths", f"must be a list of 1..{MAX_PATHS} keys")
    if not all(isinstance(path, str) for path in paths):
        raise invalid_field("paths", "must hold text")
    return list(dict.fromkeys(paths))


async def read_object(
    backend: StorageBackend, key: str, start: int, stop: int
) -> AsyncGenerator[bytes, None]:
    """Bytes `start..stop` (exclusive) of an object, a piece at a time. Raises as the backend does."""
    while start < stop:
        piece = await backend.get_range(key, start, min(PIECE, stop - start))
        if not piece:
            return  # shorter than the catalog knows: the client sees that Content-Length isn't met
        start += len(piece)
        yield piece


async def _each(keys: Sequence[str]) -> AsyncGenerator[str, None]:
    for key in keys:
        yield key


async def _keys_of_session(
    session_id: str, files: FileRecords, result: str | None
) -> AsyncGenerator[str, None]:
    """Page by page, so that a day of one-second objects is no list in memory."""
    after: FileCursor | None = None
    while page := await files.listing(limit=FILES_A_LOOK, after=after, session_id=session_id):
        for file in page:
            yield file.key
        after = page[-1].cursor
    if result is not None:
        yield result
