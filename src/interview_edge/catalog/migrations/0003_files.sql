-- Files: the objects of the audio, counted, given up and swept (contract storage.md). Times are epoch ms.

-- `objects.expired`: 0 is readable, 1 has expired and its object may still be there, 2 is gone.
CREATE INDEX objects_undeleted ON objects (session_id, object_key) WHERE expired = 1;
CREATE INDEX objects_expired ON objects (session_id, stream) WHERE expired > 0;

-- Of files that haven't expired.
ALTER TABLE streams ADD COLUMN file_count BIGINT NOT NULL DEFAULT 0;
ALTER TABLE streams ADD COLUMN file_bytes BIGINT NOT NULL DEFAULT 0;
UPDATE streams SET
    file_count = (
        SELECT count(DISTINCT o.object_key) FROM objects o
        WHERE o.session_id = streams.session_id AND o.stream = streams.stream AND o.expired = 0
    ),
    file_bytes = (
        SELECT coalesce(sum(f.size), 0) FROM (
            SELECT max(o.object_size) AS size FROM objects o
            WHERE o.session_id = streams.session_id AND o.stream = streams.stream AND o.expired = 0
            GROUP BY o.object_key
        ) f
    );

-- The session has no file left that was stored before this.
ALTER TABLE sessions ADD COLUMN swept_before BIGINT NOT NULL DEFAULT 0;
