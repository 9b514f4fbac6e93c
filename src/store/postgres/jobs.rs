//! Follow-up jobs and their leases.
//!
//! `ready_at` says when a job may be claimed: its due time while nobody holds it, the end of the lease while somebody
//! does. A lease is the random id of its claim; whoever can name it still holds the job, even past its end, as long as
//! nobody else has claimed it since. A claim skips the rows that another claim has just locked (`SKIP LOCKED`), so that
//! nodes never wait for each other here and never get the same job.

use jiff::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use super::error::Failure;
use super::rows::{PgColumns, text};
use crate::domain::ids::ObjectId;
use crate::domain::job::{JobKind, LeasedJob};
use crate::store::ClaimJobs;
use crate::store::columns::Columns;
use crate::store::values::limit;

/// Adds jobs; one that exists already is left as it is.
pub(super) async fn insert(
    conn: &mut PgConnection,
    object: ObjectId,
    jobs: &[(JobKind, Timestamp)],
) -> Result<(), Failure> {
    if jobs.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO jobs (object_id, kind, queued_at, ready_at)
               SELECT $1, kind, due, due FROM UNNEST($2::text[], $3::bigint[]) AS asked (kind, due)
               ON CONFLICT DO NOTHING";
    sqlx::query(sql)
        .bind(object.uuid())
        .bind(jobs.iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>())
        .bind(jobs.iter().map(|(_, due)| due.as_microsecond()).collect::<Vec<_>>())
        .execute(conn)
        .await?;
    Ok(())
}

/// Takes due jobs, the longest due first.
pub(super) async fn claim(conn: &mut PgConnection, claim: &ClaimJobs) -> Result<Vec<LeasedJob>, Failure> {
    let mut due = Vec::new();
    // One query for each kind, so that each reads its index from the front and no backlog is sorted.
    for kind in &claim.kinds {
        let sql = "SELECT ready_at, object_id, attempts, queued_at FROM jobs
                   WHERE kind = $1 AND ready_at <= $2 ORDER BY ready_at LIMIT $3 FOR UPDATE SKIP LOCKED";
        let query = sqlx::query(sql).bind(kind.as_str()).bind(claim.now.as_microsecond()).bind(limit(claim.limit));
        for row in query.fetch_all(&mut *conn).await? {
            let columns = &mut PgColumns::of(&row);
            let (ready_at, object): (i64, _) = (columns.get()?, columns.object_id()?);
            let attempts = u32::try_from(columns.get::<i32>()?).unwrap_or(u32::MAX).saturating_add(1);
            let queued_at = columns.time()?;
            let (lease, lease_until) = (claim.lease, claim.lease_until);
            due.push((ready_at, LeasedJob { kind: *kind, object, attempts, queued_at, lease, lease_until }));
        }
    }
    due.sort_by_key(|(ready_at, _)| *ready_at);
    due.truncate(claim.limit);
    if due.is_empty() {
        return Ok(Vec::new());
    }
    let sql = "UPDATE jobs SET lease = $1, ready_at = $2, attempts = least(attempts, 2147483646) + 1
               FROM UNNEST($3::uuid[], $4::text[]) AS claimed (object_id, kind)
               WHERE jobs.object_id = claimed.object_id AND jobs.kind = claimed.kind";
    sqlx::query(sql)
        .bind(claim.lease)
        .bind(claim.lease_until.as_microsecond())
        .bind(due.iter().map(|(_, job)| job.object.uuid()).collect::<Vec<Uuid>>())
        .bind(due.iter().map(|(_, job)| job.kind.as_str()).collect::<Vec<_>>())
        .execute(conn)
        .await?;
    Ok(due.into_iter().map(|(_, job)| job).collect())
}

/// Holds the lease until then.
pub(super) async fn extend(conn: &mut PgConnection, job: &LeasedJob, until: Timestamp) -> Result<bool, Failure> {
    let sql = "UPDATE jobs SET ready_at = $4 WHERE object_id = $1 AND kind = $2 AND lease = $3";
    let query = sqlx::query(sql).bind(job.object.uuid()).bind(job.kind.as_str()).bind(job.lease);
    Ok(query.bind(until.as_microsecond()).execute(conn).await?.rows_affected() == 1)
}

/// Gives the job back.
pub(super) async fn retry(
    conn: &mut PgConnection,
    job: &LeasedJob,
    due: Timestamp,
    error: &str,
) -> Result<bool, Failure> {
    let sql = "UPDATE jobs SET lease = NULL, ready_at = $4, last_error = $5, attempts = $6
               WHERE object_id = $1 AND kind = $2 AND lease = $3";
    let query = sqlx::query(sql).bind(job.object.uuid()).bind(job.kind.as_str()).bind(job.lease);
    let query = query.bind(due.as_microsecond()).bind(text(error));
    let query = query.bind(i32::try_from(job.attempts).unwrap_or(i32::MAX));
    Ok(query.execute(conn).await?.rows_affected() == 1)
}

/// Removes the job. `false` where the lease was lost.
pub(super) async fn remove(conn: &mut PgConnection, job: &LeasedJob) -> Result<bool, Failure> {
    let sql = "DELETE FROM jobs WHERE object_id = $1 AND kind = $2 AND lease = $3";
    let query = sqlx::query(sql).bind(job.object.uuid()).bind(job.kind.as_str()).bind(job.lease);
    Ok(query.execute(conn).await?.rows_affected() == 1)
}
