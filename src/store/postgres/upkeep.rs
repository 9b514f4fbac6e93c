//! Writes that concern no object: dead letters, settings, the probe, and the removal of what is old.

use jiff::Timestamp;
use sqlx::PgConnection;

use super::batch;
use super::error::Failure;
use super::numbers::Numbers;
use super::op::Line;
use super::rows::text;
use super::{partitions, reads};
use crate::store::values::{AT_ONCE, ENDED_KEPT, KEPT, kept};
use crate::store::{DeadLetter, ReleaseApproval};

/// See [`crate::store::Store::dead_letter`].
pub(super) async fn dead_letter(
    conn: &mut PgConnection,
    letter: &DeadLetter,
    numbers: &Numbers,
) -> Result<(), Failure> {
    let body = text(&letter.body);
    let insert = sqlx::query("INSERT INTO dead_letters (seq, source, at, reason, body) VALUES ($1, $2, $3, $4, $5)");
    insert
        .bind(numbers.next(letter.at))
        .bind(text(&letter.source))
        .bind(letter.at.as_microsecond())
        .bind(text(&letter.reason))
        .bind(kept(&body))
        .execute(conn)
        .await?;
    Ok(())
}

/// See [`crate::store::Store::probe`].
pub(super) async fn probe(conn: &mut PgConnection, shard: i16) -> Result<(), Failure> {
    let sql = "INSERT INTO probe (shard, probes) VALUES ($1, 1)
               ON CONFLICT (shard) DO UPDATE SET probes = probe.probes + 1";
    sqlx::query(sql).bind(shard).execute(conn).await?;
    Ok(())
}

/// See [`crate::store::Store::setting_or_insert`].
pub(super) async fn setting_or_insert(conn: &mut PgConnection, name: &str, value: &[u8]) -> Result<Vec<u8>, Failure> {
    // Waits for whoever inserts the same name just now; what is there afterwards is read by the next statement.
    let insert = sqlx::query("INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING");
    insert.bind(name).bind(value).execute(&mut *conn).await?;
    reads::setting(conn, name).await?.ok_or_else(|| Failure::Again("a setting disappeared".into()))
}

/// One step of [`crate::store::Store::prune`]; how many rows went. Rows that somebody else removes just now are skipped.
pub(super) async fn prune(conn: &mut PgConnection, now: Timestamp) -> Result<u64, Failure> {
    let ago = |time| now.checked_sub(time).map_or(i64::MIN, Timestamp::as_microsecond);
    let statements = [
        (KEPT, "DELETE FROM idempotency WHERE (app, workflow, environment, key) IN
         (SELECT app, workflow, environment, key FROM idempotency WHERE created_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)"),
        (KEPT, "DELETE FROM links WHERE hash IN (SELECT hash FROM links WHERE expires_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)"),
        (ENDED_KEPT, "DELETE FROM tokens WHERE id IN (SELECT id FROM tokens WHERE origin IS NOT NULL AND expires_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)"),
        (ReleaseApproval::COUNTS, "DELETE FROM release_approvals WHERE (object_id, revision, by) IN
         (SELECT object_id, revision, by FROM release_approvals WHERE at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)"),
        (KEPT, "DELETE FROM nodes WHERE id IN (SELECT id FROM nodes WHERE seen_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)"),
    ];
    let mut removed = 0;
    for (kept, sql) in statements {
        removed += sqlx::query(sql).bind(ago(kept)).bind(AT_ONCE).execute(&mut *conn).await?.rows_affected();
    }
    let proofs = "DELETE FROM proofs WHERE hash IN
                  (SELECT hash FROM proofs WHERE keep_until < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)";
    removed += sqlx::query(proofs).bind(now.as_microsecond()).bind(AT_ONCE).execute(conn).await?.rows_affected();
    Ok(removed)
}

/// One step of [`crate::store::Store::prune_dead_letters`]; how many rows went.
pub(super) async fn prune_dead_letters(conn: &mut PgConnection, before: Timestamp) -> Result<u64, Failure> {
    let sql = "DELETE FROM dead_letters WHERE seq IN
               (SELECT seq FROM dead_letters WHERE at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)";
    Ok(sqlx::query(sql).bind(before.as_microsecond()).bind(AT_ONCE).execute(conn).await?.rows_affected())
}

/// See [`crate::store::Store::prune_audit`]: months whose entries are all from before `before` are dropped, and that is
/// recorded, in one transaction.
pub(super) async fn prune_audit(
    conn: &mut PgConnection,
    before: Timestamp,
    line: &Line,
    numbers: &Numbers,
) -> Result<u64, Failure> {
    // Whoever drops a month has the whole trail for that moment; rather than queue everybody behind a long query, it
    // gives up and is tried again the next time.
    sqlx::raw_sql("BEGIN; SET LOCAL lock_timeout = '2s'").execute(&mut *conn).await?;
    let step = async {
        let dropped = partitions::drop_before(conn, before).await?;
        if dropped > 0 {
            batch::record(conn, line, numbers).await?;
        }
        Ok(dropped)
    };
    let dropped = step.await;
    sqlx::raw_sql(if dropped.is_ok() { "COMMIT" } else { "ROLLBACK" }).execute(conn).await?;
    dropped
}
