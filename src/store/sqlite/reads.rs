//! Queries. Each runs on a read-only connection and sees one committed state; [`object`] also inside a batch.

use std::sync::LazyLock;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension};

use super::error::Failure;
use super::rows::{self, many, one};
use crate::domain::ids::{AppName, ObjectId};
use crate::domain::job::JobKind;
use crate::domain::key::{Area, ObjectKey};
use crate::domain::life::State;
use crate::domain::object::Object;
use crate::store::columns::{Columns, object_columns};
use crate::store::values::limit;
use crate::store::{DeadLetter, LinkHash, LinkRecord, ObjectQuery, Statistics, names};

pub(super) fn object(conn: &Connection, id: ObjectId) -> Result<Option<Object>, Failure> {
    let sql = concat!("SELECT ", object_columns!(), " FROM objects WHERE id = ?1");
    one(conn, sql, &[&id.text().as_str()], rows::object)
}

/// By the id that every key holds, then compared as a whole.
pub(super) fn object_at(conn: &Connection, app: &AppName, path: &str) -> Result<Option<Object>, Failure> {
    let key = ObjectKey::parse(Area::Served, path).ok();
    let Some(id) = key.and_then(|key| key.object_id()) else { return Ok(None) };
    Ok(object(conn, id)?.filter(|object| object.app == *app && object.keys.served.path() == path))
}

/// A page, newest first, of the objects under a prefix; `$from` and `$filter` say of which, and `$id` is their id.
macro_rules! page {
    ($from:literal, $filter:literal) => {
        page!($from, $filter, "id")
    };
    ($from:literal, $filter:literal, $id:literal) => {
        concat!(
            "SELECT ",
            object_columns!(),
            " FROM ",
            $from,
            " WHERE ",
            $filter,
            " AND ",
            $id,
            " < ?2 AND substr(served_path, 1, length(?4)) = ?4 ORDER BY ",
            $id,
            " DESC LIMIT ?5"
        )
    };
}

/// An app's open uploads, looked for in the index of all that are open: those expire, so that there are never very many.
const ISSUED: &str = page!(
    "(SELECT id AS open FROM objects INDEXED BY objects_issued WHERE app = ?1 AND state = 'issued')
     CROSS JOIN objects ON id = open",
    "TRUE",
    "open"
);

/// A page of each state, merged: there is no index on an app's objects alone, and one fewer to write for each URL.
static OF_EVERY_STATE: LazyLock<String> = LazyLock::new(|| {
    let of = |state: State| match state {
        State::Issued => ISSUED.to_owned(),
        // The second condition is that of the index.
        state => page!("objects", "app = ?1 AND ?3 IS NULL AND state <> 'issued' AND state = '{state}'")
            .replace("{state}", state.as_str()),
    };
    let pages = State::ALL.map(|state| format!("SELECT * FROM ({})", of(state)));
    format!("{} ORDER BY id DESC LIMIT ?5", pages.join(" UNION ALL "))
});

pub(super) fn objects(conn: &Connection, query: &ObjectQuery) -> Result<Vec<Object>, Failure> {
    // '~' sorts after every id.
    let before = query.before.map_or_else(|| "~".to_owned(), |id| id.to_string());
    let (state, count) = (query.state.map(State::as_str), limit(query.limit));
    // A text for each, so that every one is read from the index that fits it, or from the table.
    let app = query.app.as_ref().map(|app| app.as_str());
    let sql = match (app, query.state) {
        (Some(_), Some(State::Issued)) => ISSUED,
        (Some(_), Some(_)) => page!("objects", "app = ?1 AND state <> 'issued' AND state = ?3"),
        (Some(_), None) => OF_EVERY_STATE.as_str(),
        // What waits for review is rare among all objects: it is gathered app by app.
        (None, Some(State::Quarantined | State::Unscannable)) => {
            page!("objects", "?1 IS NULL AND app IN (SELECT app FROM app_usage) AND state <> 'issued' AND state = ?3")
        }
        (None, Some(_)) => page!("objects", "?1 IS NULL AND state = ?3"),
        (None, None) => page!("objects", "?1 IS NULL AND ?3 IS NULL"),
    };
    many(conn, sql, &[&app, &before, &state, &query.prefix, &count], rows::object)
}

