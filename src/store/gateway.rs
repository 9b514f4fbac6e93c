//! What the gateway keeps about itself: its keys, its nodes, proofs that were used, and reviewers who agree.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretSlice;
use uuid::Uuid;

use crate::domain::audit::AuditEntry;
use crate::domain::ids::{KeyId, ObjectId};
use crate::domain::revocation::RevocationTarget;

use super::StoreError;

/// What a key of the gateway is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyPurpose {
    /// Signs access tokens (RFC 9068): an ECDSA key on P-256 as PKCS#8.
    TokenSigning,
    /// Makes nonces (RFC 9449 section 8): 32 random bytes.
    DpopNonce,
    /// Stands in the address that Event Grid calls: text.
    EventGrid,
}

impl KeyPurpose {
    /// Every purpose.
    pub const ALL: [KeyPurpose; 3] = [Self::TokenSigning, Self::DpopNonce, Self::EventGrid];

    /// The name in the database, on the command line and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TokenSigning => "token-signing",
            Self::DpopNonce => "dpop-nonce",
            Self::EventGrid => "eventgrid",
        }
    }

    /// The purpose with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str() == name)
    }
}

/// A key of the gateway. Its `Debug` shows nothing of the secret.
#[derive(Clone, Debug)]
pub struct GatewayKey {
    /// Its name in what it signs (`kid`).
    pub id: KeyId,
    /// What it is for.
    pub purpose: KeyPurpose,
    /// Which key of its purpose: 1 is the first one, and the highest is in use, or was revoked.
    pub number: u64,
    /// The key itself.
    pub secret: SecretSlice<u8>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when what it made is still accepted; not bounded for the one in use.
    pub accepted_until: Option<Timestamp>,
}

impl GatewayKey {
    /// Whether new things are made with it. A purpose's newest key is not in use where it was revoked.
    pub fn is_in_use(&self) -> bool {
        self.accepted_until.is_none()
    }

    /// Whether what it made is accepted.
    pub fn is_accepted(&self, now: Timestamp) -> bool {
        self.accepted_until.is_none_or(|until| until > now)
    }
}

/// A node that serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    /// Made anew at each start.
    pub id: Uuid,
    /// Where its own public listener is reached.
    pub url: String,
    /// The program's version.
    pub version: String,
    /// When it started.
    pub started_at: Timestamp,
    /// When it said last that it is there.
    pub seen_at: Timestamp,
}

/// A reviewer who agrees that an object is released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseApproval {
    /// Which object …
    pub object: ObjectId,
    /// … at which revision: once it changes, nobody has agreed to anything.
    pub revision: u64,
    /// The reviewer.
    pub by: String,
    /// What a revocation may name to void it; see [`crate::domain::principal::Operator::targets`].
    pub targets: Vec<RevocationTarget>,
    /// The written reason.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

impl ReleaseApproval {
    /// How long it counts.
    pub const COUNTS: SignedDuration = SignedDuration::from_hours(7 * 24);
}

/// What the gateway keeps about itself.
#[async_trait]
pub trait GatewayStore: Send + Sync {
    /// The keys of a purpose, the one in use first; those included that are not accepted any more.
    async fn gateway_keys(&self, purpose: KeyPurpose) -> Result<Vec<GatewayKey>, StoreError>;

    /// Saves the next key of a purpose, bounds the one before it by `previous_accepted_until`, and changes
    /// [`super::TOKENS_AS_OF`], so that every node reads the keys again. `false` where there is one of its number already:
    /// another node was faster, and nothing was written.
    async fn add_gateway_key(
        &self,
        key: GatewayKey,
        previous_accepted_until: Option<Timestamp>,
        audit: AuditEntry,
    ) -> Result<bool, StoreError>;

    /// Uses a proof up. `false` where it was used before, on whichever node.
    async fn use_proof(&self, hash: [u8; 32], keep_until: Timestamp) -> Result<bool, StoreError>;

    /// A node says that it is there.
    async fn node_seen(&self, node: NodeRecord) -> Result<(), StoreError>;

    /// A node ends.
    async fn node_left(&self, id: Uuid) -> Result<(), StoreError>;

    /// The nodes that were there at `since` or later, by their address.
    async fn nodes(&self, since: Timestamp) -> Result<Vec<NodeRecord>, StoreError>;

    /// Records that a reviewer agrees; who agrees again has agreed anew. Everybody who ever agreed about this revision, the
    /// first one first, whatever became of them.
    async fn approve_release(
        &self,
        approval: ReleaseApproval,
        audit: AuditEntry,
    ) -> Result<Vec<ReleaseApproval>, StoreError>;
}
