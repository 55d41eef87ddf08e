"""The journal's SQL: synchronous functions that run on the database's thread, each one whole transaction or
read.

A chunk's id is its stream's number and its seq in one integer, so that the primary key is the only index. Its
audio lies in a table of its own, appended to in order of arrival: what a chunk costs doesn't depend on how
many streams are live, and the start reads the small columns without touching a page of audio.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apsw
import attrs

from interview_edge.core.models import Layout, StreamKey
from interview_edge.core.pcm import Pcm
from interview_edge.journal.errors import JournalDamaged
from interview_edge.journal.records import Append, JournalledStream, JournalRow, ObjectPlan

SEQ_BITS = 32
LAST_SEQ = (1 << SEQ_BITS) - 1
VACUUM_ABOVE = 64 * 2**20  # bytes of free pages that are kept for the next chunks
# Given back with each trim (256 KiB): a node whose backlog comes and goes with every upload pays little for
# pages that it will soon want again (4 MiB a trim tripled a trim's CPU), and an outage's backlog is gone
# in hours.
VACUUM_PAGES = 32

_INSERT_CHUNK = """
    INSERT INTO chunks (id, timestamp_ms, final, at, length, sha256, identity, audio)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING
"""
_INSERT_AUDIO = """
    INSERT INTO audio (no, timestamp_ms, final, at, sha256, identity, pcm, id) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""

# id, timestamp_ms, final, at, sha256, identity, pcm
Row = tuple[int, int, bool, int, bytes, bytes, Pcm]


@attrs.frozen
class Space:
    """Rows and their PCM bytes; `used`: bytes of the file that hold something (free pages excluded).

    As a transaction's answer: `rows` and `bytes` are its change, `used` is what it left.
    """

    rows: int
    bytes: int
    used: int

    def plus(self, change: Space) -> Space:
        """The space after a transaction that answered `change`."""
        return Space(self.rows + change.rows, self.bytes + change.bytes, change.used)


@attrs.frozen
class Inserted:
    """What one batch did. `conflicts` are the positions of entries that met another chunk at their seq."""

    space: Space
    conflicts: frozenset[int]


def chunk_id(no: int, seq: int) -> int:
    """The primary key of stream number `no`'s chunk `seq`."""
    return no << SEQ_BITS | seq


def used_bytes(connection: apsw.Connection) -> int:
    """Bytes of the database file that hold something."""
    pages = connection.pragma("page_count") - connection.pragma("freelist_count")
    return int(pages * connection.pragma("page_size"))


def measure(connection: apsw.Connection) -> Space:
    """Count everything, once at start. Reads every row's small columns and finds the last audio, so it also
    finds damage there. Raises `JournalDamaged` where a chunk names audio beyond the last: the next chunk
    would get its number.
    """
    rows, size, _, named = connection.execute(
        "SELECT count(*), coalesce(sum(length), 0), max(length(sha256) + length(identity) + at), "
        "coalesce(max(audio), 0) FROM chunks"
    ).get
    last = last_audio(connection)
    if not isinstance(named, int) or named > last:
        raise JournalDamaged(f"a chunk names audio {named}, and the last is {last}")
    return Space(rows=rows, bytes=size, used=used_bytes(connection))


# -- writing, each inside a transaction


def insert(connection: apsw.Connection, batch: Sequence[Append]) -> Inserted:
    """Write a batch: new chunks with their audio, repeats as a count on their stream."""
    numbers: dict[StreamKey, int] = {}
    repeats: dict[StreamKey, int] = {}
    for entry in batch:
        if entry.key not in numbers:
            numbers[entry.key] = _number(connection, entry.key)
        if entry.repeat:
            repeats[entry.key] = repeats.get(entry.key, 0) + 1
    asked: list[Row] = [
        (chunk_id(numbers[e.key], c.seq), c.timestamp_ms, c.final, e.at, c.sha256, c.identity, c.pcm)
        for e, c in ((entry, entry.chunk) for entry in batch if not entry.repeat)
    ]
    taken = store(connection, asked)
    if repeats:
        connection.executemany(
            "UPDATE streams SET duplicates = duplicates + ? WHERE no = ?",
            [(count, numbers[key]) for key, count in repeats.items()],
        )
    conflicts: frozenset[int] = frozenset()
    if len(taken) < len(asked):
        # The ledger keeps repeats away from here, so this is a restart's leftover or a bug: look closely.
        conflicts = frozenset(_conflicts(connection, batch, numbers))
    size = sum(len(pcm) for *_, pcm in taken)
    return Inserted(Space(len(taken), size, used_bytes(connection)), conflicts)


