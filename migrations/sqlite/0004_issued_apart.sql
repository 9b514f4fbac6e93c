-- An upload that was only asked for stands in one index instead of two: in what the sweep looks for, which knows the app
-- too. The index of an app's objects begins with what arrived, so that the URLs of many apps, which are most of all
-- writes, change pages at the end of the file and not one page for each app.
DROP INDEX objects_by_state;
CREATE INDEX objects_by_state ON objects (app, state, id) WHERE state <> 'issued';
DROP INDEX objects_expirable;
CREATE INDEX objects_issued ON objects (upload_expires_at, app, id) WHERE state = 'issued';
