//! Requests for access in PostgreSQL. See [`crate::store::AccessStore`].

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use super::batch::Work;
use super::error::Failure;
use super::identity::revocations::{self, blocking};
use super::identity::{hold_tokens, share_tokens, tokens};
use super::op::{Done, Line, Op};
use super::reads::all;
use super::rows::{PgColumns, text};
use super::{PostgresStore, mixed_up};
use crate::domain::access::{AccessRequest, AccessState};
use crate::domain::audit::AuditEntry;
use crate::domain::bytes::Sha256Digest;
use crate::domain::ids::AccessRequestId;
use crate::store::columns::{access_columns, access_request};
use crate::store::values::{json, limit};
use crate::store::{AccessQuery, AccessStore, ClaimOutcome, ClaimToken, DecideAccessRequest, StoreError};

/// A write of this module, as the committers take it.
pub(super) enum AccessOp {
    Create(Box<AccessRequest>, Line),
    Decide(Box<DecideAccessRequest>, Line),
    Claim(Box<ClaimToken>, Line),
}

impl AccessOp {
    /// See [`Op::order`]. A claim writes tokens, as their other writers do; the others lock one row of their own.
    pub(super) fn order(&self) -> (u8, Uuid) {
        match self {
            AccessOp::Claim(claim, _) if claim.replaces.is_some() => (3, Uuid::nil()),
            AccessOp::Claim(..) => (4, Uuid::nil()),
            AccessOp::Create(request, _) => (9, request.id.uuid()),
            AccessOp::Decide(decide, _) => (9, decide.id.uuid()),
        }
    }

    /// The entry that is written with it.
    pub(super) fn line(&self) -> &Line {
        match self {
            AccessOp::Create(_, line) | AccessOp::Decide(_, line) | AccessOp::Claim(_, line) => line,
        }
    }
}

#[async_trait]
impl AccessStore for PostgresStore {
    async fn create_access_request(&self, request: AccessRequest, audit: AuditEntry) -> Result<(), StoreError> {
        self.nothing(Op::Access(AccessOp::Create(Box::new(request), Line::encode(audit)?))).await
    }

    async fn access_request(&self, id: AccessRequestId) -> Result<Option<AccessRequest>, StoreError> {
        self.readers.read(id, |conn, id| Box::pin(one(conn, *id))).await
    }

    async fn access_requests(&self, query: AccessQuery) -> Result<Vec<AccessRequest>, StoreError> {
        self.listers.read(query, |conn, query| Box::pin(page(conn, query))).await
    }

    async fn decide_access_request(&self, decide: DecideAccessRequest) -> Result<bool, StoreError> {
        let line = Line::encode(decide.audit.clone())?;
        self.flag(Op::Access(AccessOp::Decide(Box::new(decide), line))).await
    }

    async fn access_request_by_claim(
        &self,
        claim: Sha256Digest,
        now: Timestamp,
    ) -> Result<Option<AccessRequest>, StoreError> {
        self.readers.read((claim, now), |conn, (claim, now)| Box::pin(by_claim(conn, *claim, *now))).await
    }

    async fn claim_token(&self, claim: ClaimToken) -> Result<ClaimOutcome, StoreError> {
        let line = Line::encode(claim.audit.clone())?;
        match self.committers.write(Op::Access(AccessOp::Claim(Box::new(claim), line))).await? {
            Done::Claimed(outcome) => Ok(outcome),
            _ => Err(mixed_up()),
        }
    }
}

/// Carries out a write inside a batch.
pub(super) async fn run<'a>(conn: &mut PgConnection, op: &'a AccessOp, work: &mut Work<'a>) -> Result<Done, Failure> {
    match op {
        AccessOp::Create(request, line) => create(conn, request, line, work).await.map(|()| Done::Nothing),
        AccessOp::Decide(decide, line) => decide_on(conn, decide, line, work).await.map(Done::Flag),
        AccessOp::Claim(claim, line) => spend(conn, claim, line, work).await.map(Done::Claimed),
    }
}

async fn create<'a>(
    conn: &mut PgConnection,
    request: &AccessRequest,
    line: &'a Line,
    work: &mut Work<'a>,
) -> Result<(), Failure> {
    let sql = concat!(
        "INSERT INTO access_requests (",
        access_columns!(),
        ", app, state, claim, claim_ends_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
    );
    let claim = request.state.claim();
    sqlx::query(sql)
        .bind(request.id.to_string())
        .bind(text(&json(&request.asked).map_err(Failure::unwritable)?))
        .bind(text(&request.by))
        .bind(text(&request.reason))
        .bind(request.created_at.as_microsecond())
        .bind(text(&json(&request.state).map_err(Failure::unwritable)?))
        .bind(request.asked.app.as_str())
        .bind(request.state.name().as_str())
        .bind(claim.map(|claim| claim.hash.0.to_vec()))
        .bind(claim.map(|claim| claim.ends_at.as_microsecond()))
        .execute(conn)
        .await?;
    work.record(line);
    Ok(())
}

