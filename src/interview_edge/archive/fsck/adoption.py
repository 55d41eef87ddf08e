"""Audio that no table names: which seconds it is, and what may be done with it. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence

import attrs

from interview_edge.archive.planning import runs
from interview_edge.catalog.protocol import StoredChunks
from interview_edge.core.models import Extent, LedgerSnapshot, StreamKey
from interview_edge.core.pcm import CHUNK_BYTES, SAMPLE_BYTES, identify


@attrs.frozen
class Second:
    """One second of an object: its bytes of PCM, and what it is known by. `identities` has two where nothing
    says whether it was the stream's final chunk; the first is then the likely one.
    """

    seq: int
    length: int
    sha256: bytes
    identities: tuple[bytes, ...]
    final: bool


@attrs.frozen
class Orphan:
    """An object that nothing names, read and taken apart. `at` is when the store got it, epoch ms."""

    key: str
    format: str
    size: int
    at: int
    sha256: bytes
    seconds: Sequence[Second]


@attrs.frozen
class Verdict:
    """The seqs of an orphan, each in one of three: not held, held with these bytes, held with others."""

    unheld: Sequence[int]
    copied: Sequence[int]
    differing: Sequence[int]


def take_apart(
    key: str, pcm: bytes, *, first: int, last: int, format: str, size: int, at: int, final: bool | None
) -> Orphan | None:
    """The object at `key` as seconds; None where its audio isn't that of seqs `first..last`.

    `final`: whether its last second was the stream's final one, None where the object doesn't say (a short
    one always was).
    """
    whole = (last - first) * CHUNK_BYTES
    if not whole < len(pcm) <= whole + CHUNK_BYTES or len(pcm) % SAMPLE_BYTES:
        return None
    seconds = []
    for seq in range(first, last + 1):
        part = memoryview(pcm)[(seq - first) * CHUNK_BYTES : (seq - first + 1) * CHUNK_BYTES]
        flags = _final_flags(len(part), final) if seq == last else (False,)
        known = [identify(part, final=flag) for flag in flags]
        identities = tuple(identity for _, identity in known)
        seconds.append(Second(seq, len(part), known[0][0], identities, flags[0]))
    return Orphan(key, format, size, at, hashlib.sha256(pcm).digest(), seconds)


def _final_flags(length: int, final: bool | None) -> tuple[bool, ...]:
    """What the last second may have been, the likely one first."""
    if length < CHUNK_BYTES:
        return (True,)
    return (False, True) if final is None else (final,)


def judge(orphan: Orphan, held: Mapping[int, bytes]) -> Verdict:
    """What the orphan's seconds are to a catalog that holds these identities."""
    unheld, copied, differing = [], [], []
    for second in orphan.seconds:
        identity = held.get(second.seq)
        if identity is None:
            unheld.append(second.seq)
        elif identity in second.identities:
            copied.append(second.seq)
        else:
            differing.append(second.seq)
    return Verdict(unheld, copied, differing)


def adopt(
    key: StreamKey, adoptions: Iterable[tuple[Orphan, Sequence[int]]], *, stored_at: int
) -> StoredChunks:
    """A step of the archive that records these seqs of these orphans; no seq twice, at least one.

    The extents are as old as their objects, so that retention goes on counting. `stored_at` is when the
    catalog hears of it.
    """
    extents: list[Extent] = []
    seconds: list[Second] = []
    times: list[int] = []
    for orphan, seqs in adoptions:
        extents += _extents(orphan, set(seqs))
        seconds += [second for second in orphan.seconds if second.seq in set(seqs)]
        times.append(orphan.at)
    seconds.sort(key=lambda second: second.seq)
    end = next((second for second in seconds if second.final), None)
    return StoredChunks(
        key=key,
        extents=sorted(extents, key=lambda extent: extent.first),
        identities={second.seq: second.identities[0] for second in seconds},
        ledger=LedgerSnapshot(
            held=tuple(runs(second.seq for second in seconds)),
            final_seq=None if end is None else end.seq,
            final_length=0 if end is None else end.length,
            started_at=min(times),
            updated_at=max(times),
        ),
        stored_at=stored_at,
    )


def _extents(orphan: Orphan, seqs: Collection[int]) -> list[Extent]:
    """One of the whole object, or one a second where only some of them are wanted."""
    seconds = orphan.seconds
    if len(seqs) == len(seconds):
        length = sum(second.length for second in seconds)
        return [_extent(orphan, seconds[0].seq, seconds[-1].seq, 0, length, orphan.sha256)]
    first = seconds[0].seq
    return [
        _extent(orphan, s.seq, s.seq, (s.seq - first) * CHUNK_BYTES, s.length, s.sha256)
        for s in seconds
        if s.seq in seqs
    ]


def _extent(orphan: Orphan, first: int, last: int, offset: int, length: int, sha256: bytes) -> Extent:
    return Extent(
        first=first,
        last=last,
        key=orphan.key,
        length=length,
        sha256=sha256,
        format=orphan.format,
        offset=offset,
        object_size=orphan.size,
        stored_at=orphan.at,
    )
