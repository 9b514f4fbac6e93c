-- The first schema. Each file here is applied once, in a transaction of its own, by `vestibule migrate up`.
--
-- As in migrations/sqlite: times are microseconds since the Unix epoch, UTC; digests are 32 bytes; names are text as the
-- rest of the program writes them. Ids are UUIDs of version 7, which begin with their time: so objects are partitioned by
-- month on their id alone, and a look-up by id reads one partition. There are no sequences and no foreign keys: an
-- object's row is never removed, and what names an object is written in the transaction that has just read it.

-- One row for each upload. Everything but state, life, revision, updated_at and held_bytes is fixed at issuance.
CREATE TABLE objects (
    id                uuid   NOT NULL PRIMARY KEY,
    grant_id          uuid   NOT NULL,
    app               text   NOT NULL,
    workflow          text   NOT NULL,
    token_id          text   NOT NULL,
    owner             text   NOT NULL,
    environment       text   NOT NULL,
    user_id           text,
    target            text   NOT NULL,
    staging_path      text   NOT NULL,
    served_path       text   NOT NULL,
    filename          text   NOT NULL,
    original_filename text   NOT NULL,
    content_type      text   NOT NULL,
    size              bigint NOT NULL CHECK (size >= 0),
    sha256            bytea  CHECK (octet_length(sha256) = 32),
    method            text   NOT NULL,
    classification    text   NOT NULL,
    lawful_basis      text,
    residency         text   NOT NULL,
    metadata          text   NOT NULL,            -- JSON object
    created_at        bigint NOT NULL,
    upload_expires_at bigint NOT NULL,
    updated_at        bigint NOT NULL,
    revision          bigint NOT NULL,            -- the compare-and-set of every transition
    state             text   NOT NULL,            -- the name of life, for indexes
    life              text   NOT NULL,            -- JSON
    held_bytes        bigint                      -- what counts against the quota; NULL once it was given back
) PARTITION BY RANGE (id);

-- An app's objects, newest first, and the same in one state: without that, a state that is rare is looked for in all of
-- them. What was only asked for is not in them, so that URLs, which are most of all writes, do not change a page for each
-- app.
CREATE INDEX objects_by_app ON objects (app, id DESC) WHERE state <> 'issued';
CREATE INDEX objects_by_state ON objects (app, state, id DESC) WHERE state <> 'issued';
-- What waits for review, of every app: rare among all objects.
CREATE INDEX objects_held ON objects (id DESC) WHERE state IN ('quarantined', 'unscannable');
-- What the sweep looks for, and an app's open uploads: small, because an object leaves it with its first transition.
CREATE INDEX objects_issued ON objects (id DESC, app, upload_expires_at) WHERE state = 'issued';

-- How many objects are in each state: the sum over the shards. Every committer adds to a shard of its own, so that no
-- row is one that everybody waits for.
CREATE TABLE state_counts (
    shard   smallint NOT NULL,
    state   text     NOT NULL,
    objects bigint   NOT NULL,
    PRIMARY KEY (shard, state)
) WITH (fillfactor = 50);

-- What each app holds, reservations included. The row is what concurrent requests of one app wait for, on every node.
CREATE TABLE app_usage (
    app     text   NOT NULL PRIMARY KEY,
    bytes   bigint NOT NULL CHECK (bytes >= 0),
    objects bigint NOT NULL CHECK (objects >= 0)
) WITH (fillfactor = 50);

-- A client's promise that two requests are one. Removed after a day.
CREATE TABLE idempotency (
    app         text   NOT NULL,
    workflow    text   NOT NULL,
    environment text   NOT NULL,                  -- a test token never gets what a live token's key stands for
    key         text   NOT NULL,
    body        bytea  NOT NULL CHECK (octet_length(body) = 32),
    object_id   uuid   NOT NULL,
    created_at  bigint NOT NULL,
    PRIMARY KEY (app, workflow, environment, key)
);

CREATE INDEX idempotency_by_age ON idempotency (created_at);

