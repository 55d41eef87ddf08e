"""Which object a path means: looked up in the catalog, so that nothing is served or deleted by its
name alone.
"""

from __future__ import annotations

import hashlib

import attrs

from interview_edge.catalog.files import StoredFile
from interview_edge.catalog.protocol import Catalog
from interview_edge.errors import CHUNK_EXPIRED, FILE_NOT_FOUND, EdgeError
from interview_edge.sessions.node_parts import NodeParts
from interview_edge.web.object_paths import check_object_key, component_of, is_conflict, is_result

_TYPES = {"flac": "audio/flac", "wav": "audio/wav", "json": "application/json"}


@attrs.frozen
class StoredObject:
    """An object of a session. `file` is None for what the object table doesn't name: result.json, and other
    bytes kept beside a held second. `size` is bytes.
    """

    key: str
    session_id: str
    size: int
    etag: str
    file: StoredFile | None = None

    @property
    def media_type(self) -> str:
        return _TYPES.get(self.key.rpartition(".")[2], "application/octet-stream")


async def find_object(path: str, parts: NodeParts, *, expired: bool = False) -> StoredObject:
    """The object that a path means; with `expired` also one whose file reads as expired.

    Raises EdgeError: path_refused, file_not_found, chunk_expired. CatalogUnavailable, BackendError. The
    caller sets the deadline.
    """
    key = check_object_key(path)
    session_id = await session_of(key, parts.catalog)
    if is_result(key) or is_conflict(key):
        # Raises ObjectNotFound, which is another kind of missing: a key that only the store knows.
        info = await parts.backend.head(key)
        return StoredObject(key, session_id, info.size, _etag(key, info.size, info.modified.timestamp()))
    file = await parts.catalog.files.find(session_id, key)
    if file is None:
        raise EdgeError(FILE_NOT_FOUND, fields={"path": key})
    if file.expired and not expired:
        raise EdgeError(CHUNK_EXPIRED, fields={"path": key})
    return StoredObject(key, session_id, file.size, _etag(key, file.size, file.stored_at), file)


async def session_of(key: str, catalog: Catalog) -> str:
    """The session of a checked key. Raises EdgeError(file_not_found) where there is none, or a tombstone."""
    session_id = await catalog.files.session_of(component_of(key))
    record = None if session_id is None else await catalog.load_session(session_id)
    if record is None or record.deleted_at is not None:
        raise EdgeError(FILE_NOT_FOUND, fields={"path": key})
    return record.session_id


def _etag(*named: object) -> str:
    """Strong: an object is never rewritten but for result.json, whose time tells."""
    return f'"{hashlib.sha256(repr(named).encode()).hexdigest()[:32]}"'
