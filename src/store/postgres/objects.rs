//! Writes on one object: the use of a link, and every change of state.
//!
//! An object's row is locked before its job's row, and both before what any app or owner uses.

use sqlx::PgConnection;

use super::batch::Work;
use super::error::Failure;
use super::jobs;
use super::op::Line;
use super::rows::{PgColumns, to_json};
use crate::domain::life::State;
use crate::store::columns::Columns;
use crate::store::usage::{Charge, Settled};
use crate::store::values::int;
use crate::store::{Advance, AdvanceOutcome, Holder, UseLink};

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
    let sql = "SELECT app, owner, state, size, held_bytes, settled_size, created_at FROM objects
               WHERE id = $1 AND revision = $2 FOR UPDATE";
    let found = sqlx::query(sql).bind(id).bind(int(advance.from_revision)).fetch_optional(&mut *conn).await?;
    let Some(found) = found else { return Ok(AdvanceOutcome::Conflict) };
    let columns = &mut PgColumns::of(&found);
    let holders = [Holder::App(columns.parsed()?), Holder::Owner(columns.parsed()?)];
    let charge = Charge {
        state: columns.named(State::from_name)?,
        size: columns.unsigned()?,
        held: columns.optional_number()?.map(i64::unsigned_abs),
        settled: columns.optional_number()?.map(i64::unsigned_abs),
        issued_at: columns.time()?,
    };
    // The first write, and the last check: where the lease was lost nothing goes.
    if let Some(job) = &advance.completes
        && !jobs::remove(conn, job).await?
    {
        return Ok(AdvanceOutcome::Conflict);
    }
    let to = advance.to.state();
    let Settled { held, settled, change } = charge.settle(&advance.to);
    let sql = "UPDATE objects SET state = $2, life = $3, revision = revision + 1, updated_at = $4, held_bytes = $5,
               settled_size = $6 WHERE id = $1";
    sqlx::query(sql)
        .bind(id)
        .bind(to.as_str())
        .bind(to_json(&advance.to)?)
        .bind(advance.now.as_microsecond())
        .bind(held.map(int))
        .bind(settled.map(int))
        .execute(&mut *conn)
        .await?;
    work.settle(holders, change);
    work.count(Some(charge.state), to);
    jobs::insert(conn, advance.object, &advance.jobs).await?;
    lines.iter().for_each(|line| work.record(line));
    Ok(AdvanceOutcome::Done)
}