def store(connection: apsw.Connection, rows: Sequence[Row]) -> Sequence[Row]:
    """Write chunks and their audio; answers those that were taken. One whose id is there stays as it is."""
    # A chunk and its audio go together, so no chunk names a number above the last one's.
    following = last_audio(connection) + 1
    before = connection.total_changes()
    connection.executemany(
        _INSERT_CHUNK,
        [
            (id_, timestamp_ms, final, at, len(pcm), sha256, identity, no)
            for no, (id_, timestamp_ms, final, at, sha256, identity, pcm) in enumerate(rows, following)
        ],
    )
    numbered: Iterable[tuple[int, Row]] = enumerate(rows, following)
    if connection.total_changes() - before < len(rows):
        numbered = [(no, row) for no, row in numbered if _audio_of(connection, row[0]) == no]
        rows = [row for _, row in numbered]
    connection.executemany(_INSERT_AUDIO, [(no, *row[1:], row[0]) for no, row in numbered])
    return rows


def last_audio(connection: apsw.Connection) -> int:
    """The highest number of audio that is here; 0 where there is none."""
    return int(connection.execute("SELECT coalesce(max(no), 0) FROM audio").get)


def _audio_of(connection: apsw.Connection, id_: int) -> int | None:
    no: int | None = connection.execute("SELECT audio FROM chunks WHERE id = ?", (id_,)).get
    return no


def _number(connection: apsw.Connection, key: StreamKey) -> int:
    """The stream's number, given out where it is new: above every number that still has rows."""
    no = _find(connection, key)
    if no is None:
        connection.execute(
            "INSERT INTO streams (session_id, stream) VALUES (?, ?)", (key.session_id, key.stream)
        )
        no = connection.last_insert_rowid()
    return no


def _find(connection: apsw.Connection, key: StreamKey) -> int | None:
    no: int | None = connection.execute(
        "SELECT no FROM streams WHERE session_id = ? AND stream = ?", (key.session_id, key.stream)
    ).get
    return no


def _conflicts(
    connection: apsw.Connection, batch: Sequence[Append], numbers: dict[StreamKey, int]
) -> Iterator[int]:
    for position, entry in enumerate(batch):
        if not entry.repeat:
            row = (chunk_id(numbers[entry.key], entry.chunk.seq),)
            if (
                connection.execute("SELECT identity FROM chunks WHERE id = ?", row).get
                != entry.chunk.identity
            ):
                yield position


def write_plans(connection: apsw.Connection, plans: Iterable[ObjectPlan]) -> None:
    """Write plans down; one that is there for the same seqs stays as it is."""
    connection.executemany(
        "INSERT INTO plans (no, first, last, layout, format, object_key, sha256) "
        "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (no, first, last) DO NOTHING",
        [
            (_number(connection, p.key), p.first, p.last, p.layout.value, p.format, p.object_key, p.sha256)
            for p in plans
        ],
    )


def trim(
    connection: apsw.Connection, key: StreamKey, ranges: Sequence[tuple[int, int]], duplicates: int
) -> Space:
    """Forget seqs, the plans that lie wholly in them, and counted duplicates."""
    no = _find(connection, key)
    rows = size = 0
    if no is not None:
        for first, last in ranges:
            gone = _delete_chunks(connection, chunk_id(no, first), chunk_id(no, last))
            rows, size = rows + gone[0], size + gone[1]
            connection.execute(
                "DELETE FROM plans WHERE no = ? AND first >= ? AND last <= ?", (no, first, last)
            )
        if duplicates:
            connection.execute(
                "UPDATE streams SET duplicates = max(duplicates - ?, 0) WHERE no = ?", (duplicates, no)
            )
        connection.execute(
            "DELETE FROM streams WHERE no = ? AND duplicates = 0 "
            "AND NOT EXISTS (SELECT 1 FROM chunks WHERE id BETWEEN ? AND ?) "
            "AND NOT EXISTS (SELECT 1 FROM plans WHERE plans.no = streams.no)",
            (no, chunk_id(no, 0), chunk_id(no, LAST_SEQ)),
        )
    return Space(-rows, -size, used_bytes(connection))


def drop_session(connection: apsw.Connection, session_id: str) -> Space:
    """Forget everything of a session."""
    rows = size = 0
    numbers: list[Any] = connection.execute(
        "SELECT no FROM streams WHERE session_id = ?", (session_id,)
    ).fetchall()
    for (no,) in numbers:
        gone = _delete_chunks(connection, chunk_id(no, 0), chunk_id(no, LAST_SEQ))
        rows, size = rows + gone[0], size + gone[1]
        connection.execute("DELETE FROM plans WHERE no = ?", (no,))
        connection.execute("DELETE FROM streams WHERE no = ?", (no,))
    return Space(-rows, -size, used_bytes(connection))


