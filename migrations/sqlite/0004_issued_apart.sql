-- An upload that was only asked for stands in one index instead of two, which is small and grows at its end: the sweep
-- reads it for what has expired, and an app's list from its end. The index of an app's objects begins with what arrived,
-- so that the URLs of many apps, which are most of all writes, do not change a page for each app.
DROP INDEX objects_by_state;
CREATE INDEX objects_by_state ON objects (app, state, id) WHERE state <> 'issued';
DROP INDEX objects_expirable;
-- With the state, so that nothing has to be looked up in the table.
CREATE INDEX objects_issued ON objects (id, app, upload_expires_at, state) WHERE state = 'issued';
