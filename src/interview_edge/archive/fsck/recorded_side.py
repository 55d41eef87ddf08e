"""From the catalog to the store: held audio whose object is missing, or isn't what was stored."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import aclosing

import trio

from interview_edge.archive.fsck.access import FsckAccess
from interview_edge.archive.fsck.findings import Kind, State
from interview_edge.archive.objects import segment_metadata
from interview_edge.archive.planning import SEGMENT_CHUNKS
from interview_edge.backends.protocol import BackendError
from interview_edge.catalog.protocol import CatalogUnavailable
from interview_edge.core.keys import parse_audio_key
from interview_edge.core.models import Extent, LedgerSnapshot, StreamKey
from interview_edge.core.ranges import Ranges
from interview_edge.journal import JournalDamaged, JournalError

WINDOW = 60 * SEGMENT_CHUNKS  # seqs looked at together: an hour, of whole segments
READ_AHEAD = 4  # objects read at once


class RecordedSide:
    """One walk through the object table."""

    def __init__(self, access: FsckAccess) -> None:
        self._access = access

    async def look_at(self, key: StreamKey, ledger: LedgerSnapshot) -> None:
        """Judge what is recorded of one stream."""
        held = Ranges(ledger.held)
        for start in range(1, held.last + 1, WINDOW):
            window = Ranges(_clip(ledger.held, start, start + WINDOW - 1))
            if window:
                await self._look_at_window(key, window, start, start + WINDOW - 1)

    async def _look_at_window(self, key: StreamKey, held: Ranges, start: int, end: int) -> None:
        objects: dict[str, list[Extent]] = {}
        covered = Ranges()
        for extent in await self._access.catalog.extents(key, start, end):
            covered.add_range(extent.first, extent.last)
            if not extent.expired and start <= extent.first:
                objects.setdefault(extent.key, []).append(extent)
        unnamed = tuple(held.minus(covered))
        if unnamed:
            self._access.tray.add(
                Kind.UNNAMED, State.LOST, session_id=key.session_id, stream=key.stream, seqs=unnamed
            )
        sizes = await self._sizes(objects)
        waiting = iter(objects.items())
        failures: list[Exception] = []

        async def look_at_some() -> None:
            for object_key, extents in waiting:
                if failures:
                    return
                try:
                    await self._look_at_object(key, object_key, extents, sizes.get(object_key))
                except (BackendError, CatalogUnavailable, JournalError) as error:
                    failures.append(error)

        async with trio.open_nursery() as nursery:
            for _ in range(READ_AHEAD):
                nursery.start_soon(look_at_some)
        if failures:
            raise failures[0]

    async def _sizes(self, keys: Collection[str]) -> dict[str, int]:
        """The sizes of those of these objects that are there, by listing: asking for each costs more."""
        folders: dict[str, list[str]] = {}
        for key in keys:
            folders.setdefault(key[: key.rfind("/") + 1], []).append(key)
        sizes: dict[str, int] = {}
        for folder, wanted in folders.items():
            first, last = min(wanted), max(wanted)
            # A beginning of a key comes right before it.
            async with aclosing(self._access.listing(folder, after=first[:-1])) as pages:
                async for page in pages:
                    sizes |= {info.key: info.size for info in page if info.key in keys}
                    if page[-1].key >= last:
                        break
        return sizes

    async def _look_at_object(
        self, key: StreamKey, object_key: str, extents: Sequence[Extent], size: int | None
    ) -> None:
        access = self._access
        if size is None:
            await self._mend(Kind.MISSING, key, object_key, extents)
            return
        right_size = size == extents[0].object_size
        if right_size and not access.options.deep:
            return
        if not await access.intact(object_key, extents):
            await self._mend(Kind.DAMAGED, key, object_key, extents)
        elif not right_size:
            if access.options.repair:
                await access.catalog.files.resize(key.session_id, object_key, size)
            self._add(Kind.MISCOUNTED, access.mended, key, object_key, extents)

    async def _mend(self, kind: Kind, key: StreamKey, object_key: str, extents: Sequence[Extent]) -> None:
        access = self._access
        if await self._put_from_journal(key, object_key, extents):
            state = access.mended
        else:
            state = State.REPAIRABLE if object_key in access.copied else State.LOST
        self._add(kind, state, key, object_key, extents)

    async def _put_from_journal(self, key: StreamKey, object_key: str, extents: Sequence[Extent]) -> bool:
        """Whether the journal still has the object's audio; in a repair it is put from there."""
        named = parse_audio_key(object_key)
        first = min(extent.first for extent in extents) if named is None else named.first
        last = max(extent.last for extent in extents) if named is None else named.last
        rows = await self._access.journal.rows(key, first, last, limit=SEGMENT_CHUNKS)
        if len(rows) != last - first + 1:
            return False
        try:
            seconds: Mapping[int, bytes] = dict(await self._access.journal.read(key, first, last))
        except JournalDamaged:
            return False
        return await self._access.put_anew(key, object_key, extents, seconds, segment_metadata(key, rows))

    def _add(
        self, kind: Kind, state: State, key: StreamKey, object_key: str, extents: Sequence[Extent]
    ) -> None:
        self._access.tray.add(
            kind,
            state,
            session_id=key.session_id,
            stream=key.stream,
            seqs=[(extent.first, extent.last) for extent in extents],
            key=object_key,
            size=extents[0].object_size,
        )


def _clip(ranges: Sequence[tuple[int, int]], start: int, end: int) -> Iterator[tuple[int, int]]:
    """The parts of these ranges that lie in `start..end`."""
    for first, last in ranges:
        if first <= end and last >= start:
            yield max(first, start), min(last, end)
