//! Tokens and their revocations: part of the durable state.
//!
//! A token works while its row says so, whatever is signed elsewhere. A revocation ends every token that it concerns, and
//! those derived from them, in one transaction; one that blocks also keeps new ones away: whoever creates a token looks
//! for blocks where no revocation can slip between the look and the commit. Every method is one atomic act.

use async_trait::async_trait;
use jiff::Timestamp;

use super::{
    CreateOutcome, ObjectsOf, RevocationQuery, RevocationRecord, Revoke, Revoked, RotateOutcome, RotateToken,
    StoreError, TokenQuery, TokenRecord,
};
use crate::domain::audit::AuditEntry;
use crate::domain::ids::{RevocationId, TokenId};
use crate::domain::object::Object;
use crate::domain::revocation::RevocationTarget;

/// Tokens and their revocations.
#[async_trait]
pub trait IdentityStore: Send + Sync {
    /// Saves a token and the entry of its creation, unless a block or its parent forbids it.
    async fn create_token(&self, token: TokenRecord, audit: AuditEntry) -> Result<CreateOutcome, StoreError>;

    /// The token with this id, revoked and expired ones included.
    async fn token(&self, id: &TokenId) -> Result<Option<TokenRecord>, StoreError>;

    /// A page of tokens, newest first.
    async fn tokens(&self, query: TokenQuery) -> Result<Vec<TokenRecord>, StoreError>;

    /// Saves the token that replaces another, and says so there. Changes [`super::TOKENS_AS_OF`].
    async fn rotate_token(&self, rotate: RotateToken) -> Result<RotateOutcome, StoreError>;

    /// Notes when tokens were last accepted; what is known to be later stays.
    async fn tokens_used(&self, used: Vec<(TokenId, Timestamp)>) -> Result<(), StoreError>;

    /// Ends every token of the target and those derived from them, and records that. Changes [`super::TOKENS_AS_OF`].
    /// A target without tokens is recorded too: the block counts.
    async fn revoke(&self, revoke: Revoke) -> Result<Revoked, StoreError>;

    /// A page of revocations, newest first.
    async fn revocations(&self, query: RevocationQuery) -> Result<Vec<RevocationRecord>, StoreError>;

    /// The revocation with this id.
    async fn revocation(&self, id: RevocationId) -> Result<Option<RevocationRecord>, StoreError>;

    /// The newest tokens that a revocation has ended, a hundred at most.
    async fn tokens_revoked_by(&self, revocation: &RevocationRecord) -> Result<Vec<TokenId>, StoreError>;

    /// Ends a block; what is dead stays dead. `false` where there is none in force; nothing was written then.
    async fn lift_revocation(
        &self,
        id: RevocationId,
        at: Timestamp,
        by: &str,
        audit: AuditEntry,
    ) -> Result<bool, StoreError>;

    /// The newest block in force for any of these.
    async fn blocked(&self, targets: &[RevocationTarget]) -> Result<Option<RevocationRecord>, StoreError>;

    /// Revocations whose uploads are still to be contained, oldest first.
    async fn to_contain(&self, limit: usize) -> Result<Vec<RevocationRecord>, StoreError>;

    /// Notes that all uploads were contained. `false` where that was noted before; nothing was written then.
    async fn contained(&self, id: RevocationId, at: Timestamp, audit: AuditEntry) -> Result<bool, StoreError>;

    /// The newest revocation of any of these since then, whether it blocks or not, or from before where it still forbids: of a
    /// token, or a block in force.
    async fn revoked_since(
        &self,
        targets: &[RevocationTarget],
        since: Timestamp,
    ) -> Result<Option<RevocationRecord>, StoreError>;

    /// A page of what was uploaded under a target, oldest first. Has no index and may take long.
    /// Uploads of a device or a key are known while the tokens' rows are there.
    async fn objects_of(&self, query: ObjectsOf) -> Result<Vec<Object>, StoreError>;
}
