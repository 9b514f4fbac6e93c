//! Requests for access in SQLite. See [`crate::store::AccessStore`].

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::SqliteStore;
use super::batch::Batch;
use super::error::Failure;
use super::identity::revocations::{self, blocking};
use super::identity::tokens;
use super::rows::{many, one};
use super::trail::AuditLine;
use crate::domain::access::{AccessRequest, AccessState};
use crate::domain::audit::AuditEntry;
use crate::domain::bytes::Sha256Digest;
use crate::domain::ids::AccessRequestId;
use crate::store::columns::{access_columns, access_request};
use crate::store::values::{json, limit};
use crate::store::{AccessQuery, AccessStore, ClaimOutcome, ClaimToken, DecideAccessRequest, StoreError};

#[async_trait]
impl AccessStore for SqliteStore {
    async fn create_access_request(&self, request: AccessRequest, audit: AuditEntry) -> Result<(), StoreError> {
        let line = AuditLine::encode(audit)?;
        self.writer.write(move |batch| create(batch, &request, &line)).await
    }

    async fn access_request(&self, id: AccessRequestId) -> Result<Option<AccessRequest>, StoreError> {
        let sql = concat!("SELECT ", access_columns!(), " FROM access_requests WHERE id = ?1");
        self.lookups.read(move |conn| one(conn, sql, &[&id.text().as_str()], |columns| access_request(columns))).await
    }

    async fn access_requests(&self, query: AccessQuery) -> Result<Vec<AccessRequest>, StoreError> {
        self.readers.read(move |conn| page(conn, &query)).await
    }

    async fn decide_access_request(&self, decide: DecideAccessRequest) -> Result<bool, StoreError> {
        let line = AuditLine::encode(decide.audit.clone())?;
        self.writer.write(move |batch| decide_on(batch, &decide, &line)).await
    }

    async fn access_request_by_claim(
        &self,
        claim: Sha256Digest,
        now: Timestamp,
    ) -> Result<Option<AccessRequest>, StoreError> {
        self.lookups.read(move |conn| by_claim(conn, claim, now)).await
    }

    async fn claim_token(&self, claim: ClaimToken) -> Result<ClaimOutcome, StoreError> {
        let line = AuditLine::encode(claim.audit.clone())?;
        self.writer.write(move |batch| spend(batch, &claim, &line)).await
    }
}

fn create(batch: &mut Batch<'_>, request: &AccessRequest, audit: &AuditLine) -> Result<(), Failure> {
    let mut insert = batch.conn.prepare_cached(concat!(
        "INSERT INTO access_requests (",
        access_columns!(),
        ", app, state, claim, claim_ends_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
    ))?;
    let claim = request.state.claim();
    insert.execute(params![
        request.id.text().as_str(),
        json(&request.asked).map_err(Failure::unwritable)?,
        request.by,
        request.reason,
        request.created_at.as_microsecond(),
        json(&request.state).map_err(Failure::unwritable)?,
        request.asked.app.as_str(),
        request.state.name().as_str(),
        claim.map(|claim| claim.hash.0),
        claim.map(|claim| claim.ends_at.as_microsecond()),
    ])?;
    batch.record(audit)
}

fn page(conn: &Connection, query: &AccessQuery) -> Result<Vec<AccessRequest>, Failure> {
    let sql = concat!(
        "SELECT ",
        access_columns!(),
        " FROM access_requests WHERE id < ?1 AND (?2 IS NULL OR state = ?2) AND (?3 IS NULL OR app = ?3)
         ORDER BY id DESC LIMIT ?4"
    );
    // '~' sorts after every id.
    let before = query.before.map_or_else(|| "~".to_owned(), |id| id.to_string());
    let state = query.state.map(|state| state.as_str());
    let app = query.app.as_ref().map(|app| app.as_str());
    many(conn, sql, &[&before, &state, &app, &limit(query.limit)], |columns| access_request(columns))
}

/// Writes the next state of a request that is in one of the states that lead to it.
fn advance(conn: &Connection, id: AccessRequestId, to: &AccessState, from: &str) -> Result<bool, Failure> {
    let mut update = conn.prepare_cached(
        "UPDATE access_requests SET life = ?2, state = ?3, claim = ?4, claim_ends_at = ?5
         WHERE id = ?1 AND state IN (SELECT value FROM json_each(?6))",
    )?;
    let claim = to.claim();
    let changed = update.execute(params![
        id.text().as_str(),
        json(to).map_err(Failure::unwritable)?,
        to.name().as_str(),
        claim.map(|claim| claim.hash.0),
        claim.map(|claim| claim.ends_at.as_microsecond()),
        from,
    ])?;
    Ok(changed > 0)
}

fn decide_on(batch: &mut Batch<'_>, decide: &DecideAccessRequest, audit: &AuditLine) -> Result<bool, Failure> {
    let from = if decide.to.claim().is_some() { r#"["pending"]"# } else { r#"["pending","approved"]"# };
    let decided = advance(batch.conn, decide.id, &decide.to, from)?;
    if decided {
        batch.record(audit)?;
    }
    Ok(decided)
}

fn by_claim(conn: &Connection, claim: Sha256Digest, now: Timestamp) -> Result<Option<AccessRequest>, Failure> {
    let sql = concat!(
        "SELECT ",
        access_columns!(),
        " FROM access_requests WHERE claim = ?1 AND state = 'approved' AND claim_ends_at > ?2"
    );
    one(conn, sql, &[&claim.0, &now.as_microsecond()], |columns| access_request(columns))
}

fn spend(batch: &mut Batch<'_>, claim: &ClaimToken, audit: &AuditLine) -> Result<ClaimOutcome, Failure> {
    let (token, now) = (&claim.token, claim.now);
    let Some(request) = by_claim(batch.conn, claim.claim, now)? else { return Ok(ClaimOutcome::Spent) };
    let Ok(claimed) = request.state.clone().claimed(token.id.clone(), now) else { return Ok(ClaimOutcome::Spent) };
    if let Some((old, _)) = &claim.replaces {
        let old = tokens::one(batch.conn, old)?.filter(|old| old.revoked_at.is_none());
        let Some(old) = old else { return Ok(ClaimOutcome::Spent) };
        if tokens::living_successor(batch.conn, &old, now)?.is_some() {
            return Ok(ClaimOutcome::Spent);
        }
    }
    if let Some(block) = blocking(batch.conn, &token.targets())? {
        return Ok(ClaimOutcome::Revoked(Box::new(block)));
    }
    if let Some(since) = revocations::since(batch.conn, &request.targets(), request.decided_at())? {
        return Ok(ClaimOutcome::Revoked(Box::new(since)));
    }
    tokens::insert(batch.conn, token)?;
    if let Some((old, ends_at)) = &claim.replaces {
        tokens::succeed(batch.conn, old, &token.id, *ends_at)?;
    }
    advance(batch.conn, request.id, &claimed, r#"["approved"]"#)?;
    batch.record(audit)?;
    Ok(ClaimOutcome::Claimed)
}
