//! What the gateway keeps about itself, in PostgreSQL. See [`crate::store::GatewayStore`].

use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::ExposeSecret;
use sqlx::PgConnection;
use uuid::Uuid;

use super::batch::Work;
use super::error::Failure;
use super::identity::tokens_changed;
use super::op::{Done, Line, Op};
use super::reads::all;
use super::rows::{PgColumns, text};
use super::{PostgresStore, mixed_up};
use crate::domain::audit::AuditEntry;
use crate::store::columns::{self, approval_columns, key_columns};
use crate::store::values::{int, json};
use crate::store::{GatewayKey, GatewayStore, KeyPurpose, NodeRecord, ReleaseApproval, StoreError};

/// A write of this module, as the committers take it.
pub(super) enum GatewayOp {
    AddKey(Box<GatewayKey>, Option<Timestamp>, Line),
    UseProof([u8; 32], Timestamp),
    NodeSeen(NodeRecord),
    NodeLeft(Uuid),
    Approve(Box<ReleaseApproval>, Line),
}

impl GatewayOp {
    /// See [`Op::order`]. An approval locks the object; a new key changes the setting that tokens
    /// change; nodes and proofs lock rows of their own.
    pub(super) fn order(&self) -> (u8, Uuid) {
        match self {
            GatewayOp::AddKey(..) => (4, Uuid::nil()),
            GatewayOp::NodeSeen(NodeRecord { id, .. }) | GatewayOp::NodeLeft(id) => (6, *id),
            GatewayOp::Approve(approval, _) => (0, approval.object.uuid()),
            GatewayOp::UseProof(hash, _) => (8, Uuid::from_slice(&hash[..16]).unwrap_or_default()),
        }
    }

    /// The entry that is written with it.
    pub(super) fn line(&self) -> Option<&Line> {
        match self {
            GatewayOp::AddKey(_, _, line) | GatewayOp::Approve(_, line) => Some(line),
            GatewayOp::UseProof(..) | GatewayOp::NodeSeen(_) | GatewayOp::NodeLeft(_) => None,
        }
    }
}

#[async_trait]
impl GatewayStore for PostgresStore {
    async fn gateway_keys(&self, purpose: KeyPurpose) -> Result<Vec<GatewayKey>, StoreError> {
        self.readers.read(purpose, |conn, purpose| Box::pin(keys(conn, *purpose))).await
    }

    async fn add_gateway_key(
        &self,
        key: GatewayKey,
        previous_accepted_until: Option<Timestamp>,
        audit: AuditEntry,
    ) -> Result<bool, StoreError> {
        let line = Line::encode(audit)?;
        self.flag(Op::Gateway(GatewayOp::AddKey(Box::new(key), previous_accepted_until, line))).await
    }

    async fn use_proof(&self, hash: [u8; 32], keep_until: Timestamp) -> Result<bool, StoreError> {
        self.flag(Op::Gateway(GatewayOp::UseProof(hash, keep_until))).await
    }

    async fn node_seen(&self, node: NodeRecord) -> Result<(), StoreError> {
        self.nothing(Op::Gateway(GatewayOp::NodeSeen(node))).await
    }

    async fn node_left(&self, id: Uuid) -> Result<(), StoreError> {
        self.nothing(Op::Gateway(GatewayOp::NodeLeft(id))).await
    }

    async fn nodes(&self, since: Timestamp) -> Result<Vec<NodeRecord>, StoreError> {
        self.readers.read(since, |conn, since| Box::pin(nodes(conn, *since))).await
    }

    async fn approve_release(
        &self,
        approval: ReleaseApproval,
        audit: AuditEntry,
    ) -> Result<Vec<ReleaseApproval>, StoreError> {
        let op = GatewayOp::Approve(Box::new(approval), Line::encode(audit)?);
        match self.committers.write(Op::Gateway(op)).await? {
            Done::Approvals(approvals) => Ok(approvals),
            _ => Err(mixed_up()),
        }
    }
}

/// Carries out a write inside a batch.
pub(super) async fn run<'a>(conn: &mut PgConnection, op: &'a GatewayOp, work: &mut Work<'a>) -> Result<Done, Failure> {
    match op {
        GatewayOp::AddKey(key, until, line) => add_key(conn, key, *until, line, work).await.map(Done::Flag),
        GatewayOp::UseProof(hash, until) => {
            let sql = "INSERT INTO proofs (hash, keep_until) VALUES ($1, $2) ON CONFLICT DO NOTHING";
            let insert = sqlx::query(sql).bind(&hash[..]).bind(until.as_microsecond());
            Ok(Done::Flag(insert.execute(conn).await?.rows_affected() > 0))
        }
        GatewayOp::NodeSeen(node) => node_seen(conn, node).await.map(|()| Done::Nothing),
        GatewayOp::NodeLeft(id) => {
            sqlx::query("DELETE FROM nodes WHERE id = $1").bind(id).execute(conn).await?;
            Ok(Done::Nothing)
        }
        GatewayOp::Approve(approval, line) => approve(conn, approval, line, work).await.map(Done::Approvals),
    }
}

