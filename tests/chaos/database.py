"""The database of a run, read and watched by SQL alone, and aged where a run does not wait for time to pass.

A trigger watches what every transaction does to the rows and to the usage of an app, so that the quota can be proved
for every instant and not only for the end. It changes nothing that the gateway sees.
"""

import json
import sqlite3
import time
from contextlib import closing

import psycopg

from world import Entry, Row, Step

AWAY = (psycopg.Error, sqlite3.Error)

OBJECTS = "SELECT id, app, state, life, size, held_bytes, revision, grant_id, staging_path, served_path FROM objects"
HOUR = 3_600_000_000

WATCH_POSTGRES = """
CREATE TABLE chaos_watch (id bigserial PRIMARY KEY, tx bigint NOT NULL DEFAULT txid_current(),
    kind text NOT NULL, app text NOT NULL, bytes bigint NOT NULL, objects bigint NOT NULL);
CREATE FUNCTION chaos_held() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE before bigint := NULL;
BEGIN
    IF TG_OP = 'UPDATE' THEN before := OLD.held_bytes; END IF;
    INSERT INTO chaos_watch (kind, app, bytes, objects) VALUES ('held', NEW.app,
        coalesce(NEW.held_bytes, 0) - coalesce(before, 0),
        (NEW.held_bytes IS NOT NULL)::int - (before IS NOT NULL)::int);
    RETURN NULL;
END $$;
CREATE FUNCTION chaos_usage() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO chaos_watch (kind, app, bytes, objects) VALUES ('usage', NEW.app, NEW.bytes, NEW.objects);
    RETURN NULL;
END $$;
CREATE TRIGGER chaos_held AFTER INSERT OR UPDATE OF held_bytes ON objects FOR EACH ROW EXECUTE FUNCTION chaos_held();
CREATE TRIGGER chaos_usage AFTER UPDATE ON app_usage FOR EACH ROW EXECUTE FUNCTION chaos_usage();
"""

# Loses the audit entry of one issuance in ten, and forgets one reservation in three; counted, so that no run has none.
SABOTAGE = """
CREATE SEQUENCE sabotaged_issuances;
CREATE SEQUENCE sabotaged_reservations;
CREATE FUNCTION sabotage_audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.entry::jsonb ->> 'action' <> 'requestUpload' OR NEW.entry::jsonb ->> 'outcome' <> 'allowed' THEN
        RETURN NEW;
    END IF;
    IF nextval('sabotaged_issuances') % 10 = 0 THEN RETURN NULL; END IF;
    RETURN NEW;
END $$;
CREATE FUNCTION sabotage_usage() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.bytes <= OLD.bytes THEN RETURN NEW; END IF;
    IF nextval('sabotaged_reservations') % 3 = 0 THEN NEW.bytes := OLD.bytes; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER sabotage_audit BEFORE INSERT ON audit FOR EACH ROW EXECUTE FUNCTION sabotage_audit();
CREATE TRIGGER sabotage_usage BEFORE UPDATE ON app_usage FOR EACH ROW EXECUTE FUNCTION sabotage_usage();
"""

WATCH_SQLITE = """
CREATE TABLE chaos_watch (id INTEGER PRIMARY KEY, tx INTEGER, kind TEXT, app TEXT, bytes INTEGER, objects INTEGER);
CREATE TRIGGER chaos_inserted AFTER INSERT ON objects BEGIN
    INSERT INTO chaos_watch (kind, app, bytes, objects)
    VALUES ('held', NEW.app, coalesce(NEW.held_bytes, 0), NEW.held_bytes IS NOT NULL);
END;
CREATE TRIGGER chaos_held AFTER UPDATE OF held_bytes ON objects BEGIN
    INSERT INTO chaos_watch (kind, app, bytes, objects)
    VALUES ('held', NEW.app, coalesce(NEW.held_bytes, 0) - coalesce(OLD.held_bytes, 0),
            (NEW.held_bytes IS NOT NULL) - (OLD.held_bytes IS NOT NULL));
END;
CREATE TRIGGER chaos_first AFTER INSERT ON app_usage BEGIN
    INSERT INTO chaos_watch (kind, app, bytes, objects) VALUES ('usage', NEW.app, NEW.bytes, NEW.objects);
END;
CREATE TRIGGER chaos_usage AFTER UPDATE ON app_usage BEGIN
    INSERT INTO chaos_watch (kind, app, bytes, objects) VALUES ('usage', NEW.app, NEW.bytes, NEW.objects);
END;
"""


