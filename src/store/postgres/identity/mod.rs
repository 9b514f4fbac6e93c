//! Tokens and their revocations in PostgreSQL.
//!
//! A revocation holds an exclusive lock to the end of its transaction, and whoever writes a token a shared one: so each
//! sees what the other has committed, on every node, and no token slips between a look for blocks and its commit.

pub(super) mod revocations;
pub(super) mod tokens;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::PgConnection;

use super::error::Failure;
use super::op::{Done, Line, Op};
use super::{PostgresStore, connect, mixed_up};
use crate::domain::audit::AuditEntry;
use crate::domain::ids::{RevocationId, TokenId};
use crate::domain::object::Object;
use crate::domain::revocation::RevocationTarget;
use crate::store::{
    CreateOutcome, IdentityStore, Lifted, ObjectsOf, RevocationQuery, RevocationRecord, Revoke, Revoked, RotateOutcome,
    RotateToken, StoreError, TOKENS_AS_OF, TokenQuery, TokenRecord,
};

#[async_trait]
impl IdentityStore for PostgresStore {
    async fn create_token(&self, token: TokenRecord, audit: AuditEntry) -> Result<CreateOutcome, StoreError> {
        match self.committers.write(Op::CreateToken(Box::new(token), Line::encode(audit)?)).await? {
            Done::Created(outcome) => Ok(outcome),
            _ => Err(mixed_up()),
        }
    }

    async fn token(&self, id: &TokenId) -> Result<Option<TokenRecord>, StoreError> {
        self.readers.read(id.clone(), |conn, id| Box::pin(tokens::one(conn, id))).await
    }

    async fn tokens(&self, query: TokenQuery) -> Result<Vec<TokenRecord>, StoreError> {
        self.listers.read(query, |conn, query| Box::pin(tokens::page(conn, query))).await
    }

    async fn rotate_token(&self, rotate: RotateToken) -> Result<RotateOutcome, StoreError> {
        let line = Line::encode(rotate.audit.clone())?;
        match self.committers.write(Op::RotateToken(Box::new(rotate), line)).await? {
            Done::Rotated(outcome) => Ok(outcome),
            _ => Err(mixed_up()),
        }
    }

    async fn tokens_used(&self, used: Vec<(TokenId, Timestamp)>) -> Result<(), StoreError> {
        self.nothing(Op::TokensUsed(used)).await
    }

    async fn revoke(&self, revoke: Revoke) -> Result<Revoked, StoreError> {
        let line = Line::encode(revoke.audit.clone())?;
        match self.committers.write(Op::Revoke(Box::new(revoke), line)).await? {
            Done::Revoked(revoked) => Ok(revoked),
            _ => Err(mixed_up()),
        }
    }

    async fn revocations(&self, query: RevocationQuery) -> Result<Vec<RevocationRecord>, StoreError> {
        self.listers.read(query, |conn, query| Box::pin(revocations::page(conn, query))).await
    }

    async fn revocation(&self, id: RevocationId) -> Result<Option<RevocationRecord>, StoreError> {
        self.readers.read(id, |conn, id| Box::pin(revocations::one(conn, *id))).await
    }

    async fn tokens_revoked_by(&self, revocation: &RevocationRecord) -> Result<Vec<TokenId>, StoreError> {
        let revocation = revocation.clone();
        self.listers.read(revocation, |conn, revocation| Box::pin(revocations::ended(conn, revocation))).await
    }

    async fn lift_revocation(
        &self,
        id: RevocationId,
        at: Timestamp,
        by: &str,
        audit: AuditEntry,
    ) -> Result<bool, StoreError> {
        self.flag(Op::LiftRevocation(id, Lifted { at, by: by.to_owned() }, Line::encode(audit)?)).await
    }

    async fn blocked(&self, targets: &[RevocationTarget]) -> Result<Option<RevocationRecord>, StoreError> {
        self.readers.read(targets.to_owned(), |conn, targets| Box::pin(revocations::blocking(conn, targets))).await
    }

    async fn revoked_since(
        &self,
        targets: &[RevocationTarget],
        since: Timestamp,
    ) -> Result<Option<RevocationRecord>, StoreError> {
        let asked = (targets.to_owned(), since);
        self.readers.read(asked, |conn, (targets, since)| Box::pin(revocations::since(conn, targets, *since))).await
    }

    async fn to_contain(&self, limit: usize) -> Result<Vec<RevocationRecord>, StoreError> {
        self.readers.read(limit, |conn, limit| Box::pin(revocations::to_contain(conn, *limit))).await
    }

    async fn contained(&self, id: RevocationId, at: Timestamp, audit: AuditEntry) -> Result<bool, StoreError> {
        self.flag(Op::Contained(id, at, Line::encode(audit)?)).await
    }

    async fn objects_of(&self, query: ObjectsOf) -> Result<Vec<Object>, StoreError> {
        if !query.patient {
            return self.listers.read(query, |conn, query| Box::pin(revocations::objects_of(conn, query))).await;
        }
        let mut conn = connect::for_maintenance(&self.url).await?;
        Ok(revocations::objects_of(&mut conn, &query).await?)
    }
}

/// Of the advisory locks; any number that nobody else in the database uses.
const TOKENS: i64 = 0x7665_7374_6962_0001;

/// Lets this transaction write tokens; waits for a revocation or a rotation under way.
pub(super) async fn share_tokens(conn: &mut PgConnection) -> Result<(), Failure> {
    sqlx::query("SELECT pg_advisory_xact_lock_shared($1)").bind(TOKENS).execute(conn).await?;
    Ok(())
}

/// Keeps everybody else from writing tokens until the end of this transaction.
pub(super) async fn hold_tokens(conn: &mut PgConnection) -> Result<(), Failure> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(TOKENS).execute(conn).await?;
    Ok(())
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
