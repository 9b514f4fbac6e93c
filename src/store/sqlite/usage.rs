//! What apps and owners use: their rows, the comparison with the objects, and the repair.

use rusqlite::Connection;

use super::batch::Batch;
use super::error::Failure;
use super::rows::{many, one};
use super::trail::AuditLine;
use crate::domain::quota::{QuotaHolder, QuotaLimits, QuotaMet, Quotas};
use crate::domain::usage::Usage;
use crate::store::columns::Columns;
use crate::store::usage::{self, Holder, UsageOfBoth, UsageQuery, UsageRow, sums, usage_columns};

macro_rules! read {
    ($table:literal, $key:literal) => {
        concat!("SELECT ", usage_columns!(), " FROM ", $table, " WHERE ", $key, " = ?1")
    };
}

/// What somebody uses, as committed or as the surrounding transaction has written it.
pub(super) fn read(conn: &Connection, holder: &Holder) -> Result<Usage, Failure> {
    let sql = match holder {
        Holder::App(_) => read!("app_usage", "app"),
        Holder::Owner(_) => read!("owner_usage", "owner"),
    };
    Ok(one(conn, sql, &[&holder.name()], |columns| usage::usage(columns))?.unwrap_or_default())
}

macro_rules! upsert {
    ($table:literal, $key:literal) => {
        concat!(
            "INSERT INTO ",
            $table,
            " (",
            $key,
            ", ",
            usage_columns!(),
            ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) ON CONFLICT (",
            $key,
            ") DO UPDATE SET bytes = ?2, objects = ?3, uploads_window = ?4, uploads = ?5, uploads_before = ?6, \
             day_window = ?7, day_bytes = ?8, day_bytes_before = ?9, download_window = ?10, download_bytes = ?11, \
             download_bytes_before = ?12"
        )
    };
}

/// Writes what somebody uses.
pub(super) fn write(conn: &Connection, holder: &Holder, used: &Usage) -> Result<(), Failure> {
    let sql = match holder {
        Holder::App(_) => upsert!("app_usage", "app"),
        Holder::Owner(_) => upsert!("owner_usage", "owner"),
    };
    let mut upsert = conn.prepare_cached(sql)?;
    upsert.raw_bind_parameter(1, holder.name())?;
    for (at, value) in usage::values(used).into_iter().enumerate() {
        upsert.raw_bind_parameter(at + 2, value)?;
    }
    upsert.raw_execute()?;
    Ok(())
}

/// Counts one more use for both, or says which quota is met. Nothing is set yet: see [`set`].
pub(super) fn with_use(
    batch: &mut Batch<'_>,
    [app, owner]: &[Holder; 2],
    limits: &QuotaLimits,
    count: impl Fn(&Usage, QuotaHolder, &Quotas) -> Result<Usage, QuotaMet>,
) -> Result<Result<UsageOfBoth, QuotaMet>, Failure> {
    let now = UsageOfBoth { app: batch.usage(app)?, owner: batch.usage(owner)? };
    Ok(usage::with_use(now, limits, count))
}

/// Sets what both use from now on.
pub(super) fn set(batch: &mut Batch<'_>, [app, owner]: &[Holder; 2], used: UsageOfBoth) {
    batch.set_usage(app, used.app);
    batch.set_usage(owner, used.owner);
}

/// See [`crate::store::Store::audit_usage`]. Both queries see one committed state.
pub(super) fn audit(conn: &Connection, query: &UsageQuery) -> Result<Vec<UsageRow>, Failure> {
    let [day, day_end, hour, hour_end] = usage::bounds(query.at);
    let app = query.app.as_ref().map(|app| app.as_str());
    conn.execute_batch("BEGIN")?;
    let read = || -> Result<_, Failure> {
        let mut counted = many(conn, concat!("SELECT app, ", usage_columns!(), " FROM app_usage"), &[], |columns| {
            Ok((Holder::App(columns.parsed()?), usage::usage(columns)?))
        })?;
        counted.extend(many(conn, concat!("SELECT owner, ", usage_columns!(), " FROM owner_usage"), &[], |columns| {
            Ok((Holder::Owner(columns.parsed()?), usage::usage(columns)?))
        })?);
        let sql = sums!("(?1 IS NULL OR app = ?1)", "?2", "?3", "?4", "?5");
        let sums = many(conn, sql, &[&app, &day, &day_end, &hour, &hour_end], |columns| usage::sum(columns))?;
        Ok(usage::compare(query, counted, sums))
    };
    let rows = read();
    conn.execute_batch("COMMIT")?;
    rows
}

/// See [`crate::store::Store::repair_usage`].
pub(super) fn repair(batch: &mut Batch<'_>, rows: &[UsageRow], audit: &[AuditLine]) -> Result<(), Failure> {
    for row in rows {
        let corrected = batch.usage(&row.holder)?.corrected(&row.missing);
        batch.set_usage(&row.holder, corrected);
    }
    audit.iter().try_for_each(|line| batch.record(line))
}
