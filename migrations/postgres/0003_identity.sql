-- The gateway's own keys, proofs, nodes and approvals; where tokens come from, what they are bound to and what became of
-- them; revocations of more than one token.
--
-- Online: new tables, and columns without defaults, so that no row is rewritten and the program before this one neither
-- reads nor writes them. While that one still runs, it honours each revocation, since it reads revoked_at; but it does not
-- look for blocks, so that a token which it makes for somebody who is blocked works until that one is revoked again. Nor does
-- it look at roles and bindings: to it every operator's token is an admin's and a bound token a bearer token, and it cannot read
-- an object that was contained. So nobody makes operators with roles, binds tokens or contains before the last old node has ended.

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
    targets   text   NOT NULL, -- what a revocation may name to void it, JSON array
    reason    text   NOT NULL,
    at        bigint NOT NULL,
    PRIMARY KEY (object_id, revision, by)
);
CREATE INDEX release_approvals_by_age ON release_approvals (at);

-- Each revocation. While it blocks, no token is made for its target. Ids are text: nothing is partitioned by them.
CREATE TABLE revocations (
    id           text     NOT NULL PRIMARY KEY,
    target       text     NOT NULL,               -- token:…, workflow:app/name, app:…, user:…, device:…, owner:…, key:…
    at           bigint   NOT NULL,
    revoked_by   text     NOT NULL,
    reason       text     NOT NULL,
    blocks       bigint   NOT NULL CHECK (blocks IN (0, 1)),
    lifted_at    bigint,                          -- when the block ended
    lifted_by    text,
    contain      bigint   NOT NULL CHECK (contain IN (0, 1)),
    contained_at bigint,                          -- when everything that was uploaded under it was contained
    killed       bigint   NOT NULL CHECK (killed >= 0)
);

CREATE INDEX revocations_by_target ON revocations (target);
CREATE INDEX revocations_to_contain ON revocations (id) WHERE contain = 1 AND contained_at IS NULL;

-- Last, because the locks keep everybody out until the end of the transaction; tokens are few as yet.
-- NULL in each is what a token of the program before had: provisioned, bound to nothing, and of an operator the role admin.
ALTER TABLE tokens
    ADD COLUMN roles        text,                 -- an operator's, JSON array
    ADD COLUMN origin       text,                 -- provisioned, exchanged, derived
    ADD COLUMN issuer       text,                 -- whose assertion it was exchanged for
    ADD COLUMN parent       text,                 -- the token that it was derived from
    ADD COLUMN binding      text,                 -- the key that its holder must prove: jkt:… or x5t#S256:…
    ADD COLUMN key_id       text,                 -- the gateway's key that has signed it
    ADD COLUMN last_used_at bigint,
    ADD COLUMN successor    text,                 -- the token that replaces it
    ADD COLUMN request_id   text,                 -- the request for access that it was made for
    -- From the subject, for revocations to find them. What the program before writes has them in the subject only.
    ADD COLUMN user_id      text,
    ADD COLUMN device       text;
UPDATE tokens SET user_id = subject::json ->> 'user', device = subject::json ->> 'device' WHERE subject IS NOT NULL;

-- What a revocation looks for.
CREATE INDEX tokens_by_app ON tokens (app, name);
CREATE INDEX tokens_by_owner ON tokens (owner);
CREATE INDEX tokens_by_user ON tokens (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX tokens_by_device ON tokens (device) WHERE device IS NOT NULL;
CREATE INDEX tokens_by_parent ON tokens (parent) WHERE parent IS NOT NULL;
-- What the program before this one has made for a person since: a revocation brings it up to date first.
CREATE INDEX tokens_without_user ON tokens (id) WHERE user_id IS NULL AND subject IS NOT NULL;
-- What is listed, newest first: tokens that live for minutes are many, and are not in it.
CREATE INDEX tokens_provisioned ON tokens (created_at, id) WHERE origin IS NULL;
-- What is removed some days after its end.
CREATE INDEX tokens_by_end ON tokens (expires_at) WHERE origin IS NOT NULL;

-- Requests for access and what became of them.
CREATE TABLE access_requests (
    id            text   NOT NULL PRIMARY KEY,
    asked         text   NOT NULL,               -- what for, JSON
    requested_by  text   NOT NULL,
    reason        text   NOT NULL,
    created_at    bigint NOT NULL,
    life          text   NOT NULL,               -- the whole state, JSON
    app           text   NOT NULL,
    state         text   NOT NULL,               -- the name of the state
    claim         bytea  CHECK (length(claim) = 32), -- SHA-256 of the link's secret, while it works
    claim_ends_at bigint
);

CREATE UNIQUE INDEX access_requests_by_claim ON access_requests (claim) WHERE claim IS NOT NULL;
CREATE INDEX access_requests_by_state ON access_requests (state, id);
