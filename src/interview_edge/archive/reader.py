"""Reads of audio: what was acked can be read at once, from the journal, later through the object table.

The order of looks is what makes that true without a lock: journal first, then catalog. A chunk leaves the
journal only after the catalog has it, so what the journal doesn't show any more the catalog shows already.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence

import trio

from interview_edge.archive.objects import Codec
from interview_edge.archive.planning import SEGMENT_CHUNKS
from interview_edge.backends.protocol import BackendError, ObjectNotFound, StorageBackend
from interview_edge.catalog.protocol import Catalog
from interview_edge.core.models import Extent, StreamKey
from interview_edge.core.pcm import CHUNK_BYTES
from interview_edge.errors import CHUNK_EXPIRED, EdgeError
from interview_edge.journal import Journal

READ_AHEAD = 4  # gets at once for one reader: hides a store's latency without taking it all


class AudioReader:
    """Reads the PCM of streams. One a node; keeps nothing between calls.

    Its methods raise `JournalError`, `CatalogUnavailable` and `BackendError` where a room below fails: nobody
    is told "not held" for "can't say". They may be cancelled at any await. The caller sets the deadline.
    """

    def __init__(self, journal: Journal, catalog: Catalog, backend: StorageBackend) -> None:
        self._journal = journal
        self._catalog = catalog
        self._backend = backend
        self._codec = Codec()

    async def chunk(self, key: StreamKey, seq: int) -> bytes | None:
        """The PCM of one second (the final one may be shorter); None where it isn't held.

        Raises EdgeError(chunk_expired) where retention or an admin deleted it.
        """
        journalled = await self._journal.read(key, seq, seq)
        if journalled:
            return journalled[0][1]
        extent = await self._extent(key, seq)
        if extent is None:
            return None
        lost: ObjectNotFound | None = None
        if not extent.expired:
            try:
                return (await self._fetch(extent.key, {seq: extent}))[seq]
            except ObjectNotFound as error:
                lost = error
        # It may have expired since the look; else an object is lost, which nobody may take for a gap.
        if lost is not None and not (await self._extent(key, seq) or extent).expired:
            raise lost
        raise EdgeError(CHUNK_EXPIRED, fields={"seq": seq})

    async def _extent(self, key: StreamKey, seq: int) -> Extent | None:
        return by_seq(await self._catalog.extents(key, seq, seq), seq, seq).get(seq)

    async def seconds(
        self, key: StreamKey, first: int, last: int, *, unexpired: bool = False
    ) -> AsyncGenerator[tuple[int, bytes | None], None]:
        """(seq, PCM) of each of `first..last`, ascending; None for a second that isn't held or has expired.
        Where they are to be `unexpired`, EdgeError(chunk_expired) for one that has.

        Holds at most a minute of audio, twice while it decodes. Close it (`contextlib.aclosing`) if you leave
        early.
        """
        start = first
        while start <= last:
            # Up to the end of an aligned segment, so that each is fetched once.
            end = min(last, (start - 1) // SEGMENT_CHUNKS * SEGMENT_CHUNKS + SEGMENT_CHUNKS)
            found = await self._minute(key, start, end, unexpired=unexpired)
            for seq in range(start, end + 1):
                yield seq, found.get(seq)
            start = end + 1

    async def _minute(self, key: StreamKey, first: int, last: int, *, unexpired: bool) -> Mapping[int, bytes]:
        """What there is of `first..last`, at most a minute."""
        found = dict(await self._journal.read(key, first, last))
        if len(found) == last - first + 1:
            return found
        objects: dict[str, dict[int, Extent]] = {}
        for seq, extent in by_seq(await self._catalog.extents(key, first, last), first, last).items():
            if seq not in found and not extent.expired:
                objects.setdefault(extent.key, {})[seq] = extent
            elif seq not in found and unexpired:
                raise EdgeError(CHUNK_EXPIRED, fields={"seq": seq})
        lost: list[ObjectNotFound] = []
        failed: list[BackendError] = []
        limiter = trio.CapacityLimiter(READ_AHEAD)

        async def fetch(object_key: str, wanted: Mapping[int, Extent]) -> None:
            async with limiter:
                try:
                    found.update(await self._fetch(object_key, wanted))
                except ObjectNotFound as error:
                    lost.append(error)
                except BackendError as error:
                    failed.append(error)

        async with trio.open_nursery() as nursery:
            for object_key, wanted in objects.items():
                nursery.start_soon(fetch, object_key, wanted)
        if failed:
            raise failed[0]
        if lost:
            now = by_seq(await self._catalog.extents(key, first, last), first, last)
            gone = {seq: extent for seq, extent in now.items() if seq not in found}
            if not all(extent.expired for extent in gone.values()):
                raise lost[0]
            if unexpired and gone:
                raise EdgeError(CHUNK_EXPIRED, fields={"seq": min(gone)})
        return found

    async def _fetch(self, object_key: str, wanted: Mapping[int, Extent]) -> dict[int, bytes]:
        """The PCM of the seqs in `wanted`, whose extents all lie in this object."""
        data = await self._backend.get(object_key)
        pcm = await self._codec.decode(data, next(iter(wanted.values())).format)
        found: dict[int, bytes] = {}
        for seq, extent in wanted.items():
            start = (seq - extent.first) * CHUNK_BYTES
            # Only the stream's final chunk may be short, and it ends its extent.
            stop = min(start + CHUNK_BYTES, extent.length)
            found[seq] = pcm[extent.offset + start : extent.offset + stop]
        return found


def by_seq(extents: Sequence[Extent], first: int, last: int) -> dict[int, Extent]:
    """Which extent holds each of `first..last`: of several the one that was recorded first stands."""
    found: dict[int, Extent] = {}
    for extent in sorted(extents, key=lambda extent: extent.recorded):
        for seq in _overlap(extent, first, last):
            found.setdefault(seq, extent)
    return found


def _overlap(extent: Extent, first: int, last: int) -> Iterator[int]:
    yield from range(max(first, extent.first), min(last, extent.last) + 1)
