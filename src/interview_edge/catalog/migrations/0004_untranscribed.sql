-- Utterances that were heard and aren't written yet: put in with the event of their end, taken out with the
-- event of their transcript, so that a crash loses and doubles none.
CREATE TABLE untranscribed (
    session_id TEXT NOT NULL REFERENCES sessions,
    stream TEXT NOT NULL,
    utterance BIGINT NOT NULL,
    start_sample BIGINT NOT NULL,
    end_sample BIGINT NOT NULL,
    PRIMARY KEY (session_id, stream, utterance)
);
