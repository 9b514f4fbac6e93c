//! What goes into and comes out of the store, as plain data.

use std::sync::Arc;

use jiff::Timestamp;

use crate::domain::audit::AuditEntry;
use crate::domain::bytes::Sha256Digest;
use crate::domain::grant::Disposition;
use crate::domain::ids::{AppName, GrantId, ObjectId, OwnerName, TokenId};
use crate::domain::job::{JobKind, LeasedJob};
use crate::domain::life::{Life, State};
use crate::domain::object::Object;
use crate::domain::quota::{QuotaLimits, QuotaMet};

/// A new object, to be saved with everything that belongs to it.
#[derive(Clone, Debug)]
pub struct IssueUpload {
    /// The record, in state `issued`, revision 0.
    pub object: Arc<Object>,
    /// What the app and the object's owner may use at most.
    pub quota: QuotaLimits,
    /// The client's idempotency key.
    pub idempotency: Option<Idempotency>,
    /// The entry of the issuance, written only where it is issued or repeated.
    pub audit: AuditEntry,
}

/// A client's promise that two requests are one (draft-ietf-httpapi-idempotency-key-header).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The key, unique within app, workflow and environment; 1 to 200 visible ASCII characters.
    pub key: String,
    /// The digest of the request body: the same key with another body is an error.
    pub body: Sha256Digest,
}

/// How [`super::Store::issue_upload`] ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssueOutcome {
    /// Saved.
    Issued,
    /// The idempotency key already stands for this object; nothing new was saved but the audit entry.
    Repeated(Box<Object>),
    /// The idempotency key stands for a request with another body.
    KeyReused,
    /// It would exceed a quota.
    QuotaMet(QuotaMet),
}

/// How [`super::Store::issue_download`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DownloadOutcome {
    /// Recorded.
    Issued,
    /// The object has changed; the caller decides again. Nothing was written.
    Changed,
    /// It would exceed a quota. Nothing was written.
    QuotaMet(QuotaMet),
}

/// Who is charged for a download, and with what.
#[derive(Clone, Debug)]
pub struct DownloadCharge {
    /// The object's app.
    pub app: AppName,
    /// Who answers for it.
    pub owner: OwnerName,
    /// How many bytes the URL serves.
    pub bytes: u64,
    /// When it was issued.
    pub at: Timestamp,
    /// What both may use at most.
    pub quota: QuotaLimits,
}

/// A download to be recorded.
#[derive(Clone, Debug)]
pub struct IssueDownload {
    /// The grant of the URL.
    pub grant: GrantId,
    /// Which object …
    pub object: ObjectId,
    /// … at which revision.
    pub revision: u64,
    /// What it costs.
    pub charge: DownloadCharge,
    /// The one-time link to create, if one is asked for.
    pub link: Option<NewLink>,
    /// The entry of the issuance.
    pub audit: AuditEntry,
}

/// SHA-256 of a link's secret; the secret itself is never stored.
pub type LinkHash = [u8; 32];

/// A one-time link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewLink {
    /// Hash of the secret in the link.
    pub hash: LinkHash,
    /// The token that asked for it; the link dies with it.
    pub token: TokenId,
    /// How a browser should treat the bytes.
    pub disposition: Disposition,
    /// The lawful basis on which it was asked for.
    pub lawful_basis: Option<String>,
    /// When the link stops working.
    pub expires_at: Timestamp,
}

/// A link that was just used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkRecord {
    /// What it leads to.
    pub object: ObjectId,
    /// The grant that it was issued under.
    pub grant: GrantId,
    /// The token that asked for it.
    pub token: TokenId,
    /// How a browser should treat the bytes.
    pub disposition: Disposition,
    /// The lawful basis on which it was asked for.
    pub lawful_basis: Option<String>,
}

/// A one-time link to be used up.
#[derive(Clone, Debug)]
pub struct UseLink {
    /// Which link …
    pub hash: LinkHash,
    /// … when; only before its expiry.
    pub now: Timestamp,
    /// The object that it leads to …
    pub object: ObjectId,
    /// … at the revision that was decided on.
    pub revision: u64,
    /// The entry of its use.
    pub audit: AuditEntry,
}

/// A page of objects.
#[derive(Clone, Debug)]
pub struct ObjectQuery {
    /// Only of this app; of every app where absent.
    pub app: Option<AppName>,
    /// Only served keys that start with this; empty for all.
    pub prefix: String,
    /// Only in this state.
    pub state: Option<State>,
    /// Only older than this one: the last of the page before.
    pub before: Option<ObjectId>,
    /// How many at most.
    pub limit: usize,
}

/// A change of state with everything that follows from it.
#[derive(Clone, Debug)]
pub struct Advance {
    /// Which object …
    pub object: ObjectId,
    /// … at which revision; it becomes one more.
    pub from_revision: u64,
    /// The next state.
    pub to: Life,
    /// When.
    pub now: Timestamp,
    /// Follow-up jobs, due at the given times; one that exists already is left as it is.
    pub jobs: Vec<(JobKind, Timestamp)>,
    /// The job that this change completes: must still be leased, and is removed.
    pub completes: Option<LeasedJob>,
    /// The entries of the change; never empty.
    pub audit: Vec<AuditEntry>,
}

/// How [`super::Store::advance`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdvanceOutcome {
    /// Written. Quota was released where the new state holds none.
    Done,
    /// The object is at another revision, or the lease was lost. Nothing was written.
    Conflict,
}

/// A message that nobody could read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where it came from, for example `sqs:vestibule-events`.
    pub source: String,
    /// When it was received.
    pub at: Timestamp,
    /// Why it could not be read.
    pub reason: String,
    /// The body; the store keeps its first 16 KiB.
    pub body: String,
}

/// A page of the audit trail.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    /// Only of this app.
    pub app: Option<AppName>,
    /// Only of this token.
    pub token: Option<TokenId>,
    /// Only about this object.
    pub object: Option<ObjectId>,
    /// Only at or after.
    pub since: Option<Timestamp>,
    /// Only before.
    pub until: Option<Timestamp>,
    /// Only older than this sequence number: the last of the page before.
    pub before: Option<i64>,
    /// How many at most.
    pub limit: usize,
}

/// Counts for metrics and `/readyz`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Objects in each state.
    pub states: Vec<(State, u64)>,
    /// Jobs of each kind, and when the oldest was queued.
    pub jobs: Vec<(JobKind, u64, Timestamp)>,
    /// Dead letters.
    pub dead_letters: u64,
}
