"""The SQLite catalog's SQL for the object table: extents, identities, and the ledger and the usage that
follow from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import apsw
import attrs

from interview_edge.catalog.access import UsageKind
from interview_edge.catalog.protocol import StoredChunks
from interview_edge.catalog.queries import LEDGER_COLUMNS, ensure_session, ensure_stream, touch
from interview_edge.catalog.records import (
    BLOCK_BYTES,
    block_of,
    blocks_of,
    by_block,
    identity_in,
    ledger_from_columns,
    place,
    to_json,
)
from interview_edge.catalog.sqlite_access import add_usage
from interview_edge.core.ledger import merge
from interview_edge.core.models import Extent, LedgerSnapshot, StreamKey
from interview_edge.core.pcm import CHUNK_SAMPLES, SAMPLE_BYTES
from interview_edge.core.ranges import Ranges
from interview_edge.core.times import utc_day

_EXTENT_COLUMNS = (
    "first, last, object_key, length, sha256, format, start, object_size, stored_at, expired, recorded"
)


def record_stored(connection: apsw.Connection, stored: StoredChunks) -> list[int]:
    """See `Catalog.record_stored`."""
    key = stored.key
    ensure_session(connection, key.session_id, stored.stored_at)
    ensure_stream(connection, key.session_id, key.stream)
    new, sizes = _add_extents(connection, key, stored.extents)
    conflicts = _add_identities(connection, key, stored.identities)
    before, after = _merge_ledger(connection, stored, count_duplicates=bool(new) or not stored.extents)
    if new:
        used = _stored_audio(stored.ledger, before, after)
        used[UsageKind.STORED_BYTES] = sum(sizes.values())
        _count(connection, stored, used)
    touch(connection, key.session_id, stored.stored_at)
    return conflicts


def _add_extents(
    connection: apsw.Connection, key: StreamKey, extents: Sequence[Extent]
) -> tuple[list[Extent], dict[str, int]]:
    """Write the extents that aren't there; those, and the sizes of the files that come with them."""
    counted: Any = connection.execute(
        "SELECT extent_count, longest_extent FROM streams WHERE session_id = ? AND stream = ?",
        (key.session_id, key.stream),
    ).fetchone()
    before, longest = counted
    new: list[Extent] = []
    for e in extents:
        connection.execute(
            f"INSERT INTO objects (session_id, stream, {_EXTENT_COLUMNS}) "  # noqa: S608  # a constant
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (session_id, stream, first, last, object_key) DO NOTHING",
            (
                *(key.session_id, key.stream, e.first, e.last, e.key, e.length, e.sha256, e.format, e.offset),
                *(e.object_size, e.stored_at, int(e.expired), before + len(new) + 1),
            ),
        )
        if connection.changes():
            new.append(e)
            longest = max(longest, e.last - e.first + 1)
    sizes = _new_files(connection, key, new, before)
    if new:
        connection.execute(
            "UPDATE streams SET extent_count = ?, longest_extent = ?, file_count = file_count + ?, "
            "file_bytes = file_bytes + ? WHERE session_id = ? AND stream = ?",
            (before + len(new), longest, len(sizes), sum(sizes.values()), key.session_id, key.stream),
        )
    return new, sizes


def _new_files(
    connection: apsw.Connection, key: StreamKey, new: Sequence[Extent], before: int
) -> dict[str, int]:
    """The sizes of the objects that these new extents are the first to name, after the stream's `before`
    older ones.
    """
    sizes = {extent.key: extent.object_size for extent in new}
    for shared in {extent.key for extent in new if not _is_one_chunk(extent)}:
        if _named_before(connection, key, shared, before):
            del sizes[shared]
    return sizes


def _is_one_chunk(extent: Extent) -> bool:
    """Whether the object holds this chunk and nothing else: then no other extent can lie in it."""
    return extent.first == extent.last and extent.format == "pcm" and extent.object_size == extent.length


def _named_before(connection: apsw.Connection, key: StreamKey, object_key: str, before: int) -> bool:
    """Whether one of the stream's first `before` extents names the object, and hasn't expired.

    Reads all extents of the stream: for segments, of which there is one a minute.
    """
    found: Any = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM objects WHERE session_id = ? AND stream = ? AND object_key = ? "
        "AND recorded <= ? AND expired = 0)",
        (key.session_id, key.stream, object_key, before),
    ).get
    return bool(found)


def _add_identities(connection: apsw.Connection, key: StreamKey, new: Mapping[int, bytes]) -> list[int]:
    """Write the identities of seqs that have none; the seqs that have another one."""
    conflicts: list[int] = []
    for block, wanted in by_block(new).items():
        at = (key.session_id, key.stream, block)
        digests: Any = connection.execute(
            "SELECT digests FROM identities WHERE session_id = ? AND stream = ? AND block = ?", at
        ).get
        packed = bytearray(BLOCK_BYTES if digests is None else digests)
        for seq, identity in wanted.items():
            held = identity_in(packed, seq)
            if held is None:
                place(packed, seq, identity)
            elif held != identity:
                conflicts.append(seq)
        if packed != digests:
            connection.execute(
                "INSERT INTO identities (session_id, stream, block, digests) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (session_id, stream, block) DO UPDATE SET digests = excluded.digests",
                (*at, bytes(packed)),
            )
    return conflicts


