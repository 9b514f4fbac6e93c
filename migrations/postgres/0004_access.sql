-- Requests for access and what became of them. Online: a new table, which the program before this one does not know.
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
