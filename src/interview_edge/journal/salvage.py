"""What can still be read of a damaged journal: by its chunks' rows and by its audio's, which say whose they
are.

Reads today's layout and the first one: a file is checked, and saved, before it is migrated.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import apsw
import attrs

from interview_edge.core.models import StreamKey
from interview_edge.core.ranges import Ranges
from interview_edge.journal import tables
from interview_edge.journal.records import ObjectPlan
from interview_edge.sqlite import in_transaction

# Keys tried one by one where a table's order is broken at both ends; an inner page leads to 1,300 rows.
MAX_PROBES = 10_000
LAST_KEY = 2**63 - 1
# What reading a damaged file raises; the last where a value's type has become text.
DAMAGE = (apsw.CorruptError, apsw.NotADBError, UnicodeDecodeError)

_SMALL = "timestamp_ms, final, at, sha256, identity"


@attrs.frozen
class FileLayout:
    """Where a file's audio lies: in `table`, under `key`, which each row of `chunks` has as its `number`;
    `id` says whose audio a row is.
    """

    number: str
    table: str
    key: str
    id: str

    def chunks(self) -> str:
        """Everything of chunks but the audio, whose number comes last."""
        return f"SELECT id, {_SMALL}, {self.number} FROM chunks"  # noqa: S608  # constants of this module

    def audio(self) -> str:
        """The numbers of audio, and whose it is."""
        return f"SELECT {self.key}, {self.id} FROM {self.table} a"  # noqa: S608  # constants of this module

    def row(self) -> str:
        """What `chunks` has, out of the row of a number's audio."""
        return f"SELECT {self.id}, {_SMALL}, {self.key} FROM {self.table} a WHERE {self.key} = ?"  # noqa: S608  # constants of this module

    def pcm(self) -> str:
        """The audio of a number, and whose it is."""
        return f"SELECT pcm, {self.id} FROM {self.table} a WHERE {self.key} = ?"  # noqa: S608  # constants of this module

    def whole(self) -> str:
        """Every chunk's id, sha256 and audio; NULL where the two don't name each other."""
        return (
            "SELECT c.id, c.sha256, a.pcm "  # noqa: S608  # constants of this module
            f"FROM chunks c LEFT JOIN {self.table} a ON a.{self.key} = c.{self.number} AND {self.id} = c.id"
        )


# By `user_version`. The first layout had the audio in the row; a row from then has no id of its own.
LAYOUTS = {
    1: FileLayout("id", "chunks", "id", "a.id"),
    2: FileLayout("audio", "audio", "no", "coalesce(a.id, a.no)"),
}


@attrs.frozen
class StreamSalvage:
    """What was read of one stream: how many chunks are whole, which seqs are known and are not."""

    key: StreamKey
    duplicates: int
    saved: int
    lost: tuple[int, ...]


@contextmanager
def reading(path: Path, vfs: str | None) -> Iterator[apsw.Connection]:
    """The file, for reading, left on disk exactly as it was found (its WAL too)."""
    with closing(apsw.Connection(str(path), vfs=vfs)) as connection:
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.pragma("query_only", True)
        yield connection


def salvage_streams(path: Path, target: apsw.Connection | None, vfs: str | None) -> Iterator[StreamSalvage]:
    """Read every row that can be read; copy it into `target` where there is one, a transaction a stream."""
    try:
        with reading(path, vfs) as connection:
            select = "SELECT no, session_id, stream, duplicates FROM streams"
            found = _readable(connection, select, "no", 0, LAST_KEY)
            streams = [row for row in found if _are(row, int, str, str, int)]  # a nameless one helps nobody
            source = _find_audio(connection, [row[0] for row in streams])
            for no, session_id, stream, duplicates in streams:
                key = StreamKey(session_id, stream)
                if target is None:
                    yield _salvage_stream(source, None, no, key, duplicates)
                else:
                    yield in_transaction(
                        target, partial(_copy_stream, source=source, no=no, key=key, duplicates=duplicates)
                    )
    except DAMAGE:
        return  # not even the file's head