class Postgres:
    """A database of a server."""

    def __init__(self, server, name):
        self.server, self.name = server, name

    def watch(self):
        with self.server.connect(self.name) as database:
            database.execute(WATCH_POSTGRES)

    def read(self, sql):
        with self.server.connect(self.name) as database:
            return database.execute(sql).fetchall()

    def change(self, sql):
        with self.server.connect(self.name) as database:
            database.execute(sql)

    def disconnect(self):
        self.change(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1"
        )


class Sqlite:
    """A file."""

    def __init__(self, path):
        self.path = path

    def watch(self):
        with closing(sqlite3.connect(self.path, timeout=20)) as database:
            database.executescript(WATCH_SQLITE)

    def read(self, sql):
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=20)) as database:
            return database.execute(sql).fetchall()

    def change(self, sql):
        with closing(sqlite3.connect(self.path, timeout=20)) as database, database:
            database.execute(sql)


def age(database, leases):
    """As if an hour had passed for upload URLs and for jobs that have to wait; where `leases`, for leases too."""
    database.change(f"UPDATE objects SET upload_expires_at = upload_expires_at - {HOUR} WHERE state = 'issued'")
    end_leases(database, "" if leases else " AND lease IS NULL")


def end_leases(database, only=""):
    now = time.time_ns() // 1000
    database.change(f"UPDATE jobs SET ready_at = {now} WHERE ready_at > {now}{only}")


def states(database):
    return dict(database.read("SELECT state, count(*) FROM objects GROUP BY state"))


def jobs(database):
    return [f"{kind} of {named(id)}: {error or 'under way'}"
            for kind, id, error in database.read("SELECT kind, object_id, last_error FROM jobs")]  # fmt: skip


def rows(database):
    found = {}
    for id, app, state, life, size, held, revision, grant, staging, served in database.read(OBJECTS):
        row = Row(named(id), app, state, json.loads(life), size, held, revision, named(grant, "grt"), staging, served)
        found[row.id] = row
    return found


def audit(database):
    entries = []
    for (text,) in database.read("SELECT entry FROM audit ORDER BY seq"):
        one = json.loads(text)
        names = ("objectId", "grantId", "fromState", "toState")
        entries.append(Entry(one["action"], one["outcome"], *(one.get(name) for name in names), text))
    return entries


def usage(database):
    return {app: (size, count) for app, size, count in database.read("SELECT app, bytes, objects FROM app_usage")}


def counts(database):
    found = database.read("SELECT state, sum(objects) FROM state_counts GROUP BY state")
    return {state: int(count) for state, count in found if count}


def steps(database):
    """The watched transactions of each app in their order: the usage's row is locked while they run, so that the order
    of its changes is theirs. SQLite has one writer; there a step's rows are those since the step before."""
    changed, found = {}, []
    seen = database.read("SELECT tx, kind, app, bytes, objects FROM chaos_watch ORDER BY id")
    if any(tx is not None for tx, *_ in seen):
        # A trigger on rows may run after the one on the usage, within one transaction.
        seen.sort(key=lambda one: one[1] == "usage")
    for tx, kind, app, size, count in seen:
        if kind == "held":
            before = changed.get((tx, app), (0, 0))
            changed[tx, app] = (before[0] + size, before[1] + count)
        else:
            found.append(Step(app, size, count, *changed.pop((tx, app), (0, 0))))
    # Rows whose change no usage has followed: a step that leaves the usage at nothing, which no sum will confirm.
    found.extend(Step(app, 0, 0, *sums) for (_, app), sums in changed.items() if sums != (0, 0))
    return found


def named(id, prefix="obj"):
    """PostgreSQL keeps the bare UUID."""
    return id if isinstance(id, str) and "_" in id else f"{prefix}_{getattr(id, 'hex', id)}"
