//! Requests for access, and the claims that turn an approved one into a token.
//!
//! A claim is one transaction: the link is spent, the token is there, and where it takes the place of another one, that one
//! has its end. Every method is one atomic act.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::domain::access::{AccessRequest, AccessState, AccessStateName};
use crate::domain::audit::AuditEntry;
use crate::domain::bytes::Sha256Digest;
use crate::domain::ids::{AccessRequestId, AppName, TokenId};

use super::{RevocationRecord, StoreError, TokenRecord};

/// A page of requests.
#[derive(Clone, Debug, Default)]
pub struct AccessQuery {
    /// Only in this state; what was approved stays so in the records, however long ago its link ended.
    pub state: Option<AccessStateName>,
    /// Only of this app.
    pub app: Option<AppName>,
    /// Only older than this one: the last of the page before.
    pub before: Option<AccessRequestId>,
    /// How many at most.
    pub limit: usize,
}

/// A decision on a request.
#[derive(Clone, Debug)]
pub struct DecideAccessRequest {
    /// Which request: one that is pending, or for a denial one that was approved and not yet claimed.
    pub id: AccessRequestId,
    /// Approved or denied.
    pub to: AccessState,
    /// The entry of the decision.
    pub audit: AuditEntry,
}

/// A claim link to be spent.
#[derive(Clone, Debug)]
pub struct ClaimToken {
    /// SHA-256 of the link's secret.
    pub claim: Sha256Digest,
    /// The token to be made.
    pub token: TokenRecord,
    /// The token that it takes the place of, and when that one ends at the latest.
    pub replaces: Option<(TokenId, Timestamp)>,
    /// When; only before the link's end.
    pub now: Timestamp,
    /// The entry of the claim.
    pub audit: AuditEntry,
}

/// How [`AccessStore::claim_token`] ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimOutcome {
    /// The link is spent and the token is saved.
    Claimed,
    /// The link is unknown, spent, withdrawn or has ended; or the token that it changes was revoked or followed by another
    /// one. Nothing was written.
    Spent,
    /// A revocation forbids the token, or came after the approval. Nothing was written.
    Revoked(Box<RevocationRecord>),
}

/// Requests for access.
#[async_trait]
pub trait AccessStore: Send + Sync {
    /// Saves a request, pending or approved in advance.
    async fn create_access_request(&self, request: AccessRequest, audit: AuditEntry) -> Result<(), StoreError>;

    /// The request with this id.
    async fn access_request(&self, id: AccessRequestId) -> Result<Option<AccessRequest>, StoreError>;

    /// A page of requests, newest first.
    async fn access_requests(&self, query: AccessQuery) -> Result<Vec<AccessRequest>, StoreError>;

    /// Decides on a request. `false` where it has ended already; nothing was written then.
    async fn decide_access_request(&self, decide: DecideAccessRequest) -> Result<bool, StoreError>;

    /// The approved request whose link this is, if the link has not ended. Only a read: whoever guesses links costs no write.
    async fn access_request_by_claim(
        &self,
        claim: Sha256Digest,
        now: Timestamp,
    ) -> Result<Option<AccessRequest>, StoreError>;

    /// Spends a link and saves its token, once.
    async fn claim_token(&self, claim: ClaimToken) -> Result<ClaimOutcome, StoreError>;
}
