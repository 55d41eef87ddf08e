"""FileRecords on SQLite: the object table, read and given up by files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import apsw

from interview_edge.catalog.files import FileCursor, FileTotals, StoredFile
from interview_edge.catalog.sqlite_access import RunWork
from interview_edge.core.keys import beginning_of_cut, parse_audio_key, session_component, session_id_of
from interview_edge.core.models import SeqRanges, StreamKey
from interview_edge.core.ranges import Ranges

READABLE, EXPIRED, GONE = 0, 1, 2  # `objects.expired`

_LAST_CHARACTER = "\U0010ffff"

_COLUMNS = (
    "o.session_id, s.owner, s.created_at, o.stream, o.object_key, o.format, o.object_size, o.length, "
    "o.first, o.last, o.sha256, o.stored_at, o.expired"
)
_FROM = "FROM objects o JOIN sessions s ON s.session_id = o.session_id"
# Of the extents that lie in one object only the first stands for it. One chunk's object has one extent.
_FIRST_OF_ITS_OBJECT = (
    "((o.format = 'pcm' AND o.first = o.last) OR NOT EXISTS (SELECT 1 FROM objects p "
    "WHERE p.session_id = o.session_id AND p.stream = o.stream AND p.first <= o.first "
    "AND p.object_key = o.object_key AND p.expired = o.expired AND (p.first, p.last) < (o.first, o.last)))"
)


class SqliteFiles:
    """See `FileRecords`. `write` and `read` are the catalog's ways to its database."""

    def __init__(self, write: RunWork, read: RunWork) -> None:
        self._write = write
        self._read = read

    async def totals(self, owner: str | None = None, *, session_id: str | None = None) -> FileTotals:
        return await self._read(partial(totals, owner=owner, session_id=session_id))

    async def listing(
        self,
        *,
        limit: int,
        after: FileCursor | None = None,
        owner: str | None = None,
        session_id: str | None = None,
        stored_before: int | None = None,
    ) -> Sequence[StoredFile]:
        return await self._read(
            partial(
                listing,
                limit=limit,
                after=after,
                owner=owner,
                session_id=session_id,
                stored_before=stored_before,
            )
        )

    async def find(self, session_id: str, key: str) -> StoredFile | None:
        return await self._read(partial(find, session_id=session_id, key=key))

    async def session_of(self, component: str) -> str | None:
        return await self._read(partial(session_of, component=component))

    async def expired_seqs(self, key: StreamKey) -> SeqRanges:
        return await self._read(partial(expired_seqs, key=key))

    async def expire(self, session_id: str, keys: Sequence[str]) -> Sequence[StoredFile]:
        return await self._write(partial(expire, session_id=session_id, keys=tuple(keys)))

    async def undeleted(self, *, limit: int, after: tuple[str, str] | None = None) -> Sequence[StoredFile]:
        return await self._read(partial(undeleted, limit=limit, after=after))

    async def record_gone(self, session_id: str, keys: Sequence[str]) -> Sequence[str]:
        return await self._write(partial(record_gone, session_id=session_id, keys=tuple(keys)))

    async def resize(self, session_id: str, key: str, size: int) -> None:
        await self._write(partial(resize, session_id=session_id, key=key, size=size))

    async def sessions_to_sweep(self, before: int, *, limit: int, after: str = "") -> Sequence[str]:
        return await self._read(partial(sessions_to_sweep, before=before, limit=limit, after=after))

    async def record_swept(self, session_id: str, before: int) -> None:
        await self._write(partial(record_swept, session_id=session_id, before=before))


# -- looking


def totals(connection: apsw.Connection, owner: str | None, session_id: str | None) -> FileTotals:
    """See `FileRecords.totals`."""
    of_owner = "" if owner is None else "AND s.owner = ?"
    of_session = "" if session_id is None else "AND f.session_id = ?"
    row: Any = connection.execute(
        "SELECT coalesce(sum(f.file_count), 0), coalesce(sum(f.file_bytes), 0), "  # noqa: S608  # constants
        "count(DISTINCT f.session_id) FROM streams f JOIN sessions s ON s.session_id = f.session_id "
        f"WHERE s.deleted_at IS NULL AND f.file_count > 0 {of_owner} {of_session}",
        tuple(value for value in (owner, session_id) if value is not None),
    ).fetchone()
    return FileTotals(*row)


