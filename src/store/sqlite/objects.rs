//! Writes on objects: issuing uploads and downloads, links, and every change of state.
//!
//! Each function is one operation inside a batch. It checks everything before its first write, so that a refusal leaves
//! no trace, and it may be run again after a rollback.

use rusqlite::{OptionalExtension, params};

use super::batch::Batch;
use super::error::Failure;
use super::rows::{self, uint};
use super::trail::AuditLine;
use super::{jobs, reads};
use crate::domain::grant::QuotaLimit;
use crate::domain::life::{Life, State};
use crate::domain::object::Object;
use crate::store::columns::Columns;
use crate::store::values::int;
use crate::store::{Advance, AdvanceOutcome, Idempotency, IssueDownload, IssueOutcome, Usage, UseLink};

/// See [`crate::store::Store::issue_upload`].
pub(super) fn issue_upload(
    batch: &mut Batch<'_>,
    object: &Object,
    quota: QuotaLimit,
    idempotency: Option<&Idempotency>,
    audit: &AuditLine,
) -> Result<IssueOutcome, Failure> {
    if let Some(idempotency) = idempotency
        && let Some(outcome) = repeated(batch, object, idempotency, audit)?
    {
        return Ok(outcome);
    }
    let held = batch.usage(&object.app)?;
    let limit = quota.bytes.min(i64::MAX as u64);
    let Some(bytes) = held.bytes.checked_add(object.size).filter(|bytes| *bytes <= limit) else {
        return Ok(IssueOutcome::BytesExceeded(held));
    };
    if held.objects >= quota.objects {
        return Ok(IssueOutcome::ObjectsExceeded(held));
    }
    batch.insert(object)?;
    if let Some(idempotency) = idempotency {
        let mut insert = batch.conn.prepare_cached(
            "INSERT INTO idempotency (app, workflow, environment, key, body, object_id, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?;
        insert.execute(params![
            object.app.as_str(),
            object.workflow.as_str(),
            object.environment.as_str(),
            idempotency.key,
            idempotency.body.0,
            object.id.text().as_str(),
            object.created_at.as_microsecond(),
        ])?;
    }
    batch.record(audit)?;
    batch.set_usage(&object.app, Usage { bytes, objects: held.objects + 1 });
    batch.count(None, object.life.state());
    Ok(IssueOutcome::Issued)
}

/// What the idempotency key stands for already; `None` where it is new.
fn repeated(
    batch: &mut Batch<'_>,
    asked: &Object,
    idempotency: &Idempotency,
    audit: &AuditLine,
) -> Result<Option<IssueOutcome>, Failure> {
    let found = rows::one(
        batch.conn,
        "SELECT body, object_id FROM idempotency WHERE app = ?1 AND workflow = ?2 AND environment = ?3 AND key = ?4",
        &[&asked.app.as_str(), &asked.workflow.as_str(), &asked.environment.as_str(), &idempotency.key],
        |columns| Ok((columns.digest()?, columns.parsed()?)),
    )?;
    let Some((body, id)) = found else { return Ok(None) };
    if body != idempotency.body {
        return Ok(Some(IssueOutcome::KeyReused));
    }
    let object = reads::object(batch.conn, id)?
        .ok_or_else(|| Failure::unreadable("idempotency", "it names an object that is not there"))?;
    // Otherwise the caller refuses, and records that.
    if !object.awaits_upload(asked.created_at) {
        return Ok(Some(IssueOutcome::Repeated(Box::new(object))));
    }
    // The entry was written for the object that would have been made; it is about the one that is there.
    let mut entry = audit.entry()?;
    entry.object_id = Some(object.id);
    entry.grant_id = Some(object.grant);
    let line = AuditLine::encode(entry).map_err(|error| Failure::Refused(error.to_string()))?;
    batch.record(&line)?;
    Ok(Some(IssueOutcome::Repeated(Box::new(object))))
}

/// See [`crate::store::Store::issue_download`].
pub(super) fn issue_download(batch: &mut Batch<'_>, issue: &IssueDownload, audit: &AuditLine) -> Result<bool, Failure> {
    let mut query = batch.conn.prepare_cached("SELECT revision FROM objects WHERE id = ?1")?;
    let revision: Option<i64> = query.query_row([issue.object.text().as_str()], |row| row.get(0)).optional()?;
    if revision != Some(int(issue.revision)) {
        return Ok(false);
    }
    if let Some(link) = &issue.link {
        let mut insert = batch.conn.prepare_cached(
            "INSERT INTO links (hash, object_id, grant_id, token_id, disposition, expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        insert.execute(params![
            link.hash,
            issue.object.text().as_str(),
            issue.grant.text().as_str(),
            link.token.as_str(),
            link.disposition.as_str(),
            link.expires_at.as_microsecond(),
        ])?;
    }
    batch.record(audit)?;
    Ok(true)
}

