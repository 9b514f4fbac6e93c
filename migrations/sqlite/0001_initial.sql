-- The first schema. Applied in one transaction; user_version counts the migrations.
--
-- Times are microseconds since the Unix epoch, UTC. Digests are blobs of 32 bytes. Ids and names are text, as the rest
-- of the program writes them. Tables are STRICT: a column holds what it says.

-- One row for each upload. Everything but state, life, revision, updated_at and held_bytes is fixed at issuance.
-- There is no index on served_path: the object's id is the last directory of its key, and that is the primary key.
CREATE TABLE objects (
    id                TEXT PRIMARY KEY,
    grant_id          TEXT NOT NULL,
    app               TEXT NOT NULL,
    workflow          TEXT NOT NULL,
    token_id          TEXT NOT NULL,
    owner             TEXT NOT NULL,
    environment       TEXT NOT NULL,
    user_id           TEXT,
    target            TEXT NOT NULL,
    staging_path      TEXT NOT NULL,
    served_path       TEXT NOT NULL,
    filename          TEXT NOT NULL,
    original_filename TEXT NOT NULL,
    content_type      TEXT NOT NULL,
    size              INTEGER NOT NULL CHECK (size >= 0),
    sha256            BLOB CHECK (length(sha256) = 32),
    method            TEXT NOT NULL,
    classification    TEXT NOT NULL,
    lawful_basis      TEXT,
    residency         TEXT NOT NULL,
    metadata          TEXT NOT NULL,              -- JSON object
    created_at        INTEGER NOT NULL,
    upload_expires_at INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL,
    revision          INTEGER NOT NULL,           -- the compare-and-set of every transition
    state             TEXT NOT NULL,              -- the name of life, for indexes and counts
    life              TEXT NOT NULL,              -- JSON
    held_bytes        INTEGER                     -- what counts against the quota; NULL once it was given back
) STRICT, WITHOUT ROWID;

-- An app's objects, newest first.
CREATE INDEX objects_by_app ON objects (app, id DESC);
-- The same in one state: without it, a state that is rare is looked for in all of them.
CREATE INDEX objects_by_state ON objects (app, state, id DESC);
-- What the sweep looks for: small, because an object leaves it with its first transition.
CREATE INDEX objects_expirable ON objects (upload_expires_at) WHERE state = 'issued';

-- How many objects are in each state, kept by every transition: counting millions of rows for a metric is too dear.
CREATE TABLE state_counts (
    state   TEXT PRIMARY KEY,
    objects INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What each app holds, reservations included; the sum of held_bytes and the count of its non-NULL rows.
CREATE TABLE app_usage (
    app     TEXT PRIMARY KEY,
    bytes   INTEGER NOT NULL CHECK (bytes >= 0),
    objects INTEGER NOT NULL CHECK (objects >= 0)
) STRICT, WITHOUT ROWID;

-- A client's promise that two requests are one. Removed after a day.
CREATE TABLE idempotency (
    app         TEXT NOT NULL,
    workflow    TEXT NOT NULL,
    environment TEXT NOT NULL,                    -- a test token never gets what a live token's key stands for
    key         TEXT NOT NULL,
    body        BLOB NOT NULL CHECK (length(body) = 32),
    object_id   TEXT NOT NULL REFERENCES objects (id),
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (app, workflow, environment, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_by_age ON idempotency (created_at);

-- Follow-up work, at most one of each kind for an object.
CREATE TABLE jobs (
    object_id  TEXT NOT NULL REFERENCES objects (id),
    kind       TEXT NOT NULL,
    queued_at  INTEGER NOT NULL,                  -- when it first became due
    ready_at   INTEGER NOT NULL,                  -- when it may be claimed: its due time, or the end of a running lease
    attempts   INTEGER NOT NULL DEFAULT 0,
    lease      BLOB CHECK (length(lease) = 16),   -- the UUID of the claim; NULL while nobody holds it
    last_error TEXT,
    PRIMARY KEY (object_id, kind)
) STRICT, WITHOUT ROWID;

CREATE INDEX jobs_ready ON jobs (kind, ready_at);

-- One-time download links, by the hash of their secret.
CREATE TABLE links (
    hash        BLOB PRIMARY KEY CHECK (length(hash) = 32),
    object_id   TEXT NOT NULL REFERENCES objects (id),
    grant_id    TEXT NOT NULL,
    token_id    TEXT NOT NULL,
    disposition TEXT NOT NULL,
    expires_at  INTEGER NOT NULL,
    used_at     INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX links_by_expiry ON links (expires_at);

-- Tokens by their public half. Only a hash of the whole token is kept.
CREATE TABLE tokens (
    id          TEXT PRIMARY KEY,
    hash        BLOB NOT NULL CHECK (length(hash) = 32),
    holder      TEXT NOT NULL CHECK (holder IN ('workflow', 'operator')),
    name        TEXT NOT NULL,                    -- the workflow's or the operator's
    app         TEXT,
    owner       TEXT,
    environment TEXT,
    scopes      TEXT NOT NULL DEFAULT '[]',       -- JSON array of strings
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER,
    revoked_at  INTEGER
) STRICT, WITHOUT ROWID;

-- The audit trail. AUTOINCREMENT: a number is never given twice, so that a gap shows where something was removed.
CREATE TABLE audit (
    seq       INTEGER PRIMARY KEY AUTOINCREMENT,
    time      INTEGER NOT NULL,
    app       TEXT,
    token_id  TEXT,
    object_id TEXT,
    entry     TEXT NOT NULL                       -- JSON, the same text as in the log file
) STRICT;

CREATE INDEX audit_by_app ON audit (app) WHERE app IS NOT NULL;
CREATE INDEX audit_by_token ON audit (token_id) WHERE token_id IS NOT NULL;
CREATE INDEX audit_by_object ON audit (object_id) WHERE object_id IS NOT NULL;

-- Entries are never changed, and removed only when they are older than the retention time that the pruning transaction
-- writes here and takes back before it commits. This stops a mistaken statement, not someone who owns the file.
CREATE TABLE audit_retention (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    before   INTEGER NOT NULL
) STRICT;
INSERT INTO audit_retention (only_row, before) VALUES (1, -9223372036854775808);

CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit trail is append-only');
END;

CREATE TRIGGER audit_is_only_pruned BEFORE DELETE ON audit
WHEN OLD.time >= (SELECT before FROM audit_retention)
BEGIN
    SELECT RAISE(ABORT, 'the audit trail is append-only; only entries past their retention are pruned');
END;

-- Messages that nobody could read.
CREATE TABLE dead_letters (
    seq    INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL,
    at     INTEGER NOT NULL,
    reason TEXT NOT NULL,
    body   TEXT NOT NULL
) STRICT;

CREATE INDEX dead_letters_by_age ON dead_letters (at);

-- Values that the process keeps across restarts.
CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Written by the readiness probe: proof that the database takes a write.
CREATE TABLE probe (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    probes   INTEGER NOT NULL
) STRICT;
INSERT INTO probe (only_row, probes) VALUES (1, 0);
