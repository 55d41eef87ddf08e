"""What every part of fsck asks of store, catalog and journal, and where it puts what it finds."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

import attrs

from interview_edge.archive.fsck.findings import FindingTray, State
from interview_edge.archive.objects import CONTENT_TYPES, Codec
from interview_edge.archive.store_calls import asking
from interview_edge.backends.protocol import BackendRefused, ObjectInfo, ObjectNotFound, StorageBackend
from interview_edge.catalog.protocol import Catalog
from interview_edge.core.keys import parse_audio_key
from interview_edge.core.models import Extent, StreamKey
from interview_edge.journal import Journal

PAGE = 200  # objects or sessions looked at together


@attrs.frozen
class FsckOptions:
    """`repair`: mend what can be mended. `deep`: read every object and compare its SHA-256.

    `delete_orphans`: delete objects that nothing names and whose audio is held, word for word, elsewhere.
    """

    repair: bool = False
    deep: bool = False
    delete_orphans: bool = False


@attrs.define(eq=False)
class FsckAccess:
    """One check's parts and options. `timeout` (seconds) is that of each call of the store.

    Its methods raise `BackendUnavailable` and `BackendRefused`, `CatalogUnavailable` and `JournalError`: what
    can't be looked at can't be judged. `copied` are keys of objects that are missing or damaged and of which
    the store has a copy.
    """

    journal: Journal
    catalog: Catalog
    backend: StorageBackend
    options: FsckOptions
    tray: FindingTray
    now_ms: Callable[[], int]
    timeout: float
    codec: Codec = attrs.field(factory=Codec)
    copied: set[str] = attrs.field(factory=set)

    async def listing(self, prefix: str, after: str | None = None) -> AsyncGenerator[list[ObjectInfo], None]:
        """The objects below a prefix, a page at a time, in key order."""
        while True:
            with asking(self.timeout):
                page = [info async for info in self.backend.list(prefix, after=after, limit=PAGE)]
            if page:
                yield page
            if len(page) < PAGE:
                return
            after = page[-1].key

    async def metadata(self, key: str) -> Mapping[str, str]:
        """An object's metadata; none where the object has gone."""
        try:
            with asking(self.timeout):
                return (await self.backend.head(key)).metadata
        except ObjectNotFound:
            return {}

    async def pcm(self, key: str, format_: str) -> bytes | None:
        """The audio of an object; None where there is no object, or no audio of this format in it."""
        try:
            with asking(self.timeout):
                data = await self.backend.get(key)
        except ObjectNotFound:
            return None
        try:
            return await self.codec.decode(data, format_)
        except ValueError:
            return None

    async def intact(self, object_key: str, extents: Sequence[Extent]) -> bool:
        """Whether the object has the audio that these extents, which lie in it, say."""
        pcm = await self.pcm(object_key, extents[0].format)
        return pcm is not None and _has(pcm, extents)

    async def put_anew(
        self,
        key: StreamKey,
        object_key: str,
        extents: Sequence[Extent],
        seconds: Mapping[int, bytes],
        metadata: Mapping[str, str],
    ) -> bool:
        """Make the object of these extents from its seconds, in place of what is there; in a mere check, say
        whether that would do. False where a second is missing or isn't what was stored.
        """
        named = parse_audio_key(object_key)
        first = min(extent.first for extent in extents) if named is None else named.first
        last = max(extent.last for extent in extents) if named is None else named.last
        pcm = b"".join(seconds.get(seq, b"") for seq in range(first, last + 1))
        if not _has(pcm, extents):
            return False
        if self.options.repair:
            format_ = extents[0].format
            data = await self.codec.encode(pcm, format_)
            with asking(self.timeout):
                await self.backend.put(
                    object_key, data, content_type=CONTENT_TYPES[format_], metadata=metadata
                )
            await self.catalog.files.resize(key.session_id, object_key, len(data))
        return True

    @property
    def mended(self) -> State:
        """The state of what can be mended."""
        return State.REPAIRED if self.options.repair else State.REPAIRABLE

    async def delete(self, key: str) -> State:
        """Delete an object in a repair, and say what became of it."""
        if not self.options.repair:
            return State.REPAIRABLE
        return State.REPAIRED if await self.remove(key) else State.FAILED

    async def remove(self, key: str) -> bool:
        """Whether the store deleted the object; False where it refused."""
        try:
            with asking(self.timeout):
                await self.backend.delete(key)
        except BackendRefused:
            return False
        return True


def _has(pcm: bytes, extents: Sequence[Extent]) -> bool:
    view = memoryview(pcm)
    return all(hashlib.sha256(view[e.offset : e.offset + e.length]).digest() == e.sha256 for e in extents)
