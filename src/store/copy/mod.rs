//! From one SQLite file into an empty PostgreSQL database: everything, or nothing.
//!
//! One transaction on each side. The source's write lock is held throughout, so that nothing is written there meanwhile
//! that would be left behind; the target's tables are locked, must be empty, and are committed only after they have been
//! read back and agree with the source, row for row, by count and digest. An interrupted copy leaves nothing. Rows go
//! through in batches: memory does not grow with the database.

mod tables;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use futures::TryStreamExt;
use jiff::Timestamp;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row};

use self::tables::{Cell, Digest, Kind, TABLES, Table};
use super::postgres::connect::{PostgresUrl, for_maintenance};
use super::postgres::error::Failure;
use super::postgres::numbers::Numbers;
use super::postgres::partitions::{self, Month};
use super::postgres::rows::text;
use super::postgres::schema;
use super::{StoreError, sqlite};
use crate::domain::audit::AuditEntry;

/// Rows of one statement.
const BATCH: usize = 500;

/// Why nothing was copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The file cannot be read, is in use, or is of another version.
    #[error("cannot read the SQLite database: {0}")]
    Source(String),
    /// The target cannot be written.
    #[error("cannot write to PostgreSQL: {0}")]
    Target(#[from] StoreError),
    /// The target holds something already.
    #[error("the table {0} of the target is not empty; copy into a new, migrated database")]
    NotEmpty(&'static str),
    /// What was written is not what was read.
    #[error("the table {0} does not agree with its source; nothing was kept")]
    Disagrees(&'static str),
}

impl From<rusqlite::Error> for CopyError {
    fn from(error: rusqlite::Error) -> Self {
        CopyError::Source(error.to_string())
    }
}

impl From<sqlx::Error> for CopyError {
    fn from(error: sqlx::Error) -> Self {
        Failure::from(error).into()
    }
}

impl From<Failure> for CopyError {
    fn from(failure: Failure) -> Self {
        CopyError::Target(failure.into())
    }
}

/// Copies everything. `audit` is written to the target beside what was copied; `progress` hears of each table and how
/// many of its rows are there. Returns the rows of each table.
///
/// # Errors
/// [`CopyError`]; the target is as it was before.
pub async fn sqlite_to_postgres(
    from: &Path,
    to: &PostgresUrl,
    audit: AuditEntry,
    progress: impl Fn(&str, u64),
) -> Result<Vec<(&'static str, u64)>, CopyError> {
    let source = open(from)?;
    let mut target = for_maintenance(to).await?;
    schema::check(&mut target).await?;
    let mut tx = target.begin().await?;
    let limits = "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0";
    sqlx::raw_sql(limits).execute(&mut *tx).await?;
    lock_empty(&mut tx).await?;
    let mut copied = Vec::new();
    for table in &TABLES {
        let read = copy(&source, &mut tx, table, &progress).await?;
        if digest(&mut tx, table).await? != read {
            return Err(CopyError::Disagrees(table.name));
        }
        copied.push((table.name, read.rows));
    }
    let count =
        "INSERT INTO state_counts (shard, state, objects) SELECT 0, state, count(*) FROM objects GROUP BY state";
    sqlx::raw_sql(count).execute(&mut *tx).await?;
    check_usage(&mut tx).await?;
    record(&mut tx, audit).await?;
    tx.commit().await?;
    // So that the first queries are planned for what is there now.
    sqlx::raw_sql("ANALYZE").execute(&mut target).await?;
    Ok(copied)
}

/// Opens the file and takes its write lock, which ends with the connection.
fn open(path: &Path) -> Result<Connection, CopyError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source = Connection::open_with_flags(path, flags)?;
    source.busy_timeout(Duration::from_secs(2))?;
    let version: i64 = source.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = sqlite::schema::known();
    if usize::try_from(version).ok() != Some(known) {
        return Err(CopyError::Source(format!(
            "it has schema version {version} and this program knows {known}; open it once with this program's 'vestibule serve'"
        )));
    }
    source
        .execute_batch("BEGIN IMMEDIATE")
        .map_err(|error| CopyError::Source(format!("{error}; stop the gateway that uses it")))?;
    Ok(source)
}

async fn lock_empty(target: &mut PgConnection) -> Result<(), CopyError> {
    let names: Vec<_> = TABLES.iter().map(|table| table.name).chain(["state_counts"]).collect();
    let lock = format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", names.join(", "));
    sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut *target).await?;
    for name in names {
        let sql = AssertSqlSafe(format!("SELECT EXISTS (SELECT 1 FROM {name})"));
        if sqlx::query(sql).fetch_one(&mut *target).await?.try_get(0)? {
            return Err(CopyError::NotEmpty(name));
        }
    }
    Ok(())
}