def listing(
    connection: apsw.Connection,
    limit: int,
    after: FileCursor | None,
    owner: str | None,
    session_id: str | None,
    stored_before: int | None,
) -> list[StoredFile]:
    """See `FileRecords.listing`. Session by session, so that each page costs what it shows."""
    found: list[StoredFile] = []
    # The cursor's own session first, which may have more; then those behind it.
    for each, place in _sessions(connection, after, owner, session_id):
        found += _files_of(connection, each, place, stored_before, limit - len(found))
        if len(found) == limit:
            break
    return found


def _sessions(
    connection: apsw.Connection, after: FileCursor | None, owner: str | None, session_id: str | None
) -> Iterator[tuple[str, FileCursor | None]]:
    """Sessions with files in the order of `listing`, and the place in each to go on after."""
    wanted, values = ["s.deleted_at IS NULL"], list[Any]()
    for condition, value in (("s.owner = ?", owner), ("s.session_id = ?", session_id)):
        if value is not None:
            wanted.append(condition)
            values.append(value)
    if after is not None:
        wanted.append("(s.created_at, s.session_id) <= (?, ?)")
        values += [after.created_at, after.session_id]
    rows: Any = connection.execute(
        f"SELECT s.session_id FROM sessions s WHERE {' AND '.join(wanted)} AND EXISTS "  # noqa: S608  # constants
        "(SELECT 1 FROM streams f WHERE f.session_id = s.session_id AND f.file_count > 0) "
        "ORDER BY s.created_at DESC, s.session_id DESC",
        values,
    )
    for (each,) in rows:
        yield each, after if after is not None and after.session_id == each else None


def _files_of(
    connection: apsw.Connection,
    session_id: str,
    after: FileCursor | None,
    stored_before: int | None,
    limit: int,
) -> list[StoredFile]:
    behind = "" if after is None else "AND (o.stream, o.first, o.object_key) > (?, ?, ?)"
    older = "" if stored_before is None else "AND o.stored_at < ?"
    rows: Any = connection.execute(
        f"SELECT {_COLUMNS} {_FROM} WHERE o.session_id = ? AND o.expired = {READABLE} "
        f"{behind} {older} AND {_FIRST_OF_ITS_OBJECT} ORDER BY o.stream, o.first, o.object_key LIMIT ?",
        (
            session_id,
            *(() if after is None else (after.stream, after.first, after.key)),
            *(() if stored_before is None else (stored_before,)),
            limit,
        ),
    )
    return [_file(connection, *row) for row in rows.fetchall()]


def find(connection: apsw.Connection, session_id: str, key: str) -> StoredFile | None:
    """See `FileRecords.find`. A key of ours says where its first second is; of another all are looked at."""
    named = parse_audio_key(key)
    there = "" if named is None else "AND o.stream = ? AND o.first BETWEEN ? AND ?"
    row: Any = connection.execute(
        f"SELECT {_COLUMNS} {_FROM} WHERE o.session_id = ? {there} AND o.object_key = ? "  # constants
        "ORDER BY o.expired, o.first, o.last LIMIT 1",
        (session_id, *(() if named is None else (named.stream, named.first, named.last)), key),
    ).fetchone()
    return None if row is None else _file(connection, *row)


def _file(
    connection: apsw.Connection,
    session_id: str,
    owner: str,
    created_at: int,
    stream: str,
    key: str,
    format_: str,
    size: int,
    length: int,
    first: int,
    last: int,
    sha256: bytes,
    stored_at: int,
    expired: int,
) -> StoredFile:
    extents = 1
    if format_ != "pcm" or first != last:
        together: Any = connection.execute(
            "SELECT count(*), sum(length), max(last) FROM objects WHERE session_id = ? AND stream = ? "
            "AND first >= ? AND object_key = ? AND expired = ?",
            (session_id, stream, first, key, expired),
        ).fetchone()
        extents, length, last = together
    return StoredFile(
        session_id=session_id,
        owner=owner,
        session_created_at=created_at,
        stream=stream,
        key=key,
        format=format_,
        size=size,
        pcm_bytes=length,
        first=first,
        last=last,
        sha256=sha256 if extents == 1 else None,
        stored_at=stored_at,
        expired=expired != READABLE,
    )


def session_of(connection: apsw.Connection, component: str) -> str | None:
    """See `FileRecords.session_of`."""
    beginning = beginning_of_cut(component)
    if beginning is None:
        session_id = session_id_of(component)
        between = (session_id, session_id)
    else:
        between = (beginning, beginning + _LAST_CHARACTER)
    if between[0] is None:
        return None
    rows: Any = connection.execute(
        "SELECT session_id FROM sessions WHERE session_id BETWEEN ? AND ?", between
    )
    return next((each for (each,) in rows.fetchall() if session_component(each) == component), None)


