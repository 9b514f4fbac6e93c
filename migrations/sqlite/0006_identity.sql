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
    targets   TEXT    NOT NULL,                  -- what a revocation may name to void it, JSON array
    reason    TEXT    NOT NULL,
    at        INTEGER NOT NULL,
    PRIMARY KEY (object_id, revision, by)
) STRICT, WITHOUT ROWID;
CREATE INDEX release_approvals_by_age ON release_approvals (at);

-- Where tokens come from, what they are bound to and what became of them; revocations of more than one token.

-- NULL in each is what a token of the program before had: provisioned, bound to nothing, and of an operator the role admin.
ALTER TABLE tokens ADD COLUMN roles        TEXT;     -- an operator's, JSON array
ALTER TABLE tokens ADD COLUMN origin       TEXT;     -- provisioned, exchanged, derived
ALTER TABLE tokens ADD COLUMN issuer       TEXT;     -- whose assertion it was exchanged for
ALTER TABLE tokens ADD COLUMN parent       TEXT;     -- the token that it was derived from
ALTER TABLE tokens ADD COLUMN binding      TEXT;     -- the key that its holder must prove: jkt:… or x5t#S256:…
ALTER TABLE tokens ADD COLUMN key_id       TEXT;     -- the gateway's key that has signed it
ALTER TABLE tokens ADD COLUMN last_used_at INTEGER;
ALTER TABLE tokens ADD COLUMN successor    TEXT;     -- the token that replaces it
ALTER TABLE tokens ADD COLUMN request_id   TEXT;     -- the request for access that it was made for
-- From the subject, for revocations to find them.
ALTER TABLE tokens ADD COLUMN user_id      TEXT;
ALTER TABLE tokens ADD COLUMN device       TEXT;
UPDATE tokens SET user_id = subject ->> 'user', device = subject ->> 'device' WHERE subject IS NOT NULL;

-- What a revocation looks for.
CREATE INDEX tokens_by_app ON tokens (app, name);
CREATE INDEX tokens_by_owner ON tokens (owner);
CREATE INDEX tokens_by_user ON tokens (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX tokens_by_device ON tokens (device) WHERE device IS NOT NULL;
CREATE INDEX tokens_by_parent ON tokens (parent) WHERE parent IS NOT NULL;
-- What is listed, newest first: tokens that live for minutes are many, and are not in it.
CREATE INDEX tokens_provisioned ON tokens (created_at, id) WHERE origin IS NULL;
-- What is removed some days after its end.
CREATE INDEX tokens_by_end ON tokens (expires_at) WHERE origin IS NOT NULL;

-- Each revocation. While it blocks, no token is made for its target.
CREATE TABLE revocations (
    id           TEXT    PRIMARY KEY,
    target       TEXT    NOT NULL,                 -- token:…, workflow:app/name, app:…, user:…, device:…, owner:…, key:…
    at           INTEGER NOT NULL,
    revoked_by   TEXT    NOT NULL,
    reason       TEXT    NOT NULL,
    blocks       INTEGER NOT NULL CHECK (blocks IN (0, 1)),
    lifted_at    INTEGER,                          -- when the block ended
    lifted_by    TEXT,
    contain      INTEGER NOT NULL CHECK (contain IN (0, 1)),
    contained_at INTEGER,                          -- when everything that was uploaded under it was contained
    killed       INTEGER NOT NULL CHECK (killed >= 0)
) STRICT, WITHOUT ROWID;

CREATE INDEX revocations_by_target ON revocations (target);
CREATE INDEX revocations_to_contain ON revocations (id) WHERE contain = 1 AND contained_at IS NULL;

-- Requests for access and what became of them.
CREATE TABLE access_requests (
    id            TEXT    PRIMARY KEY,
    asked         TEXT    NOT NULL,              -- what for, JSON
    requested_by  TEXT    NOT NULL,
    reason        TEXT    NOT NULL,
    created_at    INTEGER NOT NULL,
    life          TEXT    NOT NULL,              -- the whole state, JSON
    app           TEXT    NOT NULL,
    state         TEXT    NOT NULL,              -- the name of the state
    claim         BLOB    CHECK (claim IS NULL OR length(claim) = 32), -- SHA-256 of the link's secret, while it works
    claim_ends_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX access_requests_by_claim ON access_requests (claim) WHERE claim IS NOT NULL;
CREATE INDEX access_requests_by_state ON access_requests (state, id);
