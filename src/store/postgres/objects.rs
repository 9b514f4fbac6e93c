//! Writes on one object: the use of a link, and every change of state.
//!
//! An object's row is locked before its job's row, and both before any app's usage.

use sqlx::PgConnection;

use super::batch::Work;
use super::error::Failure;
use super::jobs;
use super::op::Line;
use super::rows::{PgColumns, to_json};
use crate::domain::ids::AppName;
use crate::domain::life::{Life, State};
use crate::store::columns::Columns;
use crate::store::values::int;
use crate::store::{Advance, AdvanceOutcome, UseLink};

/// See [`crate::store::Store::use_link`].
pub(super) async fn use_link<'a>(
    conn: &mut PgConnection,
    link: &UseLink,
    line: &'a Line,
    work: &mut Work<'a>,
) -> Result<bool, Failure> {
    let sql = "UPDATE links SET used_at = $2 WHERE hash = $1 AND object_id = $3 AND used_at IS NULL AND expires_at > $2
               AND EXISTS (SELECT 1 FROM objects WHERE id = $3 AND revision = $4)";
    let used = sqlx::query(sql)
        .bind(&link.hash[..])
        .bind(link.now.as_microsecond())
        .bind(link.object.uuid())
        .bind(int(link.revision))
        .execute(conn)
        .await?;
    if used.rows_affected() == 0 {
        return Ok(false);
    }
    work.record(line);
    Ok(true)
}

/// See [`crate::store::Store::advance`].
pub(super) async fn advance<'a>(
    conn: &mut PgConnection,
    advance: &Advance,
    lines: &'a [Line],
    work: &mut Work<'a>,
) -> Result<AdvanceOutcome, Failure> {
    let id = advance.object.uuid();
    let sql = "SELECT state, app, size, held_bytes FROM objects WHERE id = $1 AND revision = $2 FOR UPDATE";
    let found = sqlx::query(sql).bind(id).bind(int(advance.from_revision)).fetch_optional(&mut *conn).await?;
    let Some(found) = found else { return Ok(AdvanceOutcome::Conflict) };
    let columns = &mut PgColumns::of(&found);
    let (from, app): (State, AppName) = (columns.named(State::from_name)?, columns.parsed()?);
    let (size, held) = (columns.unsigned()?, columns.get::<Option<i64>>()?);
    // The first write, and the last check: where the lease was lost nothing goes.
    if let Some(job) = &advance.completes
        && !jobs::remove(conn, job).await?
    {
        return Ok(AdvanceOutcome::Conflict);
    }
    let to = advance.to.state();
    let holds = match &advance.to {
        Life::Visible { served, .. } => Some(int(served.size)),
        _ if to.holds_quota() => Some(held.unwrap_or(int(size))),
        _ => None,
    };
    let sql = "UPDATE objects SET state = $2, life = $3, revision = revision + 1, updated_at = $4, held_bytes = $5
               WHERE id = $1";
    sqlx::query(sql)
        .bind(id)
        .bind(to.as_str())
        .bind(to_json(&advance.to)?)
        .bind(advance.now.as_microsecond())
        .bind(holds)
        .execute(&mut *conn)
        .await?;
    if holds != held {
        let objects = i64::from(holds.is_some()) - i64::from(held.is_some());
        work.change(&app, holds.unwrap_or(0).saturating_sub(held.unwrap_or(0)), objects);
    }
    work.count(Some(from), to);
    jobs::insert(conn, advance.object, &advance.jobs).await?;
    lines.iter().for_each(|line| work.record(line));
    Ok(AdvanceOutcome::Done)
}