def expired_seqs(connection: apsw.Connection, key: StreamKey) -> SeqRanges:
    """See `FileRecords.expired_seqs`. A stream of which nothing has expired costs one look at an index."""
    of_stream = (key.session_id, key.stream)
    some: Any = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM objects WHERE session_id = ? AND stream = ? AND expired > 0)", of_stream
    ).get
    if not some:
        return ()
    extents: Any = connection.execute(
        f"SELECT first, last, expired <> {READABLE} FROM objects "  # noqa: S608  # a constant
        "WHERE session_id = ? AND stream = ? ORDER BY recorded",
        of_stream,
    )
    seen, found = Ranges(), Ranges()
    for first, last, has_expired in extents:
        if has_expired:
            found.update(Ranges([(first, last)]).minus(seen))
        seen.add_range(first, last)
    return tuple(found)


# -- giving up


def expire(connection: apsw.Connection, session_id: str, keys: Sequence[str]) -> list[StoredFile]:
    """See `FileRecords.expire`."""
    found = []
    for key in dict.fromkeys(keys):
        file = find(connection, session_id, key)
        if file is not None and not file.expired:
            connection.execute(
                f"UPDATE objects SET expired = {EXPIRED} WHERE session_id = ? AND stream = ? "  # noqa: S608  # constants
                f"AND first BETWEEN ? AND ? AND object_key = ? AND expired = {READABLE}",
                (session_id, file.stream, file.first, file.last, key),
            )
            connection.execute(
                "UPDATE streams SET file_count = file_count - 1, file_bytes = file_bytes - ? "
                "WHERE session_id = ? AND stream = ?",
                (file.size, session_id, file.stream),
            )
        found += _undeleted(connection, "o.session_id = ? AND o.object_key = ?", (session_id, key), 1)
    return found


def undeleted(connection: apsw.Connection, limit: int, after: tuple[str, str] | None) -> list[StoredFile]:
    """See `FileRecords.undeleted`."""
    return _undeleted(connection, "(o.session_id, o.object_key) > (?, ?)", after or ("", ""), limit)


def _undeleted(
    connection: apsw.Connection, condition: str, values: Sequence[Any], limit: int
) -> list[StoredFile]:
    rows: Any = connection.execute(
        f"SELECT {_COLUMNS} {_FROM} WHERE {condition} AND o.expired = {EXPIRED} "
        f"AND {_FIRST_OF_ITS_OBJECT} ORDER BY o.session_id, o.object_key LIMIT ?",
        (*values, limit),
    )
    return [_file(connection, *row) for row in rows.fetchall()]


def record_gone(connection: apsw.Connection, session_id: str, keys: Sequence[str]) -> list[str]:
    """See `FileRecords.record_gone`."""
    noted = []
    for key in keys:
        connection.execute(
            f"UPDATE objects SET expired = {GONE} "  # noqa: S608  # constants
            f"WHERE session_id = ? AND object_key = ? AND expired = {EXPIRED}",
            (session_id, key),
        )
        if connection.changes():
            noted.append(key)
    return noted


# -- repair


def resize(connection: apsw.Connection, session_id: str, key: str, size: int) -> None:
    """See `FileRecords.resize`."""
    file = find(connection, session_id, key)
    if file is None or file.expired:
        return
    connection.execute(
        f"UPDATE objects SET object_size = ? WHERE session_id = ? AND stream = ? "  # noqa: S608  # a constant
        f"AND first BETWEEN ? AND ? AND object_key = ? AND expired = {READABLE}",
        (size, session_id, file.stream, file.first, file.last, key),
    )
    connection.execute(
        "UPDATE streams SET file_bytes = file_bytes + ? WHERE session_id = ? AND stream = ?",
        (size - file.size, session_id, file.stream),
    )


# -- the sweep


def sessions_to_sweep(connection: apsw.Connection, before: int, limit: int, after: str) -> list[str]:
    """See `FileRecords.sessions_to_sweep`."""
    rows: Any = connection.execute(
        "SELECT session_id FROM sessions WHERE session_id > ? AND created_at < ? "
        "AND swept_before <= updated_at AND deleted_at IS NULL ORDER BY session_id LIMIT ?",
        (after, before, limit),
    )
    return [session_id for (session_id,) in rows]


def record_swept(connection: apsw.Connection, session_id: str, before: int) -> None:
    """See `FileRecords.record_swept`."""
    connection.execute(
        "UPDATE sessions SET swept_before = ? WHERE session_id = ? AND swept_before < ?",
        (before, session_id, before),
    )
