-- Who may do what, and how much (contract gateway.md, Auth and Usage). Times are epoch ms.

ALTER TABLE sessions ADD COLUMN owner TEXT NOT NULL DEFAULT 'local'; -- recorded before there were keys
ALTER TABLE sessions ADD COLUMN key_id TEXT; -- the key that opened it first: its usage counts there
CREATE INDEX sessions_newest_of_owner ON sessions (owner, created_at, session_id);

CREATE TABLE api_keys (
    key_id TEXT PRIMARY KEY,
    digest BLOB NOT NULL, -- SHA-256 of the secret; the secret is nowhere
    name TEXT NOT NULL,
    owner TEXT NOT NULL,
    scopes TEXT NOT NULL, -- with spaces between
    quotas TEXT NOT NULL, -- JSON: {what: amount a day}
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT,
    last_used_at BIGINT
);

-- What stands for somebody who has shown a key or a JWT: one-use tickets, and the logins of pages.
CREATE TABLE grants (
    kind TEXT NOT NULL, -- ticket, login
    digest BLOB NOT NULL, -- SHA-256 of what the client was given
    owner TEXT NOT NULL,
    key_id TEXT,
    scopes TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    until BIGINT, -- the end of the credential itself, where it has one
    PRIMARY KEY (kind, digest)
);
CREATE INDEX grants_oldest ON grants (expires_at);

-- Only ever appended to: the triggers hold it (PostgreSQL: REVOKE UPDATE, DELETE).
CREATE TABLE audit (
    number BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    owner TEXT,
    key_id TEXT,
    action TEXT NOT NULL,
    target TEXT,
    address TEXT,
    request_id TEXT,
    outcome TEXT NOT NULL,
    detail TEXT NOT NULL -- JSON
);
CREATE TRIGGER audit_stays BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit rows stay as they are'); END;
-- Numbered on without holes; without this one, INSERT OR REPLACE would change a row and fire no trigger.
CREATE TRIGGER audit_grows BEFORE INSERT ON audit
WHEN NEW.number <> (SELECT coalesce(max(number), 0) + 1 FROM audit)
BEGIN SELECT RAISE(ABORT, 'audit rows are numbered on from the last'); END;
CREATE TRIGGER audit_keeps BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit rows are never deleted'); END;

CREATE TABLE usage (
    day TEXT NOT NULL, -- UTC, YYYY-MM-DD
    owner TEXT NOT NULL,
    key_id TEXT NOT NULL, -- empty for a user of JWTs
    what TEXT NOT NULL,
    amount BIGINT NOT NULL,
    PRIMARY KEY (day, owner, key_id, what)
);

-- What is under way and may yet be counted: settled into usage, cancelled, or forgotten after expires_at.
CREATE TABLE reservations (
    reservation_id TEXT PRIMARY KEY,
    day TEXT NOT NULL,
    owner TEXT NOT NULL,
    key_id TEXT NOT NULL,
    what TEXT NOT NULL,
    amount BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX reservations_of_owner ON reservations (owner, day, what);
