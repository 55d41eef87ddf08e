-- The audio is only ever appended to, however many streams are live: a chunk in the middle of a table of 32 kB rows
-- moved its neighbours' pages too (118 kB written a chunk with 20 streams, 156 with 200, 65 with one). And the start,
-- which reads the small columns of all chunks, reads no page of audio for it: it was half of a backlog's bytes.
-- The old table becomes the audio's with every page where it is: a full journal needs no disk for its audio.
ALTER TABLE chunks RENAME TO audio;
ALTER TABLE audio RENAME COLUMN id TO no;
-- The chunk's id, so that a row tells whose audio it is even where `chunks` is damaged: one page of that holds a
-- hundred chunks. NULL in rows from before: their number is the id. The other small columns stay for the same reason,
-- and are free: a row takes four pages with or without them.
ALTER TABLE audio ADD COLUMN id INTEGER;

-- id = no << 32 | seq: the primary key is the only index, and a stream's chunks lie next to each other in order.
-- `audio` is the number of the audio's row. A chunk and its audio come and go in one transaction.
CREATE TABLE chunks (
    id INTEGER PRIMARY KEY,
    timestamp_ms INTEGER NOT NULL,
    final INTEGER NOT NULL,
    at INTEGER NOT NULL,
    length INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    identity BLOB NOT NULL,
    audio INTEGER NOT NULL
);
INSERT INTO chunks SELECT no, timestamp_ms, final, at, length(pcm), sha256, identity, no FROM audio;