/// Copies one table; the digest of what was read.
async fn copy(
    source: &Connection,
    target: &mut PgConnection,
    table: &Table,
    progress: &impl Fn(&str, u64),
) -> Result<Digest, CopyError> {
    let names: Vec<_> = table.columns.iter().map(|(name, _)| *name).collect();
    let order = if table.numbered.is_some() { " ORDER BY seq" } else { "" };
    let mut query = source.prepare(&format!("SELECT {} FROM {}{order}", names.join(", "), table.name))?;
    let (mut rows, mut digest) = (query.query([])?, Digest::default());
    let (numbers, mut months) = (Numbers::in_order(), BTreeSet::new());
    loop {
        let mut batch = Vec::with_capacity(BATCH);
        while batch.len() < BATCH
            && let Some(row) = rows.next()?
        {
            let read = |(at, (name, kind)): (usize, &(&str, Kind))| cell(row.get_ref(at)?, *kind, table.name, name);
            let cells = table.columns.iter().enumerate().map(read).collect::<Result<Vec<_>, CopyError>>()?;
            digest.add(place(table, digest.rows), &cells);
            batch.push(cells);
        }
        if batch.is_empty() {
            return Ok(digest);
        }
        let given = give_numbers(table, &batch, &numbers);
        make_months(target, table, &batch, &given, &mut months).await?;
        insert(target, table, &batch, given).await?;
        progress(table.name, digest.rows);
    }
}

/// The place of the next row, where rows have an order.
fn place(table: &Table, before: u64) -> u64 {
    if table.numbered.is_some() { before + 1 } else { 0 }
}

fn cell(value: ValueRef<'_>, kind: Kind, table: &str, column: &str) -> Result<Cell, CopyError> {
    let unreadable = |what: &str| CopyError::Source(format!("{table}.{column}: {what}"));
    Ok(match (value, kind) {
        (ValueRef::Null, _) => Cell::Null,
        (ValueRef::Integer(number), Kind::Int) => Cell::Int(number),
        (ValueRef::Blob(bytes), Kind::Bytes | Kind::Uuid) => Cell::Bytes(bytes.to_owned()),
        (ValueRef::Text(bytes), Kind::Text | Kind::Id(_)) => {
            let read = std::str::from_utf8(bytes).map_err(|_| unreadable("it is no UTF-8"))?;
            match kind {
                Kind::Id(prefix) => {
                    let id = read.strip_prefix(prefix).and_then(|id| uuid::Uuid::try_parse(id).ok());
                    Cell::Bytes(id.ok_or_else(|| unreadable("it is no id"))?.as_bytes().to_vec())
                }
                _ => Cell::Text(text(read).into_owned()),
            }
        }
        (_, kind) => return Err(unreadable(&format!("it is no {kind:?}"))),
    })
}

fn time(row: &[Cell], at: usize) -> Timestamp {
    match row.get(at) {
        Some(Cell::Int(micros)) => Timestamp::from_microsecond(*micros).unwrap_or(Timestamp::UNIX_EPOCH),
        _ => Timestamp::UNIX_EPOCH,
    }
}

/// Numbers for rows that have them, in the order of the rows.
fn give_numbers(table: &Table, rows: &[Vec<Cell>], numbers: &Numbers) -> Vec<i64> {
    let Some(at) = table.numbered else { return Vec::new() };
    rows.iter().map(|row| numbers.next(time(row, at))).collect()
}

/// Makes the months of these rows that were not made yet.
async fn make_months(
    target: &mut PgConnection,
    table: &Table,
    rows: &[Vec<Cell>],
    given: &[i64],
    made: &mut BTreeSet<Month>,
) -> Result<(), CopyError> {
    let months: BTreeSet<Month> = match table.name {
        "audit" => given.iter().map(|number| Month::of_number(*number)).collect(),
        "objects" => rows.iter().filter_map(|row| uuid_of(row.first()?)).map(Month::of_id).collect(),
        _ => return Ok(()),
    };
    let new: Vec<Month> = months.difference(made).copied().collect();
    if !new.is_empty() {
        partitions::make_all(target, &new).await?;
        made.extend(new);
    }
    Ok(())
}

fn uuid_of(cell: &Cell) -> Option<uuid::Uuid> {
    match cell {
        Cell::Bytes(bytes) => uuid::Uuid::from_slice(bytes).ok(),
        _ => None,
    }
}