def _merge_ledger(
    connection: apsw.Connection, stored: StoredChunks, *, count_duplicates: bool
) -> tuple[Ranges, Ranges]:
    """Write the merged ledger; the seqs held before and after."""
    key = stored.key
    row: Any = connection.execute(
        f"SELECT {LEDGER_COLUMNS} FROM streams WHERE session_id = ? AND stream = ?",  # noqa: S608  # a constant
        (key.session_id, key.stream),
    ).fetchone()
    before = ledger_from_columns(*row)
    after = attrs.evolve(
        merge(before, stored.ledger),
        duplicates=before.duplicates + (stored.ledger.duplicates if count_duplicates else 0),
    )
    if after != before:
        connection.execute(
            "UPDATE streams SET held = ?, final_seq = ?, final_length = ?, duplicates = ?, started_at = ?, "
            "updated_at = ? WHERE session_id = ? AND stream = ?",
            (
                *(to_json(after.held), after.final_seq, after.final_length, after.duplicates),
                *(after.started_at, after.updated_at, key.session_id, key.stream),
            ),
        )
    return Ranges(before.held), Ranges(after.held)


# -- usage


def _stored_audio(step: LedgerSnapshot, before: Ranges, after: Ranges) -> dict[str, int]:
    """What the step newly holds: chunks, and their samples. The final chunk may be shorter than a second."""
    chunks = len(after) - len(before)
    samples = chunks * CHUNK_SAMPLES
    if step.final_seq is not None and step.final_seq not in before:
        samples += step.final_length // SAMPLE_BYTES - CHUNK_SAMPLES
    return {UsageKind.CHUNKS: chunks, UsageKind.AUDIO_SAMPLES: samples}


def _count(connection: apsw.Connection, stored: StoredChunks, used: Mapping[str, int]) -> None:
    who: Any = connection.execute(
        "SELECT owner, coalesce(key_id, '') FROM sessions WHERE session_id = ?", (stored.key.session_id,)
    ).fetchone()
    owner, key_id = who
    add_usage(connection, utc_day(stored.stored_at), owner, key_id, used)


# -- reading


def extents(connection: apsw.Connection, key: StreamKey, first: int, last: int | None) -> list[Extent]:
    """See `Catalog.extents`. The stream's longest extent bounds how far before `first` one may begin."""
    end = "" if last is None else "AND o.first <= ?"
    found: Any = connection.execute(
        f"SELECT o.{_EXTENT_COLUMNS.replace(', ', ', o.')} FROM objects o "  # noqa: S608  # constants
        "JOIN streams s ON s.session_id = o.session_id AND s.stream = o.stream "
        "WHERE o.session_id = ? AND o.stream = ? AND o.first > ? - s.longest_extent AND o.last >= ? "
        f"{end} ORDER BY o.first, o.recorded",
        (key.session_id, key.stream, first, first, *(() if last is None else (last,))),
    )
    return [_extent(*row) for row in found]


def _extent(
    first: int,
    last: int,
    key: str,
    length: int,
    sha256: bytes,
    format_: str,
    offset: int,
    object_size: int,
    stored_at: int,
    expired: int,
    recorded: int,
) -> Extent:
    return Extent(
        first=first,
        last=last,
        key=key,
        length=length,
        sha256=sha256,
        format=format_,
        offset=offset,
        object_size=object_size,
        stored_at=stored_at,
        expired=bool(expired),
        recorded=recorded,
    )


def identities(connection: apsw.Connection, key: StreamKey, seqs: Sequence[int]) -> dict[int, bytes]:
    """See `Catalog.identities`."""
    packed: dict[int, bytes] = {}
    for block in blocks_of(seqs):
        digests: Any = connection.execute(
            "SELECT digests FROM identities WHERE session_id = ? AND stream = ? AND block = ?",
            (key.session_id, key.stream, block),
        ).get
        if digests is not None:
            packed[block] = digests
    found = {seq: identity_in(packed[block_of(seq)], seq) for seq in seqs if block_of(seq) in packed}
    return {seq: identity for seq, identity in found.items() if identity is not None}


def held_objects(connection: apsw.Connection, session_id: str) -> list[str]:
    """See `Catalog.held_objects`."""
    found: Any = connection.execute(
        "SELECT DISTINCT object_key FROM objects WHERE session_id = ? ORDER BY object_key", (session_id,)
    )
    return [object_key for (object_key,) in found]
