-- Fewer and cheaper writes for each URL: an index less on objects, indexes that grow at their end, and no counter beside
-- the audit trail.

-- An app's objects in one state, by age. Read backwards for the newest; grows at its end, where a page splits cheaply.
-- An app's objects of every state are merged from here.
DROP INDEX objects_by_app;
DROP INDEX objects_by_state;
CREATE INDEX objects_by_state ON objects (app, state, id);

-- The same table without AUTOINCREMENT, which wrote a second table for each entry. A number is still never given twice:
-- the newest entry is never removed.
DROP TRIGGER audit_is_never_changed;
DROP TRIGGER audit_is_only_pruned;
DROP INDEX audit_by_app;
DROP INDEX audit_by_token;
DROP INDEX audit_by_object;
ALTER TABLE audit RENAME TO audit_with_counter;
CREATE TABLE audit (
    seq       INTEGER PRIMARY KEY,
    time      INTEGER NOT NULL,
    app       TEXT,
    token_id  TEXT,
    object_id TEXT,
    entry     TEXT NOT NULL                       -- JSON, the same text as in the log file
) STRICT;
INSERT INTO audit SELECT seq, time, app, token_id, object_id, entry FROM audit_with_counter ORDER BY seq;
DROP TABLE audit_with_counter;
CREATE INDEX audit_by_app ON audit (app) WHERE app IS NOT NULL;
CREATE INDEX audit_by_token ON audit (token_id) WHERE token_id IS NOT NULL;
CREATE INDEX audit_by_object ON audit (object_id) WHERE object_id IS NOT NULL;

CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit trail is append-only');
END;

CREATE TRIGGER audit_is_only_pruned BEFORE DELETE ON audit
WHEN OLD.time >= (SELECT before FROM audit_retention)
BEGIN
    SELECT RAISE(ABORT, 'the audit trail is append-only; only entries past their retention are pruned');
END;

CREATE TRIGGER audit_keeps_its_newest BEFORE DELETE ON audit
WHEN OLD.seq = (SELECT max(seq) FROM audit)
BEGIN
    SELECT RAISE(ABORT, 'the newest entry of the audit trail is kept, so that its number is never given again');
END;
