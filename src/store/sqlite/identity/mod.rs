//! Tokens and their revocations in SQLite. One transaction at a time writes, so that nothing slips between two looks.

pub(super) mod revocations;
pub(super) mod tokens;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::Connection;

use super::error::Failure;
use super::trail::AuditLine;
use super::{SqliteStore, schema};
use crate::domain::audit::AuditEntry;
use crate::domain::ids::{RevocationId, TokenId};
use crate::domain::object::Object;
use crate::domain::revocation::RevocationTarget;
use crate::store::{
    CreateOutcome, IdentityStore, ObjectsOf, RevocationQuery, RevocationRecord, Revoke, Revoked, RotateOutcome,
    RotateToken, StoreError, TOKENS_AS_OF, TokenQuery, TokenRecord,
};

#[async_trait]
impl IdentityStore for SqliteStore {
    async fn create_token(&self, token: TokenRecord, audit: AuditEntry) -> Result<CreateOutcome, StoreError> {
        let line = AuditLine::encode(audit)?;
        self.writer.write(move |batch| tokens::create(batch, &token, &line)).await
    }

    async fn token(&self, id: &TokenId) -> Result<Option<TokenRecord>, StoreError> {
        let id = id.clone();
        self.lookups.read(move |conn| tokens::one(conn, &id)).await
    }

    async fn tokens(&self, query: TokenQuery) -> Result<Vec<TokenRecord>, StoreError> {
        self.readers.read(move |conn| tokens::page(conn, &query)).await
    }

    async fn rotate_token(&self, rotate: RotateToken) -> Result<RotateOutcome, StoreError> {
        let line = AuditLine::encode(rotate.audit.clone())?;
        self.writer.write(move |batch| tokens::rotate(batch, &rotate, &line)).await
    }

    async fn tokens_used(&self, used: Vec<(TokenId, Timestamp)>) -> Result<(), StoreError> {
        self.writer.write(move |batch| tokens::used(batch.conn, &used)).await
    }

    async fn revoke(&self, revoke: Revoke) -> Result<Revoked, StoreError> {
        let line = AuditLine::encode(revoke.audit.clone())?;
        self.writer.write(move |batch| revocations::revoke(batch, &revoke, &line)).await
    }

    async fn revocations(&self, query: RevocationQuery) -> Result<Vec<RevocationRecord>, StoreError> {
        self.readers.read(move |conn| revocations::page(conn, &query)).await
    }

    async fn revocation(&self, id: RevocationId) -> Result<Option<RevocationRecord>, StoreError> {
        self.lookups.read(move |conn| revocations::one(conn, id)).await
    }

    async fn tokens_revoked_by(&self, revocation: &RevocationRecord) -> Result<Vec<TokenId>, StoreError> {
        let revocation = revocation.clone();
        self.readers.read(move |conn| revocations::ended(conn, &revocation)).await
    }

    async fn lift_revocation(
        &self,
        id: RevocationId,
        at: Timestamp,
        by: &str,
        audit: AuditEntry,
    ) -> Result<bool, StoreError> {
        let (by, line) = (by.to_owned(), AuditLine::encode(audit)?);
        self.writer.write(move |batch| revocations::lift(batch, id, at, &by, &line)).await
    }

    async fn blocked(&self, targets: &[RevocationTarget]) -> Result<Option<RevocationRecord>, StoreError> {
        let targets = targets.to_owned();
        self.lookups.read(move |conn| revocations::blocking(conn, &targets)).await
    }

    async fn revoked_since(
        &self,
        targets: &[RevocationTarget],
        since: Timestamp,
    ) -> Result<Option<RevocationRecord>, StoreError> {
        let targets = targets.to_owned();
        self.lookups.read(move |conn| revocations::since(conn, &targets, since)).await
    }

    async fn to_contain(&self, limit: usize) -> Result<Vec<RevocationRecord>, StoreError> {
        self.lookups.read(move |conn| revocations::to_contain(conn, limit)).await
    }

    async fn contained(&self, id: RevocationId, at: Timestamp, audit: AuditEntry) -> Result<bool, StoreError> {
        let line = AuditLine::encode(audit)?;
        self.writer.write(move |batch| revocations::contained(batch, id, at, &line)).await
    }

    async fn objects_of(&self, query: ObjectsOf) -> Result<Vec<Object>, StoreError> {
        if !query.patient {
            return self.readers.read(move |conn| revocations::objects_of(conn, &query)).await;
        }
        let (path, busy) = (self.path.clone(), self.busy);
        let read = move || revocations::objects_of(&schema::open_for_reading(&path, busy)?, &query);
        let lost = |error| StoreError::Unavailable(format!("a read was lost: {error}"));
        Ok(tokio::task::spawn_blocking(read).await.map_err(lost)??)
    }
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
