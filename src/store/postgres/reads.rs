//! Queries. Each runs on a connection that only reads and sees what was committed before it; [`object`] also in a batch.

use std::collections::HashMap;

use jiff::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, Row};
use uuid::Uuid;

use super::error::Failure;
use super::numbers;
use super::rows::{self, PgColumns, text};
use crate::domain::audit::AuditEntry;
use crate::domain::ids::{AppName, ObjectId};
use crate::domain::job::JobKind;
use crate::domain::key::{Area, ObjectKey};
use crate::domain::life::State;
use crate::domain::object::Object;
use crate::store::columns::{Columns, object_columns};
use crate::store::values::limit;
use crate::store::{AuditQuery, DeadLetter, LinkHash, LinkRecord, ObjectQuery, Statistics, names};

pub(super) fn all<T>(
    rows: &[PgRow],
    decode: impl Fn(&mut PgColumns<'_>) -> Result<T, Failure>,
) -> Result<Vec<T>, Failure> {
    rows.iter().map(|row| decode(&mut PgColumns::of(row))).collect()
}

pub(super) async fn object(conn: &mut PgConnection, id: ObjectId) -> Result<Option<Object>, Failure> {
    let sql = concat!("SELECT ", object_columns!(), " FROM objects WHERE id = $1");
    let row = sqlx::query(sql).bind(id.uuid()).fetch_optional(conn).await?;
    row.as_ref().map(rows::object).transpose()
}

/// Joined rather than `= ANY`, so that each id looks into its own month only, however many there are.
pub(super) async fn objects_with(
    conn: &mut PgConnection,
    ids: &[ObjectId],
) -> Result<HashMap<ObjectId, Object>, Failure> {
    let sql = concat!(
        "SELECT ",
        object_columns!(),
        " FROM UNNEST($1::uuid[]) AS asked (asked_id) JOIN objects ON id = asked_id"
    );
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let rows = sqlx::query(sql).bind(ids).fetch_all(conn).await?;
    rows.iter().map(|row| rows::object(row).map(|object| (object.id, object))).collect()
}

/// By the id that every key holds, then compared as a whole.
pub(super) async fn object_at(conn: &mut PgConnection, app: &AppName, path: &str) -> Result<Option<Object>, Failure> {
    let key = ObjectKey::parse(Area::Served, path).ok();
    let Some(id) = key.and_then(|key| key.object_id()) else { return Ok(None) };
    Ok(object(conn, id).await?.filter(|object| object.app == *app && object.keys.served.path() == path))
}

pub(super) async fn objects(conn: &mut PgConnection, query: &ObjectQuery) -> Result<Vec<Object>, Failure> {
    macro_rules! page {
        ($filter:literal) => {
            concat!(
                "SELECT ",
                object_columns!(),
                " FROM objects WHERE ",
                $filter,
                " AND id < $2 AND starts_with(served_path, $4) ORDER BY id DESC LIMIT $5"
            )
        };
    }
    // A text for each, so that every one is read from the index that fits it, or from the table.
    let sql = match (&query.app, query.state) {
        (Some(_), Some(State::Issued)) => page!("app = $1 AND state = 'issued' AND $3::text = 'issued'"),
        (Some(_), Some(_)) => page!("app = $1 AND state <> 'issued' AND state = $3"),
        (Some(_), None) => concat!(
            "SELECT * FROM (",
            page!("app = $1 AND state = 'issued' AND $3::text IS NULL"),
            ") AS issued UNION ALL SELECT * FROM (",
            page!("app = $1 AND state <> 'issued'"),
            ") AS others ORDER BY id DESC LIMIT $5"
        ),
        // What waits for review is rare among all objects; the second condition is that of its index.
        (None, Some(State::Quarantined | State::Unscannable)) => {
            page!("$1::text IS NULL AND state IN ('quarantined', 'unscannable') AND state = $3")
        }
        (None, Some(_)) => page!("$1::text IS NULL AND state = $3"),
        (None, None) => page!("$1::text IS NULL AND $3::text IS NULL"),
    };
    let rows = sqlx::query(sql)
        .bind(query.app.as_ref().map(|app| app.as_str()))
        .bind(query.before.map_or(Uuid::max(), ObjectId::uuid))
        .bind(query.state.map(State::as_str))
        .bind(text(&query.prefix))
        .bind(limit(query.limit))
        .fetch_all(conn)
        .await?;
    rows.iter().map(rows::object).collect()
}

pub(super) async fn expirable(
    conn: &mut PgConnection,
    before: Timestamp,
    count: usize,
) -> Result<Vec<Object>, Failure> {
    let sql = concat!(
        "SELECT ",
        object_columns!(),
        " FROM objects WHERE state = 'issued' AND upload_expires_at < $1 ORDER BY upload_expires_at LIMIT $2"
    );
    let rows = sqlx::query(sql).bind(before.as_microsecond()).bind(limit(count)).fetch_all(conn).await?;
    rows.iter().map(rows::object).collect()
}

pub(super) async fn link(
    conn: &mut PgConnection,
    hash: &LinkHash,
    now: Timestamp,
) -> Result<Option<LinkRecord>, Failure> {
    let sql = "SELECT object_id, grant_id, token_id, disposition, lawful_basis FROM links
               WHERE hash = $1 AND used_at IS NULL AND expires_at > $2";
    let rows = sqlx::query(sql).bind(&hash[..]).bind(now.as_microsecond()).fetch_all(conn).await?;
    let read = all(&rows, |columns| {
        Ok(LinkRecord {
            object: columns.object_id()?,
            grant: columns.grant_id()?,
            token: columns.parsed()?,
            disposition: columns.named(names::disposition)?,
            lawful_basis: columns.optional_text()?,
        })
    });
    Ok(read?.pop())
}

pub(super) async fn has_job(conn: &mut PgConnection, object: ObjectId, kind: JobKind) -> Result<bool, Failure> {
    let query = sqlx::query("SELECT 1 FROM jobs WHERE object_id = $1 AND kind = $2");
    Ok(query.bind(object.uuid()).bind(kind.as_str()).fetch_optional(conn).await?.is_some())
}

pub(super) async fn next_due(conn: &mut PgConnection, kinds: &[JobKind]) -> Result<Option<Timestamp>, Failure> {
    // The subquery reads each kind's index from the front.
    let sql = "SELECT min(due) FROM UNNEST($1::text[]) AS asked (kind), LATERAL
               (SELECT ready_at AS due FROM jobs WHERE jobs.kind = asked.kind ORDER BY ready_at LIMIT 1) AS first";
    let kinds: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
    let row = sqlx::query(sql).bind(kinds).fetch_one(conn).await?;
    let micros: Option<i64> = row.try_get(0)?;
    micros.map(Timestamp::from_microsecond).transpose().map_err(|error| Failure::unreadable("ready_at", error))
}

pub(super) async fn audit_entries(
    conn: &mut PgConnection,
    query: &AuditQuery,
) -> Result<Vec<(i64, AuditEntry)>, Failure> {
    // Only what is asked for, so that the index that fits is chosen. The numbers say which months are looked at.
    let mut sql = "SELECT seq, entry FROM audit WHERE TRUE".to_owned();
    let mut asked = 0;
    let mut filter = |condition: &str, there: bool| {
        if there {
            asked += 1;
            sql.push_str(&format!(" AND {condition} ${asked}"));
        }
    };
    filter("app =", query.app.is_some());
    filter("token_id =", query.token.is_some());
    filter("object_id =", query.object.is_some());
    filter("time >=", query.since.is_some());
    filter("seq >=", query.since.is_some());
    filter("time <", query.until.is_some());
    filter("seq <", query.until.is_some());
    filter("seq <", query.before.is_some());
    sql.push_str(&format!(" ORDER BY seq DESC LIMIT ${}", asked + 1));
    // The text is made of the literals above and numbers.
    let mut statement = sqlx::query(AssertSqlSafe(sql));
    if let Some(app) = &query.app {
        statement = statement.bind(app.as_str());
    }
    if let Some(token) = &query.token {
        statement = statement.bind(token.as_str());
    }
    if let Some(object) = query.object {
        statement = statement.bind(object.uuid());
    }
    if let Some(since) = query.since {
        statement = statement.bind(since.as_microsecond()).bind(numbers::floor(since));
    }
    if let Some(until) = query.until {
        let end = until.checked_add(numbers::AHEAD + jiff::SignedDuration::from_millis(1)).unwrap_or(Timestamp::MAX);
        statement = statement.bind(until.as_microsecond()).bind(numbers::floor(end));
    }
    if let Some(before) = query.before {
        statement = statement.bind(before);
    }
    let rows = statement.bind(limit(query.limit)).fetch_all(conn).await?;
    all(&rows, |columns| Ok((columns.get()?, columns.json()?)))
}

pub(super) async fn dead_letters(conn: &mut PgConnection, count: usize) -> Result<Vec<DeadLetter>, Failure> {
    let sql = "SELECT source, at, reason, body FROM dead_letters ORDER BY seq DESC LIMIT $1";
    let rows = sqlx::query(sql).bind(limit(count)).fetch_all(conn).await?;
    all(&rows, |columns| {
        Ok(DeadLetter { source: columns.get()?, at: columns.time()?, reason: columns.get()?, body: columns.get()? })
    })
}

pub(super) async fn statistics(conn: &mut PgConnection) -> Result<Statistics, Failure> {
    let counts = "SELECT state, sum(objects)::bigint FROM state_counts GROUP BY state HAVING sum(objects) > 0";
    let rows = sqlx::query(counts).fetch_all(&mut *conn).await?;
    let states = all(&rows, |columns| Ok((columns.named(State::from_name)?, columns.unsigned()?)))?;
    let jobs = "SELECT kind, count(*), min(queued_at) FROM jobs GROUP BY kind";
    let rows = sqlx::query(jobs).fetch_all(&mut *conn).await?;
    let jobs = all(&rows, |columns| Ok((columns.named(JobKind::from_name)?, columns.unsigned()?, columns.time()?)))?;
    let row = sqlx::query("SELECT count(*) FROM dead_letters").fetch_one(conn).await?;
    Ok(Statistics { states, jobs, dead_letters: PgColumns::of(&row).unsigned()? })
}

pub(super) async fn setting(conn: &mut PgConnection, name: &str) -> Result<Option<Vec<u8>>, Failure> {
    let row = sqlx::query("SELECT value FROM settings WHERE name = $1").bind(name).fetch_optional(conn).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}