async fn keys(conn: &mut PgConnection, purpose: KeyPurpose) -> Result<Vec<GatewayKey>, Failure> {
    let sql = concat!("SELECT ", key_columns!(), " FROM gateway_keys WHERE purpose = $1 ORDER BY number DESC");
    let rows = sqlx::query(sql).bind(purpose.as_str()).fetch_all(conn).await?;
    all(&rows, |columns| columns::gateway_key(columns))
}

async fn add_key<'a>(
    conn: &mut PgConnection,
    key: &GatewayKey,
    previous_accepted_until: Option<Timestamp>,
    line: &'a Line,
    work: &mut Work<'a>,
) -> Result<bool, Failure> {
    let sql = concat!(
        "INSERT INTO gateway_keys (",
        key_columns!(),
        ") VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING"
    );
    let insert = sqlx::query(sql)
        .bind(key.id.as_str())
        .bind(key.purpose.as_str())
        .bind(int(key.number))
        .bind(key.secret.expose_secret())
        .bind(key.created_at.as_microsecond())
        .bind(key.accepted_until.map(Timestamp::as_microsecond));
    if insert.execute(&mut *conn).await?.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query(
        "UPDATE gateway_keys SET accepted_until = $3 WHERE purpose = $1 AND number < $2 AND accepted_until IS NULL",
    )
    .bind(key.purpose.as_str())
    .bind(int(key.number))
    .bind(previous_accepted_until.map(Timestamp::as_microsecond))
    .execute(&mut *conn)
    .await?;
    tokens_changed(conn).await?;
    work.record(line);
    Ok(true)
}

async fn node_seen(conn: &mut PgConnection, node: &NodeRecord) -> Result<(), Failure> {
    let sql = "INSERT INTO nodes (id, url, version, started_at, seen_at) VALUES ($1, $2, $3, $4, $5)
               ON CONFLICT (id) DO UPDATE SET url = excluded.url, seen_at = excluded.seen_at";
    sqlx::query(sql)
        .bind(node.id)
        .bind(text(&node.url))
        .bind(text(&node.version))
        .bind(node.started_at.as_microsecond())
        .bind(node.seen_at.as_microsecond())
        .execute(conn)
        .await?;
    Ok(())
}

async fn nodes(conn: &mut PgConnection, since: Timestamp) -> Result<Vec<NodeRecord>, Failure> {
    let sql = "SELECT id, url, version, started_at, seen_at FROM nodes WHERE seen_at >= $1 ORDER BY url, id";
    let rows = sqlx::query(sql).bind(since.as_microsecond()).fetch_all(conn).await?;
    all(&rows, |columns: &mut PgColumns<'_>| columns::node(columns.get()?, columns))
}

async fn approve<'a>(
    conn: &mut PgConnection,
    approval: &ReleaseApproval,
    line: &'a Line,
    work: &mut Work<'a>,
) -> Result<Vec<ReleaseApproval>, Failure> {
    // Of two who agree at the same moment the second waits here, and then sees the first.
    let lock = sqlx::query("SELECT 1 FROM objects WHERE id = $1 FOR NO KEY UPDATE");
    lock.bind(approval.object.uuid()).execute(&mut *conn).await?;
    let sql = concat!(
        "INSERT INTO release_approvals (",
        approval_columns!(),
        ") VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (object_id, revision, by) DO UPDATE
         SET targets = excluded.targets, reason = excluded.reason, at = excluded.at"
    );
    sqlx::query(sql)
        .bind(approval.object.uuid())
        .bind(int(approval.revision))
        .bind(text(&approval.by))
        .bind(text(&json(&approval.targets).map_err(Failure::unwritable)?))
        .bind(text(&approval.reason))
        .bind(approval.at.as_microsecond())
        .execute(&mut *conn)
        .await?;
    work.record(line);
    let sql = concat!(
        "SELECT ",
        approval_columns!(),
        " FROM release_approvals WHERE object_id = $1 AND revision = $2 ORDER BY at, by"
    );
    let rows = sqlx::query(sql).bind(approval.object.uuid()).bind(int(approval.revision)).fetch_all(conn).await?;
    all(&rows, |columns| columns::approval(columns))
}
