"""A damaged journal: found at the start, never papered over, saved row by row when the operator says so.

The start refuses a damaged file and touches nothing. With the operator's word (`accept_damaged_journal`)
every row whose audio still matches its SHA-256 goes into a fresh file; the damaged one is set aside beside it
as `journal.db.damaged-N`, with a report of what was saved and what was not. A crash on the way changes
nothing or is finished by the next start: the fresh file is complete and synced before the first rename.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import apsw
import attrs

from interview_edge.core.models import StreamKey
from interview_edge.core.ranges import Ranges
from interview_edge.journal import tables
from interview_edge.journal.errors import JournalDamaged
from interview_edge.journal.records import ObjectPlan
from interview_edge.sqlite import configure, in_transaction, migrate, sync_folder

# The whole check reads the whole file (about 1 GB/s): beyond this only schema and small columns are read, and
# `Journal.read` checks each chunk's hash when its time comes.
WHOLE_CHECK_BYTES = 256 * 2**20
MAX_PROBES = 100_000  # ids tried one by one where a stream's order is broken at both ends
DAMAGE = (apsw.CorruptError, apsw.NotADBError)

_COLUMNS = "id, timestamp_ms, final, at, sha256, identity, pcm"


@attrs.frozen
class StreamSalvage:
    """What was read of one stream: how many chunks are whole, which seqs are known and are not."""

    key: StreamKey
    duplicates: int
    saved: int
    lost: tuple[int, ...]


def ensure_sound(path: Path, *, salvage: bool, page_size: int, vfs: str | None = None) -> None:
    """Check the journal file before it is used; blocking, for a thread of its own at the start.

    Raises `JournalDamaged` for a damaged file unless `salvage` is set; then what can be saved takes its
    place.
    """
    finish_salvage(path)
    if not path.exists():
        return
    wrong = find_damage(path, vfs)
    if wrong is None:
        return
    if salvage:
        replace_with_salvage(path, wrong, page_size=page_size, vfs=vfs)
        return
    streams = list(_salvage(path, None, vfs))
    raise JournalDamaged(
        f"{path} is damaged ({wrong}). {sum(s.saved for s in streams)} chunks of {len(streams)} streams "
        f"can be saved, {sum(len(s.lost) for s in streams)} are known to be lost. Nothing was changed: copy "
        f"the file and its -wal if you want an expert to look, then start with accept_damaged_journal "
        f"(EDGE_ACCEPT_DAMAGED_JOURNAL=1) to go on with what can be saved; the damaged file stays beside it."
    )


def find_damage(path: Path, vfs: str | None = None) -> str | None:
    """What is wrong with the file, None where nothing was found."""
    try:
        with _reading(path, vfs) as connection:
            if connection.pragma("user_version") == 0:
                return None  # a start that was cut off before its schema: nothing was ever acknowledged here
            if path.stat().st_size > WHOLE_CHECK_BYTES:
                tables.measure(connection)
                return None
            verdict = str(connection.execute("PRAGMA quick_check(1)").get)
            if verdict != "ok":
                return verdict
            for id_, sha256, pcm in connection.execute("SELECT id, sha256, pcm FROM chunks"):
                if hashlib.sha256(pcm).digest() != sha256:
                    return f"the audio of row {id_} does not match its sha256"
    except DAMAGE as error:
        return str(error)
    return None


@contextmanager
def _reading(path: Path, vfs: str | None) -> Iterator[apsw.Connection]:
    """The file, for reading, left on disk exactly as it was found (its WAL too)."""
    with closing(apsw.Connection(str(path), vfs=vfs)) as connection:
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.pragma("query_only", True)
        yield connection


# -- setting aside; the order makes a crash at any point harmless


def replace_with_salvage(path: Path, wrong: str, *, page_size: int, vfs: str | None = None) -> None:
    """Salvage into a fresh file, write the report, set the damaged file aside, put the fresh one in its
    place.
    """
    fresh = _fresh(path)
    fresh.unlink(missing_ok=True)
    number = next(n for n in count(1) if not _aside(path, n).exists())
    with closing(apsw.Connection(str(fresh), vfs=vfs)) as target:
        configure(target, page_size=page_size, incremental_vacuum=True)
        migrate(target, package="interview_edge.journal")
        streams = list(_salvage(path, target, vfs))
    report = {
        "file": _aside(path, number).name,
        "damage": wrong,
        "streams": [
            {"session_id": s.key.session_id, "stream": s.key.stream, "saved": s.saved, "lost": list(s.lost)}
            for s in streams
        ],
    }
    _aside(path, number).with_suffix(f".damaged-{number}.json").write_text(
        json.dumps(report, indent=2), "utf-8"
    )
    sync_folder(path.parent)
    path.rename(_aside(path, number))
    finish_salvage(path)


def finish_salvage(path: Path) -> None:
    """Finish what a crash may have cut off after the damaged file was renamed. Idempotent.

    A fresh file beside a journal that is still in its place is an unfinished salvage, which is begun again.
    """
    fresh = _fresh(path)
    if path.exists() or not fresh.exists():
        return
    number = next(n for n in count(1) if not _aside(path, n + 1).exists())
    for suffix in ("-wal", "-shm"):
        # A WAL left here would be replayed into the fresh file.
        stray = path.with_name(path.name + suffix)
        if stray.exists():
            stray.rename(_aside(path, number).with_name(_aside(path, number).name + suffix))
    fresh.rename(path)
    sync_folder(path.parent)


def _fresh(path: Path) -> Path:
    return path.with_name(path.name + ".salvaged")


def _aside(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.damaged-{number}")


# -- salvaging


def _salvage(path: Path, target: apsw.Connection | None, vfs: str | None) -> Iterator[StreamSalvage]:
    """Read every row that can be read; copy it into `target` where there is one, a transaction a stream."""
    try:
        with _reading(path, vfs) as source:
            named: list[Any] = source.execute(
                "SELECT no, session_id, stream, duplicates FROM streams ORDER BY no"
            ).fetchall()
            for no, session_id, stream, duplicates in named:
                key = StreamKey(session_id, stream)
                if target is None:
                    yield _salvage_stream(source, None, no, key, duplicates)
                else:
                    yield in_transaction(
                        target, partial(_copy_stream, source=source, no=no, key=key, duplicates=duplicates)
                    )
    except DAMAGE:
        # The list of streams itself is unreadable from here on: rows without a stream's name help nobody.
        return


def _copy_stream(
    target: apsw.Connection, source: apsw.Connection, no: int, key: StreamKey, duplicates: int
) -> StreamSalvage:
    target.execute(
        "INSERT INTO streams (no, session_id, stream, duplicates) VALUES (?, ?, ?, ?)",
        (no, key.session_id, key.stream, duplicates),
    )
    return _salvage_stream(source, target, no, key, duplicates)


def _salvage_stream(
    source: apsw.Connection, target: apsw.Connection | None, no: int, key: StreamKey, duplicates: int
) -> StreamSalvage:
    saved = Ranges()
    lost: list[int] = []
    for row in _readable_rows(source, no):
        seq = row[0] & tables.LAST_SEQ
        if len(row) == 1 or hashlib.sha256(row[6]).digest() != row[4]:
            lost.append(seq)
            continue
        saved.add(seq)
        if target is not None:
            target.execute(tables.INSERT_CHUNK, row)
    if target is not None:
        # A plan says that all its seqs are journalled; with one of them lost it would make another object.
        plans = [p for p in _readable_plans(source, key) if saved.covers(p.first, p.last)]
        tables.write_plans(target, plans)
    return StreamSalvage(key, duplicates, len(saved), tuple(lost))


def _readable_plans(source: apsw.Connection, key: StreamKey) -> list[ObjectPlan]:
    try:
        return tables.plans(source, key)
    except DAMAGE:
        return []  # the archive plans these seqs anew


def _readable_rows(source: apsw.Connection, no: int) -> Iterator[tuple[Any, ...]]:
    """A stream's rows from both ends towards the damage, then one by one inside it.

    An id between two readable rows whose place can't be read comes as (id,).
    """
    low, end = tables.chunk_id(no, 0), tables.chunk_id(no, tables.LAST_SEQ)
    high = end
    select = f"SELECT {_COLUMNS} FROM chunks"  # noqa: S608  # a constant of this module
    try:
        for row in source.execute(f"{select} WHERE id > ? AND id <= ? ORDER BY id", (low, high)):
            yield row
            low = row[0]
        return
    except DAMAGE:
        pass
    try:
        for row in source.execute(f"{select} WHERE id > ? AND id < ? ORDER BY id DESC", (low, high)):
            yield row
            high = row[0]
    except DAMAGE:
        pass
    for id_ in range(low + 1, min(high, low + 1 + MAX_PROBES)):
        try:
            yield from source.execute(f"{select} WHERE id = ?", (id_,))
        except DAMAGE:
            if high < end:
                yield (id_,)