def _delete_chunks(connection: apsw.Connection, first: int, last: int) -> tuple[int, int]:
    bounds = (first, last)
    rows, size = connection.execute(
        "SELECT count(*), coalesce(sum(length), 0) FROM chunks WHERE id BETWEEN ? AND ?", bounds
    ).get
    connection.execute(
        "DELETE FROM audio WHERE no IN (SELECT audio FROM chunks WHERE id BETWEEN ? AND ?)", bounds
    )
    connection.execute("DELETE FROM chunks WHERE id BETWEEN ? AND ?", bounds)
    return rows, size


def give_back_pages(connection: apsw.Connection) -> None:
    """Where many pages are free, return a few to the file system (its own transaction).

    After an outage the file would otherwise keep the backlog's size for ever.
    """
    if connection.pragma("freelist_count") * connection.pragma("page_size") > VACUUM_ABOVE:
        for _ in connection.execute(f"PRAGMA incremental_vacuum({VACUUM_PAGES})"):
            pass  # each step frees a page: the statement must run to its end


# -- reading, each one statement and so one snapshot


def streams(connection: apsw.Connection) -> list[JournalledStream]:
    """Every stream that has chunks, plans or counted duplicates."""
    found = connection.execute(
        "SELECT s.session_id, s.stream, s.duplicates, "
        "count(c.id), coalesce(sum(c.length), 0), min(c.at) "
        "FROM streams s LEFT JOIN chunks c ON c.id BETWEEN (s.no << 32) AND (s.no << 32 | 4294967295) "
        "GROUP BY s.no ORDER BY s.no"
    )
    return [
        JournalledStream(StreamKey(session_id, stream), rows, size, oldest_at, duplicates)
        for session_id, stream, duplicates, rows, size, oldest_at in found
    ]


_CHUNKS = "FROM streams s JOIN chunks c ON c.id BETWEEN (s.no << 32 | ?) AND (s.no << 32 | ?)"
_OF_STREAM = "WHERE s.session_id = ? AND s.stream = ? ORDER BY c.id"


def rows(
    connection: apsw.Connection, key: StreamKey, first: int, last: int | None, limit: int
) -> list[JournalRow]:
    """Rows of `first..last`, ascending, at most `limit`, their audio unread."""
    found = connection.execute(
        "SELECT c.id & 4294967295, c.timestamp_ms, c.final, c.length, c.sha256, c.identity, c.at "
        f"{_CHUNKS} {_OF_STREAM} LIMIT ?",
        (first, LAST_SEQ if last is None else last, key.session_id, key.stream, limit),
    )
    return [JournalRow(seq, ts, bool(final), *rest) for seq, ts, final, *rest in found]


def read(connection: apsw.Connection, key: StreamKey, first: int, last: int) -> list[tuple[int, bytes]]:
    """The PCM of those of `first..last` that are here, ascending, each checked against its sha256."""
    found: list[tuple[int, bytes]] = []
    for seq, sha256, pcm in connection.execute(
        "SELECT c.id & 4294967295, c.sha256, a.pcm "
        f"{_CHUNKS} LEFT JOIN audio a ON a.no = c.audio {_OF_STREAM}",
        (first, last, key.session_id, key.stream),
    ):
        if not is_whole(pcm, sha256):
            raise JournalDamaged(f"chunk {seq} of {key} in {connection.filename} does not match its sha256")
        found.append((seq, pcm))
    return found


def is_whole(pcm: object, sha256: object) -> bool:
    """Whether audio that was read is there and is the one that was written."""
    return isinstance(pcm, bytes) and hashlib.sha256(pcm).digest() == sha256


def plans(connection: apsw.Connection, key: StreamKey) -> list[ObjectPlan]:
    """The plans of a stream, in order of their first seq."""
    found = connection.execute(
        "SELECT p.first, p.last, p.layout, p.format, p.object_key, p.sha256 "
        "FROM plans p JOIN streams s ON s.no = p.no "
        "WHERE s.session_id = ? AND s.stream = ? ORDER BY p.first, p.last",
        (key.session_id, key.stream),
    )
    return [ObjectPlan(key, first, last, Layout(layout), *rest) for first, last, layout, *rest in found]


def repeats(connection: apsw.Connection, session_id: str) -> dict[str, int]:
    """The session's streams that are in the journal, each with its counted repeats."""
    found = connection.execute("SELECT stream, duplicates FROM streams WHERE session_id = ?", (session_id,))
    return {str(stream): int(count) for stream, count in found}
