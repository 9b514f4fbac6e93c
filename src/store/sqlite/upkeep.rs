//! Writes that concern no object: dead letters, settings, the probe, and the removal of what is old.

use jiff::Timestamp;
use rusqlite::params;

use super::batch::Batch;
use super::error::Failure;
use super::trail::AuditLine;
use super::{reads, trail};
use crate::store::values::{AT_ONCE, ENDED_KEPT, KEPT, kept};
use crate::store::{DeadLetter, ReleaseApproval};

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
    let ago = |time| now.checked_sub(time).map_or(i64::MIN, Timestamp::as_microsecond);
    let statements = [
        (
            KEPT,
            "DELETE FROM idempotency WHERE (app, workflow, environment, key) IN
         (SELECT app, workflow, environment, key FROM idempotency WHERE created_at < ?1 LIMIT ?2)",
        ),
        (KEPT, "DELETE FROM links WHERE hash IN (SELECT hash FROM links WHERE expires_at < ?1 LIMIT ?2)"),
        (KEPT, "DELETE FROM nodes WHERE id IN (SELECT id FROM nodes WHERE seen_at < ?1 LIMIT ?2)"),
        (
            ENDED_KEPT,
            "DELETE FROM tokens WHERE id IN
             (SELECT id FROM tokens WHERE origin IS NOT NULL AND expires_at < ?1 LIMIT ?2)",
        ),
        (
            ReleaseApproval::COUNTS,
            "DELETE FROM release_approvals WHERE (object_id, revision, by) IN
             (SELECT object_id, revision, by FROM release_approvals WHERE at < ?1 LIMIT ?2)",
        ),
    ];
    let mut removed = 0;
    for (kept, sql) in statements {
        removed += batch.conn.prepare_cached(sql)?.execute([ago(kept), AT_ONCE])? as u64;
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
