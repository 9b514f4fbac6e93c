//! Follow-up jobs and their leases.
//!
//! `ready_at` says when a job may be claimed: its due time while nobody holds it, the end of the lease while somebody
//! does. A lease is the random id of its claim; whoever can name it still holds the job, even past its end, as long as
//! nobody else has claimed it since.

use jiff::Timestamp;
use rusqlite::{ToSql, params};

use super::batch::Batch;
use super::error::Failure;
use super::rows;
use crate::domain::ids::ObjectId;
use crate::domain::job::{JobKind, LeasedJob};
use crate::store::ClaimJobs;
use crate::store::columns::Columns;
use crate::store::values::limit;

/// Adds a job; one that exists already is left as it is.
pub(super) fn insert(batch: &Batch<'_>, object: ObjectId, kind: JobKind, due: Timestamp) -> Result<(), Failure> {
    let mut insert = batch.conn.prepare_cached(
        "INSERT INTO jobs (object_id, kind, queued_at, ready_at) VALUES (?1, ?2, ?3, ?3) ON CONFLICT DO NOTHING",
    )?;
    insert.execute(params![object.text().as_str(), kind.as_str(), due.as_microsecond()])?;
    Ok(())
}

/// Takes due jobs, the longest due first.
pub(super) fn claim(batch: &Batch<'_>, claim: &ClaimJobs) -> Result<Vec<LeasedJob>, Failure> {
    let (now, limit) = (claim.now.as_microsecond(), limit(claim.limit));
    let mut due = Vec::new();
    // One query for each kind, so that each reads its index from the front and no backlog is sorted.
    for kind in &claim.kinds {
        due.extend(rows::many(
            batch.conn,
            "SELECT ready_at, object_id, attempts, queued_at FROM jobs
             WHERE kind = ?1 AND ready_at <= ?2 ORDER BY ready_at LIMIT ?3",
            &[&kind.as_str(), &now, &limit],
            |columns| {
                let (ready_at, object) = (columns.number()?, columns.parsed()?);
                let attempts = u32::try_from(columns.unsigned()?).unwrap_or(u32::MAX).saturating_add(1);
                let queued_at = columns.time()?;
                let (lease, lease_until) = (claim.lease, claim.lease_until);
                Ok((ready_at, LeasedJob { kind: *kind, object, attempts, queued_at, lease, lease_until }))
            },
        )?);
    }
    due.sort_by_key(|(ready_at, _)| *ready_at);
    due.truncate(claim.limit);
    let mut update = batch.conn.prepare_cached(
        "UPDATE jobs SET lease = ?3, ready_at = ?4, attempts = ?5 WHERE object_id = ?1 AND kind = ?2",
    )?;
    for (_, job) in &due {
        update.execute(params![
            job.object.text().as_str(),
            job.kind.as_str(),
            job.lease.as_bytes(),
            job.lease_until.as_microsecond(),
            job.attempts,
        ])?;
    }
    Ok(due.into_iter().map(|(_, job)| job).collect())
}

/// Whether the lease still stands.
pub(super) fn is_held(batch: &Batch<'_>, job: &LeasedJob) -> Result<bool, Failure> {
    let mut query =
        batch.conn.prepare_cached("SELECT 1 FROM jobs WHERE object_id = ?1 AND kind = ?2 AND lease = ?3")?;
    Ok(query.exists(params![job.object.text().as_str(), job.kind.as_str(), job.lease.as_bytes()])?)
}

/// Holds the lease until then.
pub(super) fn extend(batch: &Batch<'_>, job: &LeasedJob, until: Timestamp) -> Result<bool, Failure> {
    held(
        batch,
        "UPDATE jobs SET ready_at = ?4 WHERE object_id = ?1 AND kind = ?2 AND lease = ?3",
        job,
        &[&until.as_microsecond()],
    )
}

/// Gives the job back.
pub(super) fn retry(batch: &Batch<'_>, job: &LeasedJob, due: Timestamp, error: &str) -> Result<bool, Failure> {
    held(
        batch,
        "UPDATE jobs SET lease = NULL, ready_at = ?4, last_error = ?5, attempts = ?6
         WHERE object_id = ?1 AND kind = ?2 AND lease = ?3",
        job,
        &[&due.as_microsecond(), &error, &job.attempts],
    )
}

/// Removes the job.
pub(super) fn remove(batch: &Batch<'_>, job: &LeasedJob) -> Result<bool, Failure> {
    held(batch, "DELETE FROM jobs WHERE object_id = ?1 AND kind = ?2 AND lease = ?3", job, &[])
}

/// A statement on the leased job; `false` where the lease was lost.
fn held(batch: &Batch<'_>, sql: &str, job: &LeasedJob, more: &[&dyn ToSql]) -> Result<bool, Failure> {
    let (object, kind, lease) = (job.object.to_string(), job.kind.as_str(), job.lease.as_bytes());
    let named: [&dyn ToSql; 3] = [&object, &kind, lease];
    let params: Vec<&dyn ToSql> = named.into_iter().chain(more.iter().copied()).collect();
    Ok(batch.conn.prepare_cached(sql)?.execute(params.as_slice())? == 1)
}
