-- A stream gets a short number, so that a chunk's key is one integer.
CREATE TABLE streams (
    no INTEGER PRIMARY KEY,
    session_id TEXT NOT NULL,
    stream TEXT NOT NULL,
    duplicates INTEGER NOT NULL DEFAULT 0,
    UNIQUE (session_id, stream)
);

-- id = no << 32 | seq: the primary key is the only index, and a stream's chunks lie next to each other in order.
-- The audio comes last: reading the columns before it touches none of its overflow pages.
CREATE TABLE chunks (
    id INTEGER PRIMARY KEY,
    timestamp_ms INTEGER NOT NULL,
    final INTEGER NOT NULL,
    at INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    identity BLOB NOT NULL,
    pcm BLOB NOT NULL
);

-- What is about to be put, written down before the put.
CREATE TABLE plans (
    no INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    layout TEXT NOT NULL,
    format TEXT NOT NULL,
    object_key TEXT,
    sha256 BLOB,
    PRIMARY KEY (no, first, last)
);
