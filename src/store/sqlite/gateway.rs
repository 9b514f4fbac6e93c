//! What the gateway keeps about itself, in SQLite. See [`crate::store::GatewayStore`].

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, params};
use secrecy::ExposeSecret;
use uuid::Uuid;

use super::SqliteStore;
use super::batch::Batch;
use super::error::Failure;
use super::identity::tokens_changed;
use super::rows::many;
use super::trail::AuditLine;
use crate::domain::audit::AuditEntry;
use crate::domain::ids::ObjectId;
use crate::store::columns::{self, Columns, approval_columns, key_columns};
use crate::store::values::{int, json};
use crate::store::{GatewayKey, GatewayStore, KeyPurpose, NodeRecord, ReleaseApproval, StoreError};

#[async_trait]
impl GatewayStore for SqliteStore {
    async fn gateway_keys(&self, purpose: KeyPurpose) -> Result<Vec<GatewayKey>, StoreError> {
        self.lookups.read(move |conn| keys(conn, purpose)).await
    }

    async fn add_gateway_key(
        &self,
        key: GatewayKey,
        previous_accepted_until: Option<Timestamp>,
        audit: AuditEntry,
    ) -> Result<bool, StoreError> {
        let line = AuditLine::encode(audit)?;
        self.writer.write(move |batch| add_key(batch, &key, previous_accepted_until, &line)).await
    }

    async fn use_proof(&self, hash: [u8; 32], keep_until: Timestamp) -> Result<bool, StoreError> {
        let sql = "INSERT INTO proofs (hash, keep_until) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
        self.writer
            .write(move |batch| {
                Ok(batch.conn.prepare_cached(sql)?.execute(params![hash, keep_until.as_microsecond()])? > 0)
            })
            .await
    }

    async fn node_seen(&self, node: NodeRecord) -> Result<(), StoreError> {
        self.writer.write(move |batch| node_seen(batch, &node)).await
    }

    async fn node_left(&self, id: Uuid) -> Result<(), StoreError> {
        self.writer
            .write(move |batch| {
                batch.conn.prepare_cached("DELETE FROM nodes WHERE id = ?1")?.execute([id.as_bytes()])?;
                Ok(())
            })
            .await
    }

    async fn nodes(&self, since: Timestamp) -> Result<Vec<NodeRecord>, StoreError> {
        let sql = "SELECT id, url, version, started_at, seen_at FROM nodes WHERE seen_at >= ?1 ORDER BY url, id";
        self.lookups
            .read(move |conn| {
                many(conn, sql, &[&since.as_microsecond()], |columns| {
                    let id = columns.optional_bytes()?.and_then(|id| Uuid::from_slice(id).ok());
                    columns::node(id.ok_or_else(|| columns.unreadable("it is no id"))?, columns)
                })
            })
            .await
    }

    async fn approve_release(
        &self,
        approval: ReleaseApproval,
        audit: AuditEntry,
    ) -> Result<Vec<ReleaseApproval>, StoreError> {
        let line = AuditLine::encode(audit)?;
        self.writer.write(move |batch| approve(batch, &approval, &line)).await
    }
}

fn keys(conn: &Connection, purpose: KeyPurpose) -> Result<Vec<GatewayKey>, Failure> {
    let sql = concat!("SELECT ", key_columns!(), " FROM gateway_keys WHERE purpose = ?1 ORDER BY number DESC");
    many(conn, sql, &[&purpose.as_str()], |columns| columns::gateway_key(columns))
}

fn add_key(
    batch: &mut Batch<'_>,
    key: &GatewayKey,
    previous_accepted_until: Option<Timestamp>,
    audit: &AuditLine,
) -> Result<bool, Failure> {
    let mut insert = batch.conn.prepare_cached(concat!(
        "INSERT INTO gateway_keys (",
        key_columns!(),
        ") VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING"
    ))?;
    let row = params![
        key.id.as_str(),
        key.purpose.as_str(),
        int(key.number),
        key.secret.expose_secret(),
        key.created_at.as_microsecond(),
        key.accepted_until.map(Timestamp::as_microsecond),
    ];
    if insert.execute(row)? == 0 {
        return Ok(false);
    }
    let mut bound = batch.conn.prepare_cached(
        "UPDATE gateway_keys SET accepted_until = ?3 WHERE purpose = ?1 AND number < ?2 AND accepted_until IS NULL",
    )?;
    let until = previous_accepted_until.map(Timestamp::as_microsecond);
    bound.execute(params![key.purpose.as_str(), int(key.number), until])?;
    tokens_changed(batch.conn)?;
    batch.record(audit)?;
    Ok(true)
}

fn node_seen(batch: &Batch<'_>, node: &NodeRecord) -> Result<(), Failure> {
    let mut seen = batch.conn.prepare_cached(
        "INSERT INTO nodes (id, url, version, started_at, seen_at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (id) DO UPDATE SET url = excluded.url, seen_at = excluded.seen_at",
    )?;
    let (started, at) = (node.started_at.as_microsecond(), node.seen_at.as_microsecond());
    seen.execute(params![node.id.as_bytes(), node.url, node.version, started, at])?;
    Ok(())
}

fn approve(
    batch: &mut Batch<'_>,
    approval: &ReleaseApproval,
    audit: &AuditLine,
) -> Result<Vec<ReleaseApproval>, Failure> {
    let mut insert = batch.conn.prepare_cached(concat!(
        "INSERT INTO release_approvals (",
        approval_columns!(),
        ") VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE
         SET targets = excluded.targets, reason = excluded.reason, at = excluded.at"
    ))?;
    let object: ObjectId = approval.object;
    insert.execute(params![
        object.text().as_str(),
        int(approval.revision),
        approval.by,
        json(&approval.targets).map_err(Failure::unwritable)?,
        approval.reason,
        approval.at.as_microsecond()
    ])?;
    batch.record(audit)?;
    let sql = concat!(
        "SELECT ",
        approval_columns!(),
        " FROM release_approvals WHERE object_id = ?1 AND revision = ?2 ORDER BY at, by"
    );
    many(batch.conn, sql, &[&object.text().as_str(), &int(approval.revision)], |columns| columns::approval(columns))
}
