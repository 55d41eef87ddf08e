"""`/api/audio-storage`: deleting files, and cleaning up by age. An answer says what went and what didn't."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import trio
from quart import Response, request

from interview_edge.access.principal import Scope
from interview_edge.archive.retention import Removal, SweepReport
from interview_edge.backends.protocol import BackendError
from interview_edge.errors import (
    BODY_NOT_JSON,
    BODY_TOO_LARGE,
    BODY_TOO_SLOW,
    CATALOG_UNAVAILABLE,
    CHUNK_EXPIRED,
    FILE_NOT_FOUND,
    FILE_STAYS,
    INVALID_BODY,
    PATH_REFUSED,
    STORAGE_UNAVAILABLE,
    EdgeError,
)
from interview_edge.web.audit_trail import tell_audit
from interview_edge.web.context import WebContext
from interview_edge.web.messages import invalid_field, parse_fields, read_body, whole_in_json
from interview_edge.web.object_paths import is_result
from interview_edge.web.routes import Content, Route
from interview_edge.web.schemas import ref
from interview_edge.web.storage_downloads import BATCH_BODY, read_paths
from interview_edge.web.storage_resource import megabytes, success
from interview_edge.web.storage_schemas import MAX_AGE_DAYS, MAX_PATHS
from interview_edge.web.stored_objects import StoredObject, StoredObjects, name_sessions

DAY_MS = 86_400_000

_JSON = "application/json"
_BODY_ERRORS = (BODY_NOT_JSON, BODY_TOO_LARGE, BODY_TOO_SLOW, INVALID_BODY)


@attrs.frozen
class StorageRemovals:
    """The views."""

    context: WebContext

    def routes(self) -> list[Route]:
        failing = (CATALOG_UNAVAILABLE, STORAGE_UNAVAILABLE)
        deleted = {200: Content(_JSON, ref("FilesDeleted"), "What was deleted and what wasn't, by path.")}
        return [
            Route(
                method="DELETE",
                path="/api/audio-storage/files/<key:user_or_path>",
                view=self.delete_one,
                access=(Scope.ADMIN,),
                audited="storage.delete",
                summary="Delete one file; reads of its seconds answer 410 from then on",
                answers=deleted,
                errors=(PATH_REFUSED, FILE_NOT_FOUND, FILE_STAYS, CHUNK_EXPIRED, *failing),
            ),
            Route(
                method="POST",
                path="/api/audio-storage/delete",
                view=self.delete_many,
                access=(Scope.ADMIN,),
                audited="storage.delete",
                summary="Delete many files, each as if alone",
                answers=deleted,
                errors=(*_BODY_ERRORS, *failing),
                body=Content(_JSON, ref("FilePaths"), f"1..{MAX_PATHS} keys."),
                max_body=BATCH_BODY,
            ),
            Route(
                method="POST",
                path="/api/audio-storage/cleanup",
                view=self.clean_up,
                access=(Scope.ADMIN,),
                audited="storage.cleanup",
                summary="Delete every file that is older; with dryRun only count them",
                answers={200: Content(_JSON, ref("CleanedUp"), "What went, and what was really freed.")},
                errors=(*_BODY_ERRORS, *failing),
                body=Content(_JSON, ref("Cleanup"), "Live sessions keep theirs."),
            ),
        ]

    async def delete_one(self, user_or_path: str) -> Response:
        path = user_or_path
        outcome = await self._delete([path])
        if path in outcome.refused:
            raise outcome.refused[path]
        return outcome.show()

    async def delete_many(self) -> Response:
        return (await self._delete(read_paths(parse_fields(await read_body(), ["paths"])))).show()

    async def _delete(self, paths: Sequence[str]) -> _Outcome:
        """Each path on its own: what is wrong with one keeps no other from going."""
        parts = self.context.parts
        outcome = _Outcome()
        objects = StoredObjects(parts)
        found: list[StoredObject] = []
        with trio.fail_after(parts.settings.upload_timeout):
            for path in paths:
                try:
                    # One marked before, by a delete that the store failed, may be tried again.
                    found.append(_deletable(await objects.find(path, expired=True)))
                except EdgeError as error:
                    outcome.refused[path] = error
                except BackendError:
                    outcome.refused[path] = EdgeError(STORAGE_UNAVAILABLE)
        tell_audit(request.scope, files=len(found), sessions=name_sessions(found))
        with trio.fail_after(parts.settings.upload_timeout):
            outcome.add(await parts.remover.remove([each.file for each in found if each.file is not None]))
        for each in found:
            if each.file is None:
                await self._delete_conflict(each, outcome)
            elif each.key not in outcome.deleted and each.key not in outcome.refused:
                outcome.refused[each.key] = EdgeError(CHUNK_EXPIRED, fields={"path": each.key})  # gone before
        tell_audit(request.scope, deleted=len(outcome.deleted), freed_bytes=outcome.freed)
        return outcome

    async def _delete_conflict(self, found: StoredObject, outcome: _Outcome) -> None:
        """Other bytes of a held second: no table names them, so their object is all there is of them."""
        try:
            with trio.fail_after(self.context.parts.settings.storage_timeout):
                await self.context.parts.backend.delete(found.key)
        except (BackendError, trio.TooSlowError):
            outcome.refused[found.key] = EdgeError(STORAGE_UNAVAILABLE)
        else:
            outcome.deleted[found.key] = None
            outcome.freed += found.size

    async def clean_up(self) -> Response:
        body = parse_fields(await read_body(), ["maxAgeDays", "dryRun"])
        days = whole_in_json(body.get("maxAgeDays"))
        if days is None or not 1 <= days <= MAX_AGE_DAYS:
            raise invalid_field("maxAgeDays", f"must be a whole number, 1..{MAX_AGE_DAYS}")
        dry_run = body.get("dryRun", False)
        if not isinstance(dry_run, bool):
            raise invalid_field("dryRun", "must be true or false")
        parts = self.context.parts
        tell_audit(request.scope, max_age_days=days, dry_run=dry_run)
        # As long as it takes: each of its calls has a deadline, and a client that goes away ends it.
        report = await parts.remover.sweep(
            parts.wall_ms() - days * DAY_MS, unless_live=self.context.registry.unless_live, dry_run=dry_run
        )
        tell_audit(request.scope, deleted=report.files, freed_bytes=report.freed_bytes)
        return success(_show_sweep(report, dry_run))


@attrs.define
class _Outcome:
    """How a batch went, by path."""

    deleted: dict[str, None] = attrs.field(factory=dict)  # in order
    refused: dict[str, EdgeError] = attrs.field(factory=dict)
    freed: int = 0

    def add(self, removal: Removal) -> None:
        self.deleted |= dict.fromkeys(file.key for file in removal.removed)
        for key in removal.failed:
            # It reads as expired already; its object is tried again by the next sweep.
            self.refused[key] = EdgeError(STORAGE_UNAVAILABLE, "marked; the store didn't delete it yet")
        self.freed += removal.freed_bytes

    def show(self) -> Response:
        failed = [
            {"path": path, "code": error.kind.code, "error": error.detail}
            for path, error in self.refused.items()
        ]
        return success({"deleted": list(self.deleted), "failed": failed, "freedSpaceBytes": self.freed})


def _deletable(found: StoredObject) -> StoredObject:
    if is_result(found.key):
        raise EdgeError(FILE_STAYS, fields={"path": found.key})
    return found


def _show_sweep(report: SweepReport, dry_run: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "deletedFiles": report.files,
        "freedSpaceBytes": report.freed_bytes,
        "freedSpaceMB": megabytes(report.freed_bytes),
        "failedFiles": report.failed,
        "sessions": report.sessions,
        "liveSessions": report.live,
        "dryRun": dry_run,
    }
    return shown if report.error is None else shown | {"error": report.error}
