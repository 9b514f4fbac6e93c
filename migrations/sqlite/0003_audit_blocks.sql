-- Where the entries of an app, and of a token, lie: in which blocks of 256 numbers, instead of an index entry for each
-- entry. A busy app has one row here for 256 entries; whoever asks for an app's entries reads its blocks from the newest
-- on, and of those what is the app's.
DROP INDEX audit_by_app;
DROP INDEX audit_by_token;
CREATE TABLE audit_blocks (
    kind  TEXT NOT NULL CHECK (kind IN ('app', 'token')),
    name  TEXT NOT NULL,
    block INTEGER NOT NULL,                       -- audit.seq divided by 256
    PRIMARY KEY (kind, name, block)
) STRICT, WITHOUT ROWID;
INSERT INTO audit_blocks SELECT DISTINCT 'app', app, seq >> 8 FROM audit WHERE app IS NOT NULL;
INSERT INTO audit_blocks SELECT DISTINCT 'token', token_id, seq >> 8 FROM audit WHERE token_id IS NOT NULL;

-- For their removal, together with the entries.
CREATE INDEX audit_blocks_by_age ON audit_blocks (block);
