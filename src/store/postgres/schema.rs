//! Migrations: numbered, each in one transaction, applied by hand and online.
//!
//! A migration may only add what the program before it can live with, so that for one version the old and the new binary
//! run side by side: a program serves a schema of exactly the versions that it knows, and of one more. What a version no
//! longer needs is removed by the one after it. Decision record 0011.

use jiff::Timestamp;
use sqlx::{Connection, PgConnection, Row};

use super::connect::{PostgresUrl, for_maintenance};
use super::error::Failure;
use super::partitions;
use crate::store::StoreError;

/// A migration.
struct Migration {
    name: &'static str,
    sql: &'static str,
}

/// Each once, in order; the version of a schema is how many were applied.
const MIGRATIONS: &[Migration] = &[
    Migration { name: "initial", sql: include_str!("../../../migrations/postgres/0001_initial.sql") },
    Migration { name: "policy", sql: include_str!("../../../migrations/postgres/0002_policy.sql") },
    Migration { name: "identity", sql: include_str!("../../../migrations/postgres/0003_identity.sql") },
];

const TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (
    version    integer NOT NULL PRIMARY KEY,
    name       text    NOT NULL,
    applied_at bigint  NOT NULL
)";

/// What is there and what is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationStatus {
    /// Version, name, and when it was applied; absent where it was not.
    pub migrations: Vec<(usize, String, Option<Timestamp>)>,
    /// The version of the database's schema.
    pub found: usize,
    /// The version that this program brings.
    pub known: usize,
}

/// The version of the newest migration that this program brings.
pub(super) fn known() -> usize {
    MIGRATIONS.len()
}

/// Which migrations were applied.
///
/// # Errors
/// [`StoreError::Unavailable`] where the database does not answer.
pub async fn status(url: &PostgresUrl) -> Result<MigrationStatus, StoreError> {
    let mut conn = for_maintenance(url).await?;
    Ok(status_of(&mut conn).await?)
}

async fn status_of(conn: &mut PgConnection) -> Result<MigrationStatus, Failure> {
    let mut migrations: Vec<_> =
        MIGRATIONS.iter().enumerate().map(|(at, migration)| (at + 1, migration.name.to_owned(), None)).collect();
    let mut found = 0;
    for (version, name, applied_at) in applied(conn).await? {
        found = found.max(version);
        match migrations.get_mut(version.wrapping_sub(1)) {
            Some(known) => known.2 = Some(applied_at),
            None => migrations.push((version, name, Some(applied_at))),
        }
    }
    Ok(MigrationStatus { migrations, found, known: known() })
}

async fn applied(conn: &mut PgConnection) -> Result<Vec<(usize, String, Timestamp)>, Failure> {
    let there = sqlx::query("SELECT to_regclass('schema_migrations') IS NOT NULL").fetch_one(&mut *conn).await?;
    if !there.try_get::<bool, _>(0)? {
        return Ok(Vec::new());
    }
    let sql = "SELECT version, name, applied_at FROM schema_migrations ORDER BY version";
    let rows = sqlx::query(sql).fetch_all(conn).await?;
    let read = |row: &sqlx::postgres::PgRow| {
        let version = usize::try_from(row.try_get::<i32, _>(0)?).unwrap_or(0);
        let time = Timestamp::from_microsecond(row.try_get(2)?).unwrap_or(Timestamp::UNIX_EPOCH);
        Ok((version, row.try_get(1)?, time))
    };
    rows.iter().map(read).collect::<Result<_, sqlx::Error>>().map_err(Failure::from)
}

/// Applies what is missing, each migration in a transaction of its own, and makes the first months; the versions that were
/// applied. Any number of these may run at the same time, beside running gateways.
///
/// # Errors
/// [`StoreError`] where the database does not answer or refuses a migration, which then left nothing behind.
pub async fn migrate(url: &PostgresUrl, now: Timestamp) -> Result<Vec<usize>, StoreError> {
    let mut conn = for_maintenance(url).await?;
    let done = up(&mut conn, now).await;
    // Only politeness: the server notices a closed connection by itself.
    let _ = conn.close().await;
    Ok(done?)
}

async fn up(conn: &mut PgConnection, now: Timestamp) -> Result<Vec<usize>, Failure> {
    // A migration that has to wait for a busy table gives up rather than have everybody wait behind it.
    sqlx::raw_sql("SET lock_timeout = '5s'; SET client_min_messages = warning").execute(&mut *conn).await?;
    // Two at once: IF NOT EXISTS is no lock, and the second fails in the catalogue.
    if let Err(error) = sqlx::raw_sql(TABLE).execute(&mut *conn).await
        && applied(conn).await.is_err()
    {
        return Err(error.into());
    }
    let mut done = Vec::new();
    for (at, migration) in MIGRATIONS.iter().enumerate() {
        if apply(conn, at + 1, migration, now).await? {
            done.push(at + 1);
        }
    }
    partitions::make_ahead(conn, now).await?;
    Ok(done)
}

/// `false` where it was there already.
async fn apply(
    conn: &mut PgConnection,
    version: usize,
    migration: &Migration,
    now: Timestamp,
) -> Result<bool, Failure> {
    let mut tx = conn.begin().await?;
    // Held to the end of the transaction; another `migrate up` waits here and then finds the migration applied.
    sqlx::raw_sql("LOCK TABLE schema_migrations IN SHARE ROW EXCLUSIVE MODE").execute(&mut *tx).await?;
    let number = i32::try_from(version).unwrap_or(i32::MAX);
    let there = sqlx::query("SELECT 1 FROM schema_migrations WHERE version = $1").bind(number);
    if there.fetch_optional(&mut *tx).await?.is_some() {
        return Ok(false);
    }
    sqlx::raw_sql(migration.sql).execute(&mut *tx).await?;
    let note = sqlx::query("INSERT INTO schema_migrations (version, name, applied_at) VALUES ($1, $2, $3)");
    note.bind(number).bind(migration.name).bind(now.as_microsecond()).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(true)
}

/// Refuses a schema that this program cannot serve.
pub(in crate::store) async fn check(conn: &mut PgConnection) -> Result<(), Failure> {
    let found = status_of(conn).await?.found;
    let known = known();
    if found < known {
        return Err(Failure::Schema(format!(
            "the database has schema version {found} and this program needs {known}; run 'vestibule migrate up'"
        )));
    }
    if found > known + 1 {
        return Err(Failure::Schema(format!(
            "the database has schema version {found} and this program knows {known} and can serve {}; start the newer \
             program",
            known + 1
        )));
    }
    Ok(())
}