pub(super) fn expirable(conn: &Connection, before: Timestamp, count: usize) -> Result<Vec<Object>, Failure> {
    // Sorted before the rows are read.
    let sql = concat!(
        "SELECT ",
        object_columns!(),
        " FROM objects WHERE id IN (
             SELECT id FROM objects INDEXED BY objects_issued WHERE state = 'issued' AND upload_expires_at < ?1
             ORDER BY upload_expires_at LIMIT ?2
         ) ORDER BY upload_expires_at"
    );
    many(conn, sql, &[&before.as_microsecond(), &limit(count)], rows::object)
}

pub(super) fn link(conn: &Connection, hash: &LinkHash, now: Timestamp) -> Result<Option<LinkRecord>, Failure> {
    let sql = "SELECT object_id, grant_id, token_id, disposition, lawful_basis FROM links
               WHERE hash = ?1 AND used_at IS NULL AND expires_at > ?2";
    one(conn, sql, &[hash, &now.as_microsecond()], |columns| {
        Ok(LinkRecord {
            object: columns.parsed()?,
            grant: columns.parsed()?,
            token: columns.parsed()?,
            disposition: columns.named(names::disposition)?,
            lawful_basis: columns.optional_text()?,
        })
    })
}

pub(super) fn has_job(conn: &Connection, object: ObjectId, kind: JobKind) -> Result<bool, Failure> {
    let mut query = conn.prepare_cached("SELECT 1 FROM jobs WHERE object_id = ?1 AND kind = ?2")?;
    Ok(query.exists([object.text().as_str(), kind.as_str()])?)
}

pub(super) fn next_due(conn: &Connection, kinds: &[JobKind]) -> Result<Option<Timestamp>, Failure> {
    let mut next = None;
    for kind in kinds {
        let sql = "SELECT ready_at FROM jobs WHERE kind = ?1 ORDER BY ready_at LIMIT 1";
        let due = one(conn, sql, &[&kind.as_str()], |columns| columns.time())?;
        next = next.into_iter().chain(due).min();
    }
    Ok(next)
}

pub(super) fn dead_letters(conn: &Connection, count: usize) -> Result<Vec<DeadLetter>, Failure> {
    let sql = "SELECT source, at, reason, body FROM dead_letters ORDER BY seq DESC LIMIT ?1";
    many(conn, sql, &[&limit(count)], |columns| {
        Ok(DeadLetter { source: columns.text()?, at: columns.time()?, reason: columns.text()?, body: columns.text()? })
    })
}

pub(super) fn statistics(conn: &Connection) -> Result<Statistics, Failure> {
    let states = many(conn, "SELECT state, objects FROM state_counts WHERE objects > 0", &[], |columns| {
        Ok((columns.named(State::from_name)?, columns.unsigned()?))
    })?;
    let jobs = many(conn, "SELECT kind, count(*), min(queued_at) FROM jobs GROUP BY kind", &[], |columns| {
        Ok((columns.named(JobKind::from_name)?, columns.unsigned()?, columns.time()?))
    })?;
    let dead_letters = one(conn, "SELECT count(*) FROM dead_letters", &[], |columns| columns.unsigned())?;
    Ok(Statistics { states, jobs, dead_letters: dead_letters.unwrap_or(0) })
}

pub(super) fn setting(conn: &Connection, name: &str) -> Result<Option<Vec<u8>>, Failure> {
    let mut query = conn.prepare_cached("SELECT value FROM settings WHERE name = ?1")?;
    Ok(query.query_row([name], |row| row.get(0)).optional()?)
}