-- Follow-up work, at most one of each kind for an object.
CREATE TABLE jobs (
    object_id  uuid    NOT NULL,
    kind       text    NOT NULL,
    queued_at  bigint  NOT NULL,                  -- when it first became due
    ready_at   bigint  NOT NULL,                  -- when it may be claimed: its due time, or the end of a running lease
    attempts   integer NOT NULL DEFAULT 0,
    lease      uuid,                              -- of the claim; NULL while nobody holds it
    last_error text,
    PRIMARY KEY (object_id, kind)
);

CREATE INDEX jobs_ready ON jobs (kind, ready_at);

-- One-time download links, by the hash of their secret.
CREATE TABLE links (
    hash        bytea  NOT NULL PRIMARY KEY CHECK (octet_length(hash) = 32),
    object_id   uuid   NOT NULL,
    grant_id    uuid   NOT NULL,
    token_id    text   NOT NULL,
    disposition text   NOT NULL,
    expires_at  bigint NOT NULL,
    used_at     bigint
);

CREATE INDEX links_by_expiry ON links (expires_at);

-- Tokens by their public half. Only a hash of the whole token is kept.
CREATE TABLE tokens (
    id          text   NOT NULL PRIMARY KEY,
    hash        bytea  NOT NULL CHECK (octet_length(hash) = 32),
    holder      text   NOT NULL CHECK (holder IN ('workflow', 'operator')),
    name        text   NOT NULL,                  -- the workflow's or the operator's
    app         text,
    owner       text,
    environment text,
    scopes      text   NOT NULL DEFAULT '[]',     -- JSON array of strings
    created_at  bigint NOT NULL,
    expires_at  bigint,
    revoked_at  bigint
);

-- The audit trail. The number is made by whoever writes the entry, from the entry's time, so that no sequence is shared
-- and that a month of entries is a range of numbers: src/store/postgres/numbers.rs.
CREATE TABLE audit (
    seq       bigint NOT NULL PRIMARY KEY,
    time      bigint NOT NULL,
    app       text,
    token_id  text,
    object_id uuid,
    entry     text   NOT NULL                     -- JSON, the same text as in the log file
) PARTITION BY RANGE (seq);

CREATE INDEX audit_by_app ON audit (app, seq) WHERE app IS NOT NULL;
CREATE INDEX audit_by_token ON audit (token_id, seq) WHERE token_id IS NOT NULL;
CREATE INDEX audit_by_object ON audit (object_id, seq) WHERE object_id IS NOT NULL;

-- Entries are never changed nor deleted; months past their retention are dropped as a whole. This stops a mistaken
-- statement, not someone who owns the table.
CREATE FUNCTION vestibule_audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit trail is append-only; months past their retention are dropped as a whole';
END
$$;

CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE ON audit
FOR EACH ROW EXECUTE FUNCTION vestibule_audit_is_append_only();

-- Messages that nobody could read. Their numbers are made like those of the audit trail.
CREATE TABLE dead_letters (
    seq    bigint NOT NULL PRIMARY KEY,
    source text   NOT NULL,
    at     bigint NOT NULL,
    reason text   NOT NULL,
    body   text   NOT NULL
);

CREATE INDEX dead_letters_by_age ON dead_letters (at);

-- Values that the process keeps across restarts.
CREATE TABLE settings (
    name  text  NOT NULL PRIMARY KEY,
    value bytea NOT NULL
);

-- Written by the readiness probe: proof that the database takes a write. One row for each shard, as above.
CREATE TABLE probe (
    shard  smallint NOT NULL PRIMARY KEY,
    probes bigint   NOT NULL
) WITH (fillfactor = 50);

-- Locked by whoever makes or drops partitions, for the length of that transaction.
CREATE TABLE partition_keeper (
    only_row smallint NOT NULL PRIMARY KEY CHECK (only_row = 1)
);
INSERT INTO partition_keeper (only_row) VALUES (1);