async fn insert(
    target: &mut PgConnection,
    table: &Table,
    rows: &[Vec<Cell>],
    given: Vec<i64>,
) -> Result<(), CopyError> {
    let mut names: Vec<_> = table.columns.iter().map(|(name, _)| *name).collect();
    let mut arrays: Vec<_> =
        table.columns.iter().enumerate().map(|(at, (_, kind))| format!("${}::{}[]", at + 1, ty(*kind))).collect();
    if table.numbered.is_some() {
        names.push("seq");
        arrays.push(format!("${}::bigint[]", names.len()));
    }
    // Made of the literals of `tables`.
    let sql = format!("INSERT INTO {} ({}) SELECT * FROM UNNEST({})", table.name, names.join(", "), arrays.join(", "));
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for (at, (_, kind)) in table.columns.iter().enumerate() {
        let column = || rows.iter().filter_map(|row| row.get(at));
        query = match kind {
            Kind::Int => query
                .bind(column().map(|cell| if let Cell::Int(n) = cell { Some(*n) } else { None }).collect::<Vec<_>>()),
            Kind::Text => query.bind(
                column()
                    .map(|cell| if let Cell::Text(text) = cell { Some(text.as_str()) } else { None })
                    .collect::<Vec<_>>(),
            ),
            Kind::Bytes => query.bind(
                column()
                    .map(|cell| if let Cell::Bytes(bytes) = cell { Some(&bytes[..]) } else { None })
                    .collect::<Vec<_>>(),
            ),
            Kind::Id(_) | Kind::Uuid => query.bind(column().map(uuid_of).collect::<Vec<_>>()),
        };
    }
    if table.numbered.is_some() {
        query = query.bind(given);
    }
    query.execute(target).await?;
    Ok(())
}

fn ty(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::Int => "bigint",
        Kind::Bytes => "bytea",
        Kind::Id(_) | Kind::Uuid => "uuid",
    }
}

/// The digest of what the target holds.
async fn digest(target: &mut PgConnection, table: &Table) -> Result<Digest, CopyError> {
    let columns: Vec<_> = table.columns.iter().map(|(name, kind)| format!("{name}::{}", ty(*kind))).collect();
    let order = if table.numbered.is_some() { " ORDER BY seq" } else { "" };
    let sql = AssertSqlSafe(format!("SELECT {} FROM {}{order}", columns.join(", "), table.name));
    let mut rows = sqlx::query(sql).fetch(target);
    let mut digest = Digest::default();
    while let Some(row) = rows.try_next().await? {
        let cells = table.columns.iter().enumerate().map(|(at, (_, kind))| read_back(&row, at, *kind));
        digest.add(place(table, digest.rows), &cells.collect::<Result<Vec<_>, sqlx::Error>>()?);
    }
    Ok(digest)
}

fn read_back(row: &PgRow, at: usize, kind: Kind) -> Result<Cell, sqlx::Error> {
    Ok(match kind {
        Kind::Int => row.try_get::<Option<i64>, _>(at)?.map_or(Cell::Null, Cell::Int),
        Kind::Text => row.try_get::<Option<String>, _>(at)?.map_or(Cell::Null, Cell::Text),
        Kind::Bytes => row.try_get::<Option<Vec<u8>>, _>(at)?.map_or(Cell::Null, Cell::Bytes),
        Kind::Id(_) | Kind::Uuid => {
            row.try_get::<Option<uuid::Uuid>, _>(at)?.map_or(Cell::Null, |id| Cell::Bytes(id.as_bytes().to_vec()))
        }
    })
}

/// What apps and owners hold is the sum of what their objects hold.
async fn check_usage(target: &mut PgConnection) -> Result<(), CopyError> {
    for (table, holder) in [("app_usage", "app"), ("owner_usage", "owner")] {
        let sql = format!(
            "SELECT count(*) FROM {table} u FULL JOIN (SELECT {holder}, coalesce(sum(held_bytes), 0)::bigint bytes,
               count(held_bytes) objects FROM objects GROUP BY {holder}) o USING ({holder})
             WHERE coalesce(u.bytes, 0) <> coalesce(o.bytes, 0) OR coalesce(u.objects, 0) <> coalesce(o.objects, 0)"
        );
        let differing: i64 = sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut *target).await?.try_get(0)?;
        if differing > 0 {
            return Err(CopyError::Disagrees(table));
        }
    }
    Ok(())
}

/// Records the copy, after everything that was copied.
async fn record(target: &mut PgConnection, audit: AuditEntry) -> Result<(), CopyError> {
    let last: Option<i64> = sqlx::query("SELECT max(seq) FROM audit").fetch_one(&mut *target).await?.try_get(0)?;
    let numbers = Numbers::in_order();
    let number = numbers.next(audit.time).max(last.map_or(0, |last| last + 1));
    partitions::make_all(target, &[Month::of_number(number)]).await?;
    let json = serde_json::to_string(&audit)
        .map_err(|error| StoreError::Corrupt(format!("an audit entry that cannot be written: {error}")))?;
    let sql = "INSERT INTO audit (seq, time, token_id, entry) VALUES ($1, $2, $3, $4)";
    let token = audit.token_id.as_ref().map(|id| id.as_str());
    sqlx::query(sql).bind(number).bind(audit.time.as_microsecond()).bind(token).bind(json).execute(target).await?;
    Ok(())
}
