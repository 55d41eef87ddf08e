"""What a chunk costs, counted in pages: the same for one stream and for many; and what the start reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import pytest

from interview_edge.core.models import StreamKey
from interview_edge.journal import Append, tables
from interview_edge.journal.journal import PAGE_SIZE
from interview_edge.sqlite import configure, in_transaction, migrate

BATCH = 20


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[apsw.Connection]:
    with closing(apsw.Connection(str(tmp_path / "journal.db"))) as connection:
        configure(connection, page_size=PAGE_SIZE, incremental_vacuum=True)
        migrate(connection, package="interview_edge.journal")
        yield connection


def write(connection: apsw.Connection, feeder: Any, streams: int, seqs: range, size: int = 32_000) -> int:
    """Give each stream its seqs in turn, as live streams do; the bytes that went into the WAL."""
    connection.wal_autocheckpoint(0)
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    entries = [
        Append(StreamKey(f"s{n}"), feeder(None).chunk(seq, size=size), 5, print)
        for seq in seqs
        for n in range(streams)
    ]
    for at in range(0, len(entries), BATCH):
        in_transaction(connection, partial(tables.insert, batch=entries[at : at + BATCH]))
    return Path(connection.filename + "-wal").stat().st_size


def test_a_chunk_of_many_streams_writes_what_a_chunk_of_one_does(
    connection: apsw.Connection, feeder: Any
) -> None:
    write(connection, feeder, 40, range(1, 101), size=2)  # so many rows that each stream has pages of its own
    of_one = write(connection, feeder, 1, range(101, 181)) / 80
    of_many = write(connection, feeder, 40, range(201, 203)) / 80
    assert of_one < 1.2 * 32_000
    assert of_many < 1.4 * of_one  # with the audio in the chunk's row: 1.6


def test_the_start_reads_no_audio(connection: apsw.Connection, feeder: Any) -> None:
    write(connection, feeder, 2, range(1, 51))
    with closing(apsw.Connection(connection.filename)) as fresh:
        assert tables.measure(fresh).rows == 100
        assert [s.rows for s in tables.streams(fresh)] == [50, 50]
        assert len(tables.rows(fresh, StreamKey("s1"), 1, None, 1_000)) == 50
        pages_read, _ = fresh.status(apsw.SQLITE_DBSTATUS_CACHE_MISS)
    assert pages_read < 20  # a hundred chunks have four hundred pages
