-- Quotas of windows, and of owners: what an app used in the newest hour, day and month, and the same for all apps of an
-- owner together. A window is its number (src/domain/quota.rs); what was used in the one
-- before it stands beside.
--
-- Online: the new columns have constant defaults or none, so that no row is rewritten or looked at, and the program before
-- this one neither reads nor writes them. What that one changes while it still runs is missing in the new counts until
-- 'vestibule quota audit --repair', to be run once the last old node has ended. Until then no quota of an owner or of a
-- window should be in force; the old program refuses the files that would set one.

-- What all apps of an owner hold and used, by the owner that is recorded with each object.
CREATE TABLE owner_usage (
    owner                 text   NOT NULL PRIMARY KEY,
    bytes                 bigint NOT NULL CHECK (bytes >= 0),
    objects               bigint NOT NULL CHECK (objects >= 0),
    uploads_window        bigint NOT NULL DEFAULT 0,    -- hours since the epoch
    uploads               bigint NOT NULL DEFAULT 0,
    uploads_before        bigint NOT NULL DEFAULT 0,
    day_window            bigint NOT NULL DEFAULT 0,    -- days since the epoch
    day_bytes             bigint NOT NULL DEFAULT 0,
    day_bytes_before      bigint NOT NULL DEFAULT 0,
    download_window       bigint NOT NULL DEFAULT 0,    -- months since the year 0
    download_bytes        bigint NOT NULL DEFAULT 0,
    download_bytes_before bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
INSERT INTO owner_usage (owner, bytes, objects)
SELECT owner, sum(held_bytes), count(held_bytes) FROM objects WHERE held_bytes IS NOT NULL GROUP BY owner;

-- The person on whose behalf a workflow acts, as whoever made the token vouched for them: a JSON object, or nothing. The
-- program before this one names its columns, and goes on without it.
ALTER TABLE tokens ADD COLUMN subject text;
-- The lawful basis on which a one-time link was asked for: whoever follows it acts on the same one.
ALTER TABLE links ADD COLUMN lawful_basis text;

-- Last, because their locks keep everybody out until the end of the transaction.
ALTER TABLE app_usage
    ADD COLUMN uploads_window        bigint NOT NULL DEFAULT 0,
    ADD COLUMN uploads               bigint NOT NULL DEFAULT 0,
    ADD COLUMN uploads_before        bigint NOT NULL DEFAULT 0,
    ADD COLUMN day_window            bigint NOT NULL DEFAULT 0,
    ADD COLUMN day_bytes             bigint NOT NULL DEFAULT 0,
    ADD COLUMN day_bytes_before      bigint NOT NULL DEFAULT 0,
    ADD COLUMN download_window       bigint NOT NULL DEFAULT 0,
    ADD COLUMN download_bytes        bigint NOT NULL DEFAULT 0,
    ADD COLUMN download_bytes_before bigint NOT NULL DEFAULT 0;

-- What counts for the day of an upload, where other bytes became visible than were asked for; size where NULL.
ALTER TABLE objects ADD COLUMN settled_size bigint;