/// See [`crate::store::Store::use_link`].
pub(super) fn use_link(batch: &mut Batch<'_>, link: &UseLink, audit: &AuditLine) -> Result<bool, Failure> {
    let mut update = batch.conn.prepare_cached(
        "UPDATE links SET used_at = ?2 WHERE hash = ?1 AND object_id = ?3 AND used_at IS NULL AND expires_at > ?2
         AND EXISTS (SELECT 1 FROM objects WHERE id = ?3 AND revision = ?4)",
    )?;
    let now = link.now.as_microsecond();
    if update.execute(params![link.hash, now, link.object.text().as_str(), int(link.revision)])? == 0 {
        return Ok(false);
    }
    batch.record(audit)?;
    Ok(true)
}

/// See [`crate::store::Store::advance`].
pub(super) fn advance(
    batch: &mut Batch<'_>,
    advance: &Advance,
    audit: &[AuditLine],
) -> Result<AdvanceOutcome, Failure> {
    let id = advance.object.to_string();
    let found = rows::one(
        batch.conn,
        "SELECT revision, state, app, size, held_bytes FROM objects WHERE id = ?1",
        &[&id],
        |columns| {
            let (revision, state) = (columns.unsigned()?, columns.named(State::from_name)?);
            Ok((revision, state, columns.parsed()?, columns.unsigned()?, columns.optional_number()?.map(uint)))
        },
    )?;
    let Some((revision, from, app, size, held)) = found else { return Ok(AdvanceOutcome::Conflict) };
    if revision != advance.from_revision {
        return Ok(AdvanceOutcome::Conflict);
    }
    if let Some(job) = &advance.completes
        && !jobs::is_held(batch, job)?
    {
        return Ok(AdvanceOutcome::Conflict);
    }
    let to = advance.to.state();
    let holds = match &advance.to {
        Life::Visible { served, .. } => Some(served.size),
        _ if to.holds_quota() => Some(held.unwrap_or(size)),
        _ => None,
    };
    let mut update = batch.conn.prepare_cached(
        "UPDATE objects SET state = ?2, life = ?3, revision = revision + 1, updated_at = ?4, held_bytes = ?5
         WHERE id = ?1",
    )?;
    let life = rows::life(&advance.to)?;
    update.execute(params![id, to.as_str(), life, advance.now.as_microsecond(), holds.map(int)])?;
    if holds != held {
        let usage = batch.usage(&app)?;
        let bytes = (usage.bytes + holds.unwrap_or(0)).saturating_sub(held.unwrap_or(0));
        let objects = (usage.objects + u64::from(holds.is_some())).saturating_sub(u64::from(held.is_some()));
        batch.set_usage(&app, Usage { bytes, objects });
    }
    batch.count(Some(from), to);
    if let Some(job) = &advance.completes {
        jobs::remove(batch, job)?;
    }
    for (kind, due) in &advance.jobs {
        jobs::insert(batch, advance.object, *kind, *due)?;
    }
    audit.iter().try_for_each(|line| batch.record(line))?;
    Ok(AdvanceOutcome::Done)
}
