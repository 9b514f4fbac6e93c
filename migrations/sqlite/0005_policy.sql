-- Quotas of windows, and of owners: what an app used in the newest hour, day and month, and the same for all apps of an
-- owner together. A window is its number (src/domain/quota.rs); what was used in the one
-- before it stands beside.
ALTER TABLE app_usage ADD COLUMN uploads_window        INTEGER NOT NULL DEFAULT 0;  -- hours since the epoch
ALTER TABLE app_usage ADD COLUMN uploads               INTEGER NOT NULL DEFAULT 0;
ALTER TABLE app_usage ADD COLUMN uploads_before        INTEGER NOT NULL DEFAULT 0;
ALTER TABLE app_usage ADD COLUMN day_window            INTEGER NOT NULL DEFAULT 0;  -- days since the epoch
ALTER TABLE app_usage ADD COLUMN day_bytes             INTEGER NOT NULL DEFAULT 0;
ALTER TABLE app_usage ADD COLUMN day_bytes_before      INTEGER NOT NULL DEFAULT 0;
ALTER TABLE app_usage ADD COLUMN download_window       INTEGER NOT NULL DEFAULT 0;  -- months since the year 0
ALTER TABLE app_usage ADD COLUMN download_bytes        INTEGER NOT NULL DEFAULT 0;
ALTER TABLE app_usage ADD COLUMN download_bytes_before INTEGER NOT NULL DEFAULT 0;

-- What all apps of an owner hold and used, by the owner that is recorded with each object.
CREATE TABLE owner_usage (
    owner                 TEXT    PRIMARY KEY,
    bytes                 INTEGER NOT NULL CHECK (bytes >= 0),
    objects               INTEGER NOT NULL CHECK (objects >= 0),
    uploads_window        INTEGER NOT NULL DEFAULT 0,
    uploads               INTEGER NOT NULL DEFAULT 0,
    uploads_before        INTEGER NOT NULL DEFAULT 0,
    day_window            INTEGER NOT NULL DEFAULT 0,
    day_bytes             INTEGER NOT NULL DEFAULT 0,
    day_bytes_before      INTEGER NOT NULL DEFAULT 0,
    download_window       INTEGER NOT NULL DEFAULT 0,
    download_bytes        INTEGER NOT NULL DEFAULT 0,
    download_bytes_before INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
INSERT INTO owner_usage (owner, bytes, objects)
SELECT owner, sum(held_bytes), count(held_bytes) FROM objects WHERE held_bytes IS NOT NULL GROUP BY owner;

-- What counts for the day of an upload, where other bytes became visible than were asked for; size where NULL.
ALTER TABLE objects ADD COLUMN settled_size INTEGER;

-- The person on whose behalf a workflow acts, as whoever made the token vouched for them: a JSON object, or nothing.
ALTER TABLE tokens ADD COLUMN subject TEXT;
-- The lawful basis on which a one-time link was asked for: whoever follows it acts on the same one.
ALTER TABLE links ADD COLUMN lawful_basis TEXT;
