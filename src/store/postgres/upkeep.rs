//! Writes that concern no object: tokens, dead letters, settings, the probe, and the removal of what is old.

use jiff::Timestamp;
use sqlx::PgConnection;

use super::batch::{self, Work};
use super::error::Failure;
use super::numbers::Numbers;
use super::op::Line;
use super::rows::text;
use super::{partitions, reads};
use crate::domain::ids::TokenId;
use crate::store::columns::token_columns;
use crate::store::values::{AT_ONCE, HolderColumns, KEPT, kept};
use crate::store::{DeadLetter, TOKENS_AS_OF, TokenRecord};

/// Saves a token; its id must be new.
pub(super) async fn insert_token(conn: &mut PgConnection, token: &TokenRecord) -> Result<(), Failure> {
    let columns = HolderColumns::of(&token.holder).map_err(Failure::unwritable)?;
    let sql = concat!(
        "INSERT INTO tokens (",
        token_columns!(),
        ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
    );
    sqlx::query(sql)
        .bind(token.id.as_str())
        .bind(&token.hash.0[..])
        .bind(columns.holder)
        .bind(text(columns.name))
        .bind(columns.app)
        .bind(columns.owner)
        .bind(columns.environment)
        .bind(columns.scopes)
        .bind(token.created_at.as_microsecond())
        .bind(token.expires_at.map(Timestamp::as_microsecond))
        .bind(token.revoked_at.map(Timestamp::as_microsecond))
        .bind(columns.subject)
        .execute(&mut *conn)
        .await?;
    tokens_changed(conn).await
}

/// Notes that the tokens are not what they were; see [`TOKENS_AS_OF`].
pub(super) async fn tokens_changed(conn: &mut PgConnection) -> Result<(), Failure> {
    let note = sqlx::query(
        "INSERT INTO settings (name, value) VALUES ($1, uuid_send(gen_random_uuid()))
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    );
    note.bind(TOKENS_AS_OF).execute(conn).await?;
    Ok(())
}

/// See [`crate::store::Store::revoke_token`].
pub(super) async fn revoke_token<'a>(
    conn: &mut PgConnection,
    id: &TokenId,
    now: Timestamp,
    line: &'a Line,
    work: &mut Work<'a>,
) -> Result<bool, Failure> {
    let update = sqlx::query("UPDATE tokens SET revoked_at = coalesce(revoked_at, $2) WHERE id = $1");
    if update.bind(id.as_str()).bind(now.as_microsecond()).execute(&mut *conn).await?.rows_affected() == 0 {
        return Ok(false);
    }
    tokens_changed(conn).await?;
    work.record(line);
    Ok(true)
}

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
    let before = now.checked_sub(KEPT).map_or(i64::MIN, Timestamp::as_microsecond);
    let statements = [
        "DELETE FROM idempotency WHERE (app, workflow, environment, key) IN
         (SELECT app, workflow, environment, key FROM idempotency WHERE created_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)",
        "DELETE FROM links WHERE hash IN (SELECT hash FROM links WHERE expires_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)",
        "DELETE FROM nodes WHERE id IN (SELECT id FROM nodes WHERE seen_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)",
    ];
    let mut removed = 0;
    for sql in statements {
        removed += sqlx::query(sql).bind(before).bind(AT_ONCE).execute(&mut *conn).await?.rows_affected();
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
