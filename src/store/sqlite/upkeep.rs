//! Writes that concern no object: tokens, dead letters, settings, the probe, and the removal of what is old.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::batch::Batch;
use super::error::Failure;
use super::trail::AuditLine;
use super::{reads, rows, trail};
use crate::domain::ids::TokenId;
use crate::store::values::{AT_ONCE, KEPT, kept};
use crate::store::{DeadLetter, TOKENS_AS_OF, TokenRecord};

/// See [`crate::store::Store::create_token`].
pub(super) fn create_token(batch: &mut Batch<'_>, token: &TokenRecord, audit: &AuditLine) -> Result<(), Failure> {
    rows::insert_token(batch.conn, token)?;
    tokens_changed(batch.conn)?;
    batch.record(audit)
}

/// See [`crate::store::Store::revoke_token`].
pub(super) fn revoke_token(
    batch: &mut Batch<'_>,
    id: &TokenId,
    now: Timestamp,
    audit: &AuditLine,
) -> Result<bool, Failure> {
    let mut update =
        batch.conn.prepare_cached("UPDATE tokens SET revoked_at = coalesce(revoked_at, ?2) WHERE id = ?1")?;
    if update.execute(params![id.as_str(), now.as_microsecond()])? == 0 {
        return Ok(false);
    }
    tokens_changed(batch.conn)?;
    batch.record(audit)?;
    Ok(true)
}

/// Notes that the tokens are not what they were; see [`TOKENS_AS_OF`].
pub(super) fn tokens_changed(conn: &Connection) -> Result<(), Failure> {
    let mut note = conn.prepare_cached(
        "INSERT INTO settings (name, value) VALUES (?1, randomblob(16))
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )?;
    note.execute([TOKENS_AS_OF])?;
    Ok(())
}

/// See [`crate::store::Store::dead_letter`].
pub(super) fn dead_letter(batch: &Batch<'_>, letter: &DeadLetter) -> Result<(), Failure> {
    let mut insert =
        batch.conn.prepare_cached("INSERT INTO dead_letters (source, at, reason, body) VALUES (?1, ?2, ?3, ?4)")?;
    insert.execute(params![letter.source, letter.at.as_microsecond(), letter.reason, kept(&letter.body)])?;
    Ok(())
}

/// See [`crate::store::Store::probe`].
pub(super) fn probe(batch: &Batch<'_>) -> Result<(), Failure> {
    batch.conn.prepare_cached("UPDATE probe SET probes = probes + 1")?.execute([])?;
    Ok(())
}

/// See [`crate::store::Store::setting_or_insert`].
pub(super) fn setting_or_insert(batch: &Batch<'_>, name: &str, value: &[u8]) -> Result<Vec<u8>, Failure> {
    if let Some(found) = reads::setting(batch.conn, name)? {
        return Ok(found);
    }
    batch.conn.prepare_cached("INSERT INTO settings (name, value) VALUES (?1, ?2)")?.execute(params![name, value])?;
    Ok(value.to_owned())
}

/// One step of [`crate::store::Store::prune`]; how many rows went.
pub(super) fn prune(batch: &Batch<'_>, now: Timestamp) -> Result<u64, Failure> {
    let before = now.checked_sub(KEPT).map_or(i64::MIN, Timestamp::as_microsecond);
    let statements = [
        "DELETE FROM idempotency WHERE (app, workflow, environment, key) IN
         (SELECT app, workflow, environment, key FROM idempotency WHERE created_at < ?1 LIMIT ?2)",
        "DELETE FROM links WHERE hash IN (SELECT hash FROM links WHERE expires_at < ?1 LIMIT ?2)",
        "DELETE FROM nodes WHERE id IN (SELECT id FROM nodes WHERE seen_at < ?1 LIMIT ?2)",
    ];
    let mut removed = 0;
    for sql in statements {
        removed += batch.conn.prepare_cached(sql)?.execute([before, AT_ONCE])? as u64;
    }
    let proofs = "DELETE FROM proofs WHERE hash IN (SELECT hash FROM proofs WHERE keep_until < ?1 LIMIT ?2)";
    removed += batch.conn.prepare_cached(proofs)?.execute([now.as_microsecond(), AT_ONCE])? as u64;
    Ok(removed)
}

/// One step of [`crate::store::Store::prune_dead_letters`]; how many rows went.
pub(super) fn prune_dead_letters(batch: &Batch<'_>, before: Timestamp) -> Result<u64, Failure> {
    let sql = "DELETE FROM dead_letters WHERE seq IN (SELECT seq FROM dead_letters WHERE at < ?1 LIMIT ?2)";
    Ok(batch.conn.prepare_cached(sql)?.execute([before.as_microsecond(), AT_ONCE])? as u64)
}

/// One step of [`crate::store::Store::prune_audit`], the first with its entry; how many entries went.
pub(super) fn prune_audit(batch: &mut Batch<'_>, before: Timestamp, audit: Option<&AuditLine>) -> Result<u64, Failure> {
    let removed = trail::prune(batch.conn, before)?;
    if let Some(audit) = audit.filter(|_| removed > 0) {
        batch.record(audit)?;
    }
    Ok(removed)
}
