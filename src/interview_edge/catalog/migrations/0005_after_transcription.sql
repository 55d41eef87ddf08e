-- Whether it is to be found out who speaks, once the utterance is written.
ALTER TABLE untranscribed ADD COLUMN resolve INTEGER NOT NULL DEFAULT 0;
-- How many lines or names the last result went without: it is written anew once none of them waits.
ALTER TABLE sessions ADD COLUMN lines_missing BIGINT NOT NULL DEFAULT 0;
CREATE INDEX sessions_lines_missing ON sessions (session_id) WHERE lines_missing > 0;
