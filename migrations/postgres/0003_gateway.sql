-- The gateway's own keys, proofs, nodes and approvals. Online: new tables only, which the program before this one does not
-- know.

-- What tokens are signed with, what nonces are made from, what webhooks are known by. The newest of a purpose is used; the
-- earlier ones are accepted until their time.
CREATE TABLE gateway_keys (
    purpose        text   NOT NULL,
    number         bigint NOT NULL,              -- 1, 2, …: two nodes never make the same one
    id             text   NOT NULL UNIQUE,       -- the `kid`
    secret         bytea  NOT NULL,
    created_at     bigint NOT NULL,
    accepted_until bigint,                       -- NULL for the newest
    PRIMARY KEY (purpose, number)
);

-- Proofs that were used (RFC 9449 section 11.1), by the SHA-256 of key and jti.
CREATE TABLE proofs (
    hash       bytea  NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
    keep_until bigint NOT NULL
);
CREATE INDEX proofs_by_age ON proofs (keep_until);

-- The nodes that serve, each by its own word.
CREATE TABLE nodes (
    id         uuid   NOT NULL PRIMARY KEY,
    url        text   NOT NULL,                  -- where its public listener is reached
    version    text   NOT NULL,
    started_at bigint NOT NULL,
    seen_at    bigint NOT NULL
);

-- Reviewers who agree to a release that needs more than one: about exactly this revision of the object.
CREATE TABLE release_approvals (
    object_id uuid   NOT NULL,
    revision  bigint NOT NULL,
    by        text   NOT NULL,
    reason    text   NOT NULL,
    at        bigint NOT NULL,
    PRIMARY KEY (object_id, revision, by)
);
