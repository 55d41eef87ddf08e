"""The FileRecords protocol: the objects of the audio as an administrator, retention and fsck see them.

A file is one object that the object table names: one chunk, or a segment. What `catalog/protocol.py` says of
every write holds here too. A file is given up in two steps, so that no crash loses one from sight: `expire`
marks it, and from then on reads of its seconds answer that they have expired; `record_gone` notes that its
object is deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import attrs

from interview_edge.core.models import SeqRanges, StreamKey


@attrs.frozen(kw_only=True)
class FileCursor:
    """Where a page of files ended: the place of its last one in their order."""

    created_at: int  # of the session
    session_id: str
    stream: str
    first: int
    key: str


@attrs.frozen(kw_only=True)
class StoredFile:
    """One object of the audio. Times are epoch ms.

    `size` is the object's bytes, `pcm_bytes` those of the audio in it that the object table names, `first`
    and `last` the lowest and the highest seq of it. `sha256` is of that audio's PCM; None where several
    extents lie in the object (two nodes stored parts of one segment).
    """

    session_id: str
    owner: str
    session_created_at: int
    stream: str
    key: str
    format: str
    size: int
    pcm_bytes: int
    first: int
    last: int
    sha256: bytes | None
    stored_at: int
    expired: bool = False

    @property
    def stream_key(self) -> StreamKey:
        return StreamKey(self.session_id, self.stream)

    @property
    def cursor(self) -> FileCursor:
        return FileCursor(
            created_at=self.session_created_at,
            session_id=self.session_id,
            stream=self.stream,
            first=self.first,
            key=self.key,
        )


@attrs.frozen
class FileTotals:
    """Files that haven't expired: how many, their bytes, and of how many sessions."""

    files: int = 0
    size: int = 0
    sessions: int = 0


class FileRecords(Protocol):
    # -- looking

    async def totals(self, owner: str | None = None, *, session_id: str | None = None) -> FileTotals:
        """Of one owner, or of one session, where given, else of all. O(streams), not O(files)."""
        ...

    async def listing(
        self,
        *,
        limit: int,
        after: FileCursor | None = None,
        owner: str | None = None,
        session_id: str | None = None,
        stored_before: int | None = None,
    ) -> Sequence[StoredFile]:
        """At most `limit` files that haven't expired, after the cursor: those of the newest session first
        (created_at, then session_id, descending), in a session by stream, first seq and key. Only those of
        one owner, of one session, or stored before a time, where given. Tombstoned sessions have none.
        """
        ...

    async def find(self, session_id: str, key: str) -> StoredFile | None:
        """The file with this key, an expired one too (`expired` set); None where the object table names no
        such object in the session.
        """
        ...

    async def session_of(self, component: str) -> str | None:
        """The session whose keys have `component` after `sessions/` (core/keys.py), a tombstoned one too;
        None where there is no such session.
        """
        ...

    async def expired_seqs(self, key: StreamKey) -> SeqRanges:
        """The seqs of a stream that read as expired: of several extents that hold one, the first stands."""
        ...

    # -- giving up

    async def expire(self, session_id: str, keys: Sequence[str]) -> Sequence[StoredFile]:
        """Mark those of `keys` that are files of the session as expired, in one transaction; answers all of
        them whose object isn't recorded as gone, those too that had expired before. Idempotent. The ledger
        and the identities stay: an expired second is held, a repeat of it is a duplicate.
        """
        ...

    async def undeleted(self, *, limit: int, after: tuple[str, str] | None = None) -> Sequence[StoredFile]:
        """Expired files whose objects aren't recorded as gone, by (session_id, key) and those after `after`
        only: a crash or a store that was down left them.
        """
        ...

    async def record_gone(self, session_id: str, keys: Sequence[str]) -> Sequence[str]:
        """The objects of these expired files are deleted. Idempotent; answers those keys that weren't
        recorded as gone before, so that of several who deleted an object one counts it.
        """
        ...

    # -- repair

    async def resize(self, session_id: str, key: str, size: int) -> None:
        """The file's object has `size` bytes, whatever was recorded. Idempotent; nothing where the object
        table names no such file.
        """
        ...

    # -- the sweep

    async def sessions_to_sweep(self, before: int, *, limit: int, after: str = "") -> Sequence[str]:
        """Sessions, by id and after `after`, that may have files stored before `before`: created before it,
        without tombstone, and not recorded as swept since they last changed.
        """
        ...

    async def record_swept(self, session_id: str, before: int) -> None:
        """The session has no files any more that were stored before `before`. Idempotent."""
        ...
