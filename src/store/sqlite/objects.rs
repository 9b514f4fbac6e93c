//! Writes on objects: issuing uploads and downloads, links, and every change of state.
//!
//! Each function is one operation inside a batch. It checks everything before its first write, so that a refusal leaves
//! no trace, and it may be run again after a rollback.

use rusqlite::{OptionalExtension, params};

use super::batch::Batch;
use super::error::Failure;
use super::rows::{self, uint};
use super::trail::AuditLine;
use super::{jobs, reads, usage};
use crate::domain::life::State;
use crate::domain::object::Object;
use crate::domain::quota::QuotaLimits;
use crate::store::columns::Columns;
use crate::store::usage::{Charge, Settled};
use crate::store::values::int;
use crate::store::{
    Advance, AdvanceOutcome, DownloadOutcome, Holder, Idempotency, IssueDownload, IssueOutcome, UseLink,
};

/// See [`crate::store::Store::issue_upload`].
pub(super) fn issue_upload(
    batch: &mut Batch<'_>,
    object: &Object,
    quota: &QuotaLimits,
    idempotency: Option<&Idempotency>,
    audit: &AuditLine,
) -> Result<IssueOutcome, Failure> {
    if let Some(idempotency) = idempotency
        && let Some(outcome) = repeated(batch, object, idempotency, audit)?
    {
        return Ok(outcome);
    }
    let holders = Holder::both(&object.app, &object.owner);
    let counted = usage::with_use(batch, &holders, quota, |used, holder, limits| {
        used.with_upload(holder, limits, object.size, object.created_at)
    })?;
    let counted = match counted {
        Ok(counted) => counted,
        Err(met) => return Ok(IssueOutcome::QuotaMet(met)),
    };
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
    usage::set(batch, &holders, counted);
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
pub(super) fn issue_download(
    batch: &mut Batch<'_>,
    issue: &IssueDownload,
    audit: &AuditLine,
) -> Result<DownloadOutcome, Failure> {
    let mut query = batch.conn.prepare_cached("SELECT revision FROM objects WHERE id = ?1")?;
    let revision: Option<i64> = query.query_row([issue.object.text().as_str()], |row| row.get(0)).optional()?;
    if revision != Some(int(issue.revision)) {
        return Ok(DownloadOutcome::Changed);
    }
    let charge = &issue.charge;
    let holders = Holder::both(&charge.app, &charge.owner);
    let counted = usage::with_use(batch, &holders, &charge.quota, |used, holder, limits| {
        used.with_download(holder, limits, charge.bytes, charge.at)
    })?;
    let counted = match counted {
        Ok(counted) => counted,
        Err(met) => return Ok(DownloadOutcome::QuotaMet(met)),
    };
    if let Some(link) = &issue.link {
        let mut insert = batch.conn.prepare_cached(
            "INSERT INTO links (hash, object_id, grant_id, token_id, disposition, lawful_basis, expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?;
        insert.execute(params![
            link.hash,
            issue.object.text().as_str(),
            issue.grant.text().as_str(),
            link.token.as_str(),
            link.disposition.as_str(),
            link.lawful_basis,
            link.expires_at.as_microsecond(),
        ])?;
    }
    batch.record(audit)?;
    usage::set(batch, &holders, counted);
    Ok(DownloadOutcome::Issued)
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
        "SELECT revision, app, owner, state, size, held_bytes, settled_size, created_at FROM objects WHERE id = ?1",
        &[&id],
        |columns| {
            let revision = columns.unsigned()?;
            let holders = [Holder::App(columns.parsed()?), Holder::Owner(columns.parsed()?)];
            let charge = Charge {
                state: columns.named(State::from_name)?,
                size: columns.unsigned()?,
                held: columns.optional_number()?.map(uint),
                settled: columns.optional_number()?.map(uint),
                issued_at: columns.time()?,
            };
            Ok((revision, holders, charge))
        },
    )?;
    let Some((revision, holders, charge)) = found else { return Ok(AdvanceOutcome::Conflict) };
    if revision != advance.from_revision {
        return Ok(AdvanceOutcome::Conflict);
    }
    if let Some(job) = &advance.completes
        && !jobs::is_held(batch, job)?
    {
        return Ok(AdvanceOutcome::Conflict);
    }
    let to = advance.to.state();
    let Settled { held, settled, change } = charge.settle(&advance.to);
    let mut update = batch.conn.prepare_cached(
        "UPDATE objects SET state = ?2, life = ?3, revision = revision + 1, updated_at = ?4, held_bytes = ?5,
         settled_size = ?6 WHERE id = ?1",
    )?;
    let life = rows::life(&advance.to)?;
    let (held, settled) = (held.map(int), settled.map(int));
    update.execute(params![id, to.as_str(), life, advance.now.as_microsecond(), held, settled])?;
    for holder in holders.iter().filter(|_| !change.is_nothing()) {
        let used = batch.usage(holder)?.settled(&change);
        batch.set_usage(holder, used);
    }
    batch.count(Some(charge.state), to);
    if let Some(job) = &advance.completes {
        jobs::remove(batch, job)?;
    }
    for (kind, due) in &advance.jobs {
        jobs::insert(batch, advance.object, *kind, *due)?;
    }
    audit.iter().try_for_each(|line| batch.record(line))?;
    Ok(AdvanceOutcome::Done)
}