@attrs.frozen
class _Source:
    """A damaged file. `audio`: of each stream's number, the ids whose audio was found, and where."""

    connection: apsw.Connection
    layout: FileLayout
    audio: dict[int, dict[int, int]]

    def chunks(self, no: int) -> Iterator[tuple[Any, ...]]:
        """The stream's rows without their audio; (id,) for one whose place can't be read."""
        ends = tables.chunk_id(no, 0), tables.chunk_id(no, tables.LAST_SEQ)
        return _readable(self.connection, self.layout.chunks(), "id", *ends)

    def rows_of_audio(self, no: int, saved: Ranges) -> Iterator[tuple[Any, ...]]:
        """The same out of the audio's rows, of what isn't saved at the moment."""
        for id_, number in self.audio[no].items():
            if id_ & tables.LAST_SEQ not in saved:
                with suppress(*DAMAGE):
                    yield from self.connection.execute(self.layout.row(), (number,)).fetchall()

    def whole(self, row: Sequence[Any]) -> tables.Row | None:
        """The row with its audio; None where that can't be read or isn't what was written."""
        if not _are(row, int, int, int, int, bytes, bytes, int):
            return None
        id_, timestamp_ms, final, at, sha256, identity, number = row
        try:
            found: list[Any] = self.connection.execute(self.layout.pcm(), (number,)).fetchall()
        except DAMAGE:
            return None
        for pcm, owner in found:
            # They name each other: else a damaged id would put a second of audio in another's place.
            if owner == id_ and tables.is_whole(pcm, sha256):
                return id_, timestamp_ms, final, at, sha256, identity, pcm
        return None


def _find_audio(connection: apsw.Connection, streams: Sequence[int]) -> _Source:
    source = _Source(connection, LAYOUTS[connection.pragma("user_version")], defaultdict(dict))
    rows = _readable(connection, source.layout.audio(), source.layout.key, 0, LAST_KEY)
    owners: dict[int, int] = dict(row for row in rows if _are(row, int, int))
    for no in streams:
        for row in source.chunks(no):
            if owners.get(row[-1], row[0]) != row[0]:
                del owners[row[-1]]  # one of the two ids is damaged, and nothing tells which
    for number, id_ in owners.items():
        source.audio[id_ >> tables.SEQ_BITS][id_] = number
    return source


def _copy_stream(
    target: apsw.Connection, source: _Source, no: int, key: StreamKey, duplicates: int
) -> StreamSalvage:
    target.execute(
        "INSERT INTO streams (no, session_id, stream, duplicates) VALUES (?, ?, ?, ?)",
        (no, key.session_id, key.stream, duplicates),
    )
    return _salvage_stream(source, target, no, key, duplicates)


def _salvage_stream(
    source: _Source, target: apsw.Connection | None, no: int, key: StreamKey, duplicates: int
) -> StreamSalvage:
    saved = Ranges()
    lost: set[int] = set()
    for row in chain(source.chunks(no), source.rows_of_audio(no, saved)):
        seq = row[0] & tables.LAST_SEQ
        whole = source.whole(row)
        if whole is None:
            lost.add(seq)
            continue
        saved.add(seq)
        lost.discard(seq)
        if target is not None:
            tables.store(target, [whole])
    if target is not None:
        # A plan says that all its seqs are journalled; with one of them lost it would make another object.
        plans = [p for p in _readable_plans(source.connection, key) if saved.covers(p.first, p.last)]
        tables.write_plans(target, plans)
    return StreamSalvage(key, duplicates, len(saved), tuple(sorted(lost)))


def _readable_plans(source: apsw.Connection, key: StreamKey) -> list[ObjectPlan]:
    try:
        return tables.plans(source, key)
    except (*DAMAGE, ValueError):
        return []  # the archive plans these seqs anew


def _are(row: Sequence[object], *types: type) -> bool:
    """Whether the values have the types that were written: in a damaged file any may have any."""
    return tuple(map(type, row)) == types


def _readable(
    source: apsw.Connection, select: str, key: str, low: int, end: int
) -> Iterator[tuple[Any, ...]]:
    """A table's rows above `low` from both ends towards the damage, then one by one inside it.

    `key` is the first column. One between two readable rows whose place can't be read comes as (key,).
    """
    high = end
    try:
        for row in source.execute(f"{select} WHERE {key} > ? AND {key} <= ? ORDER BY {key}", (low, high)):
            yield row
            low = row[0]
        return
    except DAMAGE:
        pass
    try:
        for row in source.execute(f"{select} WHERE {key} > ? AND {key} < ? ORDER BY {key} DESC", (low, high)):
            yield row
            high = row[0]
    except DAMAGE:
        pass
    for at in range(low + 1, min(high, low + 1 + MAX_PROBES)):
        try:
            yield from source.execute(f"{select} WHERE {key} = ?", (at,))
        except DAMAGE:
            if high < end:
                yield (at,)
