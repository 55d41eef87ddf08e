"""JSON schemas of what the routes of audio storage take and give (contract storage.md, Admin API)."""

from __future__ import annotations

from collections.abc import Mapping

from interview_edge.core.keys import MAX_SESSION_ID
from interview_edge.web.schemas import (
    BOOLEAN,
    COUNT,
    NUMBER,
    STREAM,
    TEXT,
    TIME,
    Schema,
    closed,
    listing,
    nullable,
    record,
    ref,
    whole,
)

MAX_PATHS = 1_000  # of one request
MAX_AGE_DAYS = 365

_SESSION_ID: Schema = {"type": "string", "minLength": 1, "maxLength": MAX_SESSION_ID}
_PATHS: Schema = {"type": "array", "items": TEXT, "minItems": 1, "maxItems": MAX_PATHS}
_PATH_AND_WHY = record({"path": TEXT, "code": TEXT, "error": TEXT})


def _success(data: Schema) -> Schema:
    return record({"success": {"const": True}, "data": data})


STORAGE_SCHEMAS: Mapping[str, Schema] = {
    "StorageStats": _success(
        record(
            {
                "totalFiles": COUNT,
                "totalSizeBytes": COUNT,
                "totalSizeMB": NUMBER,
                "formattedSize": TEXT,
                "audioSessions": COUNT,
                "lastUpdated": TIME,
                "live": ref("StorageLive"),
            }
        )
    ),
    "StorageLive": record(
        {
            "status": {"enum": ["ok", "degraded", "error"]},
            "sessions": COUNT,
            "windowBytes": COUNT,
            "journalChunks": COUNT,
            "journalBytes": COUNT,
            "backlogChunks": COUNT,
            "oldestUnstoredMs": nullable(COUNT),
            "uploadsOk": COUNT,
            "uploadsFailed": COUNT,
            "uploadsRetrying": COUNT,
            "meanUploadMs": nullable(NUMBER),
            "p99UploadMs": nullable(NUMBER),
        }
    ),
    "StoredFile": record(
        {
            "sessionId": TEXT,
            "stream": STREAM,
            "filename": TEXT,
            "key": TEXT,
            "size": COUNT,
            "uploadedAt": TIME,
            "firstSeq": whole(1),
            "lastSeq": whole(1),
            "durationMs": COUNT,
            "sha256": nullable(TEXT),
        }
    ),
    "StoredFiles": _success(
        record(
            {
                "files": listing(ref("StoredFile")),
                "totalFiles": COUNT,
                "totalSize": COUNT,
                "nextCursor": nullable(TEXT),
            }
        )
    ),
    "FilePaths": closed(record({"paths": _PATHS})),
    "FilesWanted": {"oneOf": [closed(record({"paths": _PATHS})), closed(record({"sessionId": _SESSION_ID}))]},
    "FilesDeleted": _success(
        record({"deleted": listing(TEXT), "failed": listing(_PATH_AND_WHY), "freedSpaceBytes": COUNT})
    ),
    "Cleanup": closed(record({"maxAgeDays": whole(1, MAX_AGE_DAYS)}, {"dryRun": BOOLEAN})),
    "CleanedUp": _success(
        record(
            {
                "deletedFiles": COUNT,
                "freedSpaceBytes": COUNT,
                "freedSpaceMB": NUMBER,
                "failedFiles": COUNT,
                "sessions": COUNT,
                "liveSessions": COUNT,
                "dryRun": BOOLEAN,
            },
            {"error": TEXT},
        )
    ),
}
