"""Which object a path means: looked up in the catalog, so that nothing is served or deleted by its
name alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import attrs

from interview_edge.backends.protocol import ObjectNotFound
from interview_edge.catalog.files import StoredFile
from interview_edge.catalog.protocol import Catalog
from interview_edge.errors import CHUNK_EXPIRED, FILE_NOT_FOUND, EdgeError
from interview_edge.sessions.node_parts import NodeParts
from interview_edge.web.object_paths import check_object_key, component_of, is_conflict, is_result

SESSIONS_NAMED = 100

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


@attrs.frozen
class StoredObjects:
    """Objects looked up by their paths, for one request: a session once, however many of its objects.

    `find` raises EdgeError: path_refused, file_not_found, chunk_expired; CatalogUnavailable, BackendError.
    The caller sets the deadline.
    """

    parts: NodeParts
    _sessions: dict[str, str | None] = attrs.field(factory=dict, init=False)  # by their component

    async def find(self, path: str, *, expired: bool = False) -> StoredObject:
        """The object that a path means; with `expired` also one whose file reads as expired."""
        key = check_object_key(path)
        session_id = await self._session_of(key)
        if is_result(key) or is_conflict(key):
            return await self._unnamed(key, session_id)
        file = await self.parts.catalog.files.find(session_id, key)
        if file is None:
            raise EdgeError(FILE_NOT_FOUND, fields={"path": key})
        if file.expired and not expired:
            raise EdgeError(CHUNK_EXPIRED, fields={"path": key})
        return StoredObject(key, session_id, file.size, _etag(key, file.size, file.stored_at), file)

    async def _unnamed(self, key: str, session_id: str) -> StoredObject:
        """A key that only the store knows."""
        try:
            info = await self.parts.backend.head(key)
        except ObjectNotFound:
            raise EdgeError(FILE_NOT_FOUND, fields={"path": key}) from None
        return StoredObject(key, session_id, info.size, _etag(key, info.size, info.modified.timestamp()))

    async def _session_of(self, key: str) -> str:
        component = component_of(key)
        if component not in self._sessions:
            self._sessions[component] = await _live_session(component, self.parts.catalog)
        session_id = self._sessions[component]
        if session_id is None:
            raise EdgeError(FILE_NOT_FOUND, fields={"path": key})
        return session_id


async def _live_session(component: str, catalog: Catalog) -> str | None:
    """The session of a key's component; None where there is none, or a tombstone."""
    session_id = await catalog.files.session_of(component)
    record = None if session_id is None else await catalog.load_session(session_id)
    return None if record is None or record.deleted_at is not None else record.session_id


def name_sessions(found: Iterable[StoredObject]) -> list[str]:
    """Of which sessions the objects are, for an audit row: the first hundred."""
    return sorted({each.session_id for each in found})[:SESSIONS_NAMED]


def _etag(*named: object) -> str:
    """Strong: an object is never rewritten but for result.json, whose time tells."""
    return f'"{hashlib.sha256(repr(named).encode()).hexdigest()[:32]}"'
