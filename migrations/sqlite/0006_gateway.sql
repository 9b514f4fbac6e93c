-- The gateway's own keys: what it signs tokens with, what its nonces are made from, what webhooks are known by. The newest
-- of a purpose is used; the earlier ones are accepted until their time.
CREATE TABLE gateway_keys (
    purpose        TEXT    NOT NULL,
    number         INTEGER NOT NULL,             -- 1, 2, …: two nodes never make the same one
    id             TEXT    NOT NULL UNIQUE,      -- the `kid`
    secret         BLOB    NOT NULL,
    created_at     INTEGER NOT NULL,
    accepted_until INTEGER,                      -- NULL for the newest
    PRIMARY KEY (purpose, number)
) STRICT, WITHOUT ROWID;

-- Proofs that were used (RFC 9449 section 11.1), by the SHA-256 of key and jti.
CREATE TABLE proofs (
    hash       BLOB    PRIMARY KEY CHECK (length(hash) = 32),
    keep_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX proofs_by_age ON proofs (keep_until);

-- The nodes that serve, each by its own word.
CREATE TABLE nodes (
    id         BLOB    PRIMARY KEY CHECK (length(id) = 16),
    url        TEXT    NOT NULL,                 -- where its public listener is reached
    version    TEXT    NOT NULL,
    started_at INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Reviewers who agree to a release that needs more than one: about exactly this revision of the object.
CREATE TABLE release_approvals (
    object_id TEXT    NOT NULL,
    revision  INTEGER NOT NULL,
    by        TEXT    NOT NULL,
    reason    TEXT    NOT NULL,
    at        INTEGER NOT NULL,
    PRIMARY KEY (object_id, revision, by)
) STRICT, WITHOUT ROWID;
