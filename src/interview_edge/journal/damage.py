"""A damaged journal: found at the start, never papered over, saved row by row when the operator says so.

The start refuses a damaged file and touches nothing. With the operator's word (`accept_damaged_journal`)
every row whose audio still matches its SHA-256 goes into a fresh file; the damaged one is set aside beside it
as `journal.db.damaged-N`, with a report of what was saved and what was not. A crash on the way changes
nothing or is finished by the next start: the fresh file is complete and synced before the first rename.
"""

from __future__ import annotations

import json
from contextlib import closing
from functools import partial
from itertools import count
from pathlib import Path

import apsw

from interview_edge.journal import tables
from interview_edge.journal.errors import JournalDamaged
from interview_edge.journal.salvage import DAMAGE, LAYOUTS, FileLayout, reading, salvage_streams
from interview_edge.sqlite import configure, in_snapshot, migrate, sync_folder

# The whole check reads the whole file (about 1 GB/s): beyond this only schema and small columns are read, and
# `Journal.read` checks each chunk's hash when its time comes.
WHOLE_CHECK_BYTES = 256 * 2**20


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
    streams = list(salvage_streams(path, None, vfs))
    raise JournalDamaged(
        f"{path} is damaged ({wrong}). {sum(s.saved for s in streams)} chunks of {len(streams)} streams "
        f"can be saved, {sum(len(s.lost) for s in streams)} are known to be lost. Nothing was changed: copy "
        f"the file and its -wal if you want an expert to look, then start with accept_damaged_journal "
        f"(EDGE_ACCEPT_DAMAGED_JOURNAL=1) to go on with what can be saved; the damaged file stays beside it."
    )


def find_damage(path: Path, vfs: str | None = None) -> str | None:
    """What is wrong with the file, None where nothing was found."""
    try:
        with reading(path, vfs) as connection:
            version = connection.pragma("user_version")
            if version not in LAYOUTS:
                # Cut off before its schema, so that nothing was ever acknowledged here; or a newer program's.
                return None
            layout = LAYOUTS[version]
            if path.stat().st_size <= WHOLE_CHECK_BYTES:
                return in_snapshot(connection, partial(_check_whole, layout=layout))
            if version == max(LAYOUTS):
                tables.measure(connection)
            else:
                # The small columns here too: all that a migration reads.
                connection.execute(
                    "SELECT max(length(sha256) + length(identity) + at) FROM chunks"
                ).fetchall()
    except (*DAMAGE, JournalDamaged) as error:
        return str(error)
    return None


def _check_whole(connection: apsw.Connection, layout: FileLayout) -> str | None:
    verdict = str(connection.execute("PRAGMA quick_check(1)").get)
    if verdict != "ok":
        return verdict
    chunks = 0
    for id_, sha256, pcm in connection.execute(layout.whole()):
        chunks += 1
        if not tables.is_whole(pcm, sha256):
            return f"the audio of row {id_} does not match its sha256"
    audio = connection.execute(f"SELECT count(*) FROM {layout.table}").get  # noqa: S608  # a constant
    return None if audio == chunks else f"{audio} rows of audio for {chunks} chunks"


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
        streams = list(salvage_streams(path, target, vfs))
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