async fn one(conn: &mut PgConnection, id: AccessRequestId) -> Result<Option<AccessRequest>, Failure> {
    let sql = concat!("SELECT ", access_columns!(), " FROM access_requests WHERE id = $1");
    let row = sqlx::query(sql).bind(id.to_string()).fetch_optional(conn).await?;
    row.as_ref().map(|row| access_request(&mut PgColumns::of(row))).transpose()
}

async fn page(conn: &mut PgConnection, query: &AccessQuery) -> Result<Vec<AccessRequest>, Failure> {
    let sql = concat!(
        "SELECT ",
        access_columns!(),
        " FROM access_requests WHERE ($1::text IS NULL OR id < $1) AND ($2::text IS NULL OR state = $2)
         AND ($3::text IS NULL OR app = $3) ORDER BY id DESC LIMIT $4"
    );
    let rows = sqlx::query(sql)
        .bind(query.before.map(|id| id.to_string()))
        .bind(query.state.map(|state| state.as_str()))
        .bind(query.app.as_ref().map(|app| app.as_str()))
        .bind(limit(query.limit))
        .fetch_all(conn)
        .await?;
    all(&rows, |columns| access_request(columns))
}

/// Writes the next state of a request that is in one of the states that lead to it.
async fn advance(
    conn: &mut PgConnection,
    id: AccessRequestId,
    to: &AccessState,
    from: &[&str],
) -> Result<bool, Failure> {
    let update = sqlx::query(
        "UPDATE access_requests SET life = $2, state = $3, claim = $4, claim_ends_at = $5
         WHERE id = $1 AND state = ANY($6)",
    );
    let claim = to.claim();
    let done = update
        .bind(id.to_string())
        .bind(text(&json(to).map_err(Failure::unwritable)?))
        .bind(to.name().as_str())
        .bind(claim.map(|claim| claim.hash.0.to_vec()))
        .bind(claim.map(|claim| claim.ends_at.as_microsecond()))
        .bind(from)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() > 0)
}

async fn decide_on<'a>(
    conn: &mut PgConnection,
    decide: &DecideAccessRequest,
    line: &'a Line,
    work: &mut Work<'a>,
) -> Result<bool, Failure> {
    let from: &[&str] = if decide.to.claim().is_some() { &["pending"] } else { &["pending", "approved"] };
    let decided = advance(conn, decide.id, &decide.to, from).await?;
    if decided {
        work.record(line);
    }
    Ok(decided)
}

async fn by_claim(
    conn: &mut PgConnection,
    claim: Sha256Digest,
    now: Timestamp,
) -> Result<Option<AccessRequest>, Failure> {
    let sql = concat!(
        "SELECT ",
        access_columns!(),
        " FROM access_requests WHERE claim = $1 AND state = 'approved' AND claim_ends_at > $2"
    );
    let row = sqlx::query(sql).bind(&claim.0[..]).bind(now.as_microsecond()).fetch_optional(conn).await?;
    row.as_ref().map(|row| access_request(&mut PgColumns::of(row))).transpose()
}

async fn spend<'a>(
    conn: &mut PgConnection,
    claim: &ClaimToken,
    line: &'a Line,
    work: &mut Work<'a>,
) -> Result<ClaimOutcome, Failure> {
    let (token, now) = (&claim.token, claim.now);
    match claim.replaces {
        // As a rotation.
        Some(_) => hold_tokens(conn).await?,
        None => share_tokens(conn).await?,
    }
    // Whoever spends or denies the same link at the same time waits here, and then finds it gone.
    let lock = sqlx::query("SELECT 1 FROM access_requests WHERE claim = $1 FOR UPDATE");
    lock.bind(&claim.claim.0[..]).execute(&mut *conn).await?;
    let Some(request) = by_claim(conn, claim.claim, now).await? else { return Ok(ClaimOutcome::Spent) };
    let Ok(claimed) = request.state.clone().claimed(token.id.clone(), now) else { return Ok(ClaimOutcome::Spent) };
    if let Some((old, _)) = &claim.replaces {
        let old = tokens::one(conn, old).await?.filter(|old| old.revoked_at.is_none());
        let Some(old) = old else { return Ok(ClaimOutcome::Spent) };
        if tokens::living_successor(conn, &old, now).await?.is_some() {
            return Ok(ClaimOutcome::Spent);
        }
    }
    if let Some(block) = blocking(conn, &token.targets()).await? {
        return Ok(ClaimOutcome::Revoked(Box::new(block)));
    }
    if let Some(since) = revocations::since(conn, &request.targets(), request.decided_at()).await? {
        return Ok(ClaimOutcome::Revoked(Box::new(since)));
    }
    tokens::insert(conn, token).await?;
    if let Some((old, ends_at)) = &claim.replaces {
        tokens::succeed(conn, old, &token.id, *ends_at).await?;
    }
    advance(conn, request.id, &claimed, &["approved"]).await?;
    work.record(line);
    Ok(ClaimOutcome::Claimed)
}
