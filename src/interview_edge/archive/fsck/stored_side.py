"""From the store to the catalog: objects that nothing names, and objects that should be gone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from urllib.parse import unquote

import attrs

from interview_edge.archive.fsck.access import FsckAccess
from interview_edge.archive.fsck.adoption import Orphan, adopt, judge, take_apart
from interview_edge.archive.fsck.findings import Kind, State
from interview_edge.archive.planning import SEGMENT_CHUNKS, runs
from interview_edge.archive.reader import by_seq
from interview_edge.archive.uploader import CONFLICT
from interview_edge.backends.protocol import ObjectInfo
from interview_edge.core.keys import AudioKey, parse_audio_key, result_key, session_component, session_id_of
from interview_edge.core.models import Extent, StreamKey
from interview_edge.core.pcm import CHUNK_BYTES

EVENTS_PAGE = 1_000


@attrs.frozen
class _Session:
    """Whose objects these are. `session_id` is None where nothing says; `known`: the catalog has it."""

    component: str
    session_id: str | None
    known: bool = False
    deleted: bool = False
    finalized: bool = False

    @property
    def shown(self) -> str:
        return self.component if self.session_id is None else self.session_id


@attrs.frozen
class _Audio:
    info: ObjectInfo
    name: AudioKey


class StoredSide:
    """One walk through the store. `objects`, `size` and `under_way` say how far it is."""

    def __init__(self, access: FsckAccess) -> None:
        self._access = access
        self._session = _Session("", None)
        self.objects = 0
        self.size = 0
        self.under_way = 0

    async def look_at(self, page: Sequence[ObjectInfo]) -> None:
        """Judge some objects; those of the whole store come in key order."""
        for component, part in groupby(page, lambda info: info.key.split("/")[1]):
            infos = list(part)
            if component != self._session.component:
                self._session = await self._find_session(component, infos)
            await self._look_at_session(self._session, infos)
        self.objects += len(page)
        self.size += sum(info.size for info in page)

    async def _find_session(self, component: str, infos: Sequence[ObjectInfo]) -> _Session:
        catalog = self._access.catalog
        session_id = await catalog.files.session_of(component)
        if session_id is None:
            return _Session(component, await self._id_of_unknown(component, infos))
        record = await catalog.load_session(session_id)
        if record is None:
            return _Session(component, session_id)
        finalized, deleted = record.finalized is not None, record.deleted_at is not None
        return _Session(component, session_id, known=True, deleted=deleted, finalized=finalized)

    async def _id_of_unknown(self, component: str, infos: Sequence[ObjectInfo]) -> str | None:
        """The id by the key, or where that is cut by what the objects say of themselves."""
        session_id = session_id_of(component)
        if session_id is not None:
            return session_id
        for info in infos:
            said = unquote((await self._access.metadata(info.key)).get("session_id", ""))
            if said and session_component(said) == component:
                return said
        return None

    async def _look_at_session(self, session: _Session, infos: Sequence[ObjectInfo]) -> None:
        audio: list[_Audio] = []
        for info in infos:
            name = _name_of(info.key)
            if session.deleted:
                self._add(Kind.REMAINS, await self._access.delete(info.key), session, info, name)
            elif session.session_id is not None and name is not None:
                audio.append(_Audio(info, name))
            elif not (session.finalized and info.key == result_key(session.shown)):
                self._add(Kind.UNKNOWN, State.KEPT, session, info, name)
        for (stream, conflicts), part in groupby(
            audio, lambda each: (each.name.stream, each.name.kind == "conflicts")
        ):
            key = StreamKey(session.shown, stream)
            if conflicts:
                await self._look_at_conflicts(session, key, list(part))
            else:
                await self._look_at_audio(session, key, list(part))

    def _add(
        self, kind: Kind, state: State, session: _Session, info: ObjectInfo, name: AudioKey | None
    ) -> None:
        self._access.tray.add(
            kind,
            state,
            session_id=session.shown,
            stream=None if name is None else name.stream,
            seqs=() if name is None else [(name.first, name.last)],
            key=info.key,
            size=info.size,
        )

    # -- conflicts

    async def _look_at_conflicts(self, session: _Session, key: StreamKey, found: Sequence[_Audio]) -> None:
        """They are kept in any case; one that no event names is said."""
        untold = {each.info.key: each for each in found}
        after = 0
        while untold and (
            page := await self._access.catalog.events(
                key.session_id, after=after, limit=EVENTS_PAGE, types=[CONFLICT]
            )
        ):
            for event in page:
                untold.pop(str(event.body.get("key")), None)
            after = page[-1].seq_no
        for each in untold.values():
            if await self._is_under_way(key, each.name):
                self.under_way += 1
            else:
                self._add(Kind.OTHER_BYTES, State.KEPT, session, each.info, each.name)

    # -- chunks and segments

    async def _look_at_audio(self, session: _Session, key: StreamKey, found: Sequence[_Audio]) -> None:
        first, last = min(each.name.first for each in found), max(each.name.last for each in found)
        readable: dict[str, bool] = {}
        for extent in await self._access.catalog.extents(key, first, last):
            readable[extent.key] = readable.get(extent.key, False) or not extent.expired
        orphans = []
        for each in found:
            if each.info.key not in readable:
                orphans.append(each)
            elif not readable[each.info.key]:
                state = await self._access.delete(each.info.key)
                self._add(Kind.EXPIRED, state, session, each.info, each.name)
        if orphans:
            await self._look_at_orphans(session, key, orphans)

    async def _is_under_way(self, key: StreamKey, name: AudioKey) -> bool:
        """Whether the journal has something of it: then the next start goes on with it."""
        return bool(await self._access.journal.rows(key, name.first, name.last, limit=1))

    async def _look_at_orphans(self, session: _Session, key: StreamKey, found: Sequence[_Audio]) -> None:
        seqs = [seq for each in found for seq in range(each.name.first, each.name.last + 1)]
        held = dict(await self._access.catalog.identities(key, seqs))
        adoptions: list[tuple[Orphan, Sequence[int]]] = []
        for each in found:
            if await self._is_under_way(key, each.name):
                self.under_way += 1
                continue
            pcm = await self._access.pcm(each.info.key, each.name.format)
            orphan = None if pcm is None else await self._take_apart(each, pcm)
            if pcm is None or orphan is None:
                self._add(Kind.UNKNOWN, State.KEPT, session, each.info, each.name)
                continue
            verdict = judge(orphan, held)
            if verdict.unheld:
                adoptions.append((orphan, verdict.unheld))
                held |= {s.seq: s.identities[0] for s in orphan.seconds if s.seq in verdict.unheld}
            elif verdict.differing:
                self._add(Kind.OTHER_BYTES, State.KEPT, session, each.info, each.name)
            else:
                await self._look_at_copy(session, key, each, pcm)
        if adoptions:
            await self._adopt(session, key, adoptions)

    async def _take_apart(self, each: _Audio, pcm: bytes) -> Orphan | None:
        metadata = await self._access.metadata(each.info.key)
        return take_apart(
            each.info.key,
            pcm,
            first=each.name.first,
            last=each.name.last,
            format=each.name.format,
            size=each.info.size,
            at=int(each.info.modified.timestamp() * 1000),
            final=True if metadata.get("final") == "true" else None,
        )

    async def _adopt(
        self, session: _Session, key: StreamKey, adoptions: Sequence[tuple[Orphan, Sequence[int]]]
    ) -> None:
        access = self._access
        if access.options.repair:
            # A session that the catalog doesn't know begins with its oldest object.
            oldest = min(orphan.at for orphan, _ in adoptions)
            stored_at = access.now_ms() if session.known else oldest
            await access.catalog.record_stored(adopt(key, adoptions, stored_at=stored_at))
            self._session = attrs.evolve(session, known=True)
        for orphan, seqs in adoptions:
            access.tray.add(
                Kind.ADOPTABLE,
                access.mended,
                session_id=key.session_id,
                stream=key.stream,
                seqs=runs(seqs),
                key=orphan.key,
                size=orphan.size,
            )

    async def _look_at_copy(self, session: _Session, key: StreamKey, each: _Audio, pcm: bytes) -> None:
        """Of held audio. It may be the only one left: then it isn't deletable, and its holder is mended."""
        access, name = self._access, each.name
        extents = by_seq(await access.catalog.extents(key, name.first, name.last), name.first, name.last)
        seconds = {
            name.first + i: pcm[start : start + CHUNK_BYTES]
            for i, start in enumerate(range(0, len(pcm), CHUNK_BYTES))
        }
        needed = False
        for object_key, held_by in _by_object(extents.values()):
            if await access.intact(object_key, held_by):
                continue
            needed = True
            metadata = await access.metadata(each.info.key)
            if await access.put_anew(key, object_key, held_by, seconds, metadata):
                access.copied.add(object_key)
                if access.options.repair:
                    self._add_holder(key, object_key, held_by)
        if needed or not all(name.first + i in extents for i in range(len(seconds))):
            state = State.KEPT
        elif access.options.delete_orphans:
            state = State.DELETED if await access.remove(each.info.key) else State.FAILED
        else:
            state = State.DELETABLE
        self._add(Kind.COPY, state, session, each.info, name)

    def _add_holder(self, key: StreamKey, object_key: str, extents: Sequence[Extent]) -> None:
        self._access.tray.add(
            Kind.DAMAGED,
            State.REPAIRED,
            session_id=key.session_id,
            stream=key.stream,
            seqs=[(extent.first, extent.last) for extent in extents],
            key=object_key,
            size=extents[0].object_size,
        )


def _name_of(key: str) -> AudioKey | None:
    """What a key that we may have made says. Anybody's could say a billion seconds."""
    name = parse_audio_key(key)
    if name is None or not 1 <= name.first <= name.last < name.first + SEGMENT_CHUNKS:
        return None
    return name


def _by_object(extents: Iterable[Extent]) -> list[tuple[str, list[Extent]]]:
    """The readable ones of these, each once, by the object in which they lie."""
    objects: dict[str, list[Extent]] = {}
    for extent in dict.fromkeys(extents):
        if not extent.expired:
            objects.setdefault(extent.key, []).append(extent)
    return list(objects.items())
