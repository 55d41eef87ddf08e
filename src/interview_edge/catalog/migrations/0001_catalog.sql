-- Written so that PostgreSQL can run the same text with BYTEA for BLOB. Times are epoch ms.

CREATE TABLE sessions (
    session_id TEXT PRIMARY KEY,
    epoch BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    state TEXT NOT NULL, -- JSON
    event_count BIGINT NOT NULL DEFAULT 0,
    finalized_at BIGINT,
    result_key TEXT,
    fingerprint TEXT,
    answer TEXT, -- JSON
    deleted_at BIGINT, -- the tombstone: the row stays for ever
    purged_at BIGINT
);
CREATE INDEX sessions_newest ON sessions (created_at, session_id);

CREATE TABLE streams (
    session_id TEXT NOT NULL REFERENCES sessions,
    stream TEXT NOT NULL,
    held TEXT NOT NULL, -- JSON: [[first, last], ...]
    final_seq BIGINT,
    final_length BIGINT NOT NULL DEFAULT 0,
    duplicates BIGINT NOT NULL DEFAULT 0,
    started_at BIGINT,
    updated_at BIGINT,
    vad_sample BIGINT,
    vad_tracker TEXT, -- JSON
    extent_count BIGINT NOT NULL DEFAULT 0,
    longest_extent BIGINT NOT NULL DEFAULT 0, -- in seqs: bounds the search for the extents of a seq
    PRIMARY KEY (session_id, stream)
);

CREATE TABLE objects (
    session_id TEXT NOT NULL,
    stream TEXT NOT NULL,
    first BIGINT NOT NULL,
    last BIGINT NOT NULL,
    object_key TEXT NOT NULL,
    length BIGINT NOT NULL,
    sha256 BLOB NOT NULL,
    format TEXT NOT NULL,
    start BIGINT NOT NULL, -- the extent's offset
    object_size BIGINT NOT NULL,
    stored_at BIGINT NOT NULL,
    expired INTEGER NOT NULL,
    recorded BIGINT NOT NULL, -- counts on from 1 in its stream: where two hold a seq, the lower stands
    PRIMARY KEY (session_id, stream, first, last, object_key),
    FOREIGN KEY (session_id, stream) REFERENCES streams
);

-- 64 identities of 16 bytes each, of seqs block * 64 + 1 and on; zeros where none is held.
CREATE TABLE identities (
    session_id TEXT NOT NULL,
    stream TEXT NOT NULL,
    block BIGINT NOT NULL,
    digests BLOB NOT NULL,
    PRIMARY KEY (session_id, stream, block),
    FOREIGN KEY (session_id, stream) REFERENCES streams
);

CREATE TABLE events (
    session_id TEXT NOT NULL REFERENCES sessions,
    seq_no BIGINT NOT NULL,
    ts BIGINT NOT NULL,
    type TEXT NOT NULL,
    stream TEXT,
    body TEXT NOT NULL, -- JSON
    PRIMARY KEY (session_id, seq_no)
);

CREATE TABLE idempotency (
    session_id TEXT NOT NULL REFERENCES sessions,
    idempotency_key TEXT NOT NULL,
    body_digest BLOB NOT NULL,
    answer BLOB NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (session_id, idempotency_key)
);
CREATE INDEX idempotency_oldest ON idempotency (created_at);
