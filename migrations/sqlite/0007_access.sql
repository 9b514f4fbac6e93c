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
