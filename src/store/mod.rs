//! The durable state: tokens, objects, jobs, usage, links, the audit table, and what the gateway keeps about itself.
//!
//! One trait, so that SQLite (embedded) and PostgreSQL (many nodes) pass one conformance suite. Each method is one
//! atomic act: what belongs together (an object, its quota, its audit record, its follow-up job) commits together, and
//! the method returns only after the commit. Concurrent writes share commits. SQL lives below this module and nowhere
//! else. Absent on purpose: a way to change a state without its audit entry.

mod access;
mod columns;
pub mod copy;
mod gateway;
mod identity;
mod identity_records;
mod names;
pub mod postgres;
pub mod records;
mod reply;
pub mod sqlite;
mod targets;
mod usage;
mod values;

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use crate::domain::audit::AuditEntry;
use crate::domain::ids::{AppName, ObjectId, OwnerName};
use crate::domain::job::{JobKind, LeasedJob};
use crate::domain::object::Object;

pub use access::{AccessQuery, AccessStore, ClaimOutcome, ClaimToken, DecideAccessRequest};
pub use gateway::{GatewayKey, GatewayStore, KeyPurpose, NodeRecord, ReleaseApproval};
pub use identity::IdentityStore;
pub use identity_records::*;
pub use records::*;
pub use usage::{Holder, RepairUsage, UsageOfBoth, UsageQuery, UsageRow};

/// Why the state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database is away, full, or slower than the deadline. Nothing was written, except perhaps past the deadline:
    /// then the write may still commit, and its caller must not assume either way.
    #[error("the database is away: {0}")]
    Unavailable(String),
    /// The bounded queue of writes is full. Nothing was written.
    #[error("too many writes are waiting")]
    Overloaded,
    /// A row that this version does not understand.
    #[error("unreadable record in the database: {0}")]
    Corrupt(String),
    /// The database's schema is not one that this program can serve; the text says what to do.
    #[error("{0}")]
    Schema(String),
}

/// Receives the audit entries of each commit as JSON lines, each with its line end, in their order, on the thread that
/// commits, after the commit and before the callers get their answers. Must be quick and must not fail.
pub type OnCommit = Arc<dyn Fn(&str) + Send + Sync>;

/// The durable state.
#[async_trait]
pub trait Store: AccessStore + GatewayStore + IdentityStore {
    /// Saves an object, its grant, its reservation of quota, its idempotency key and its audit entry, or none of them.
    async fn issue_upload(&self, issue: IssueUpload) -> Result<IssueOutcome, StoreError>;

    /// Records a download grant and counts its bytes, if the object is still at the revision that was decided on.
    async fn issue_download(&self, issue: IssueDownload) -> Result<DownloadOutcome, StoreError>;

    /// What a one-time link leads to. `None` where it is unknown, used or expired. Only a read: whoever guesses links
    /// costs no write.
    async fn link(&self, hash: LinkHash, now: Timestamp) -> Result<Option<LinkRecord>, StoreError>;

    /// Uses a one-time link and records it, once. `false` where it is used or expired by now, or where the object is not
    /// at the revision that was decided on any more; nothing was written then.
    async fn use_link(&self, link: UseLink) -> Result<bool, StoreError>;

    /// The object with this id.
    async fn object(&self, id: ObjectId) -> Result<Option<Object>, StoreError>;

    /// The app's object whose served key has this path.
    async fn object_at(&self, app: &AppName, path: &str) -> Result<Option<Object>, StoreError>;

    /// A page of objects, newest first.
    async fn objects(&self, query: ObjectQuery) -> Result<Vec<Object>, StoreError>;

    /// Objects still `issued` whose upload URL expired before `before`, oldest first.
    async fn expirable(&self, before: Timestamp, limit: usize) -> Result<Vec<Object>, StoreError>;

    /// Moves an object to its next state with everything that follows from it, if it is still at `from_revision` and
    /// the lease, where one is named, is still held.
    async fn advance(&self, advance: Advance) -> Result<AdvanceOutcome, StoreError>;

    /// Takes up to `limit` due jobs of these kinds under a lease; a job whose lease has ended is due again.
    async fn claim_jobs(&self, claim: ClaimJobs) -> Result<Vec<LeasedJob>, StoreError>;

    /// Holds a lease for longer. `false` where it was lost.
    async fn extend_lease(&self, job: &LeasedJob, until: Timestamp) -> Result<bool, StoreError>;

    /// Gives a job back to be tried at `due`, with what went wrong, and with as many tries as `job.attempts` says: see
    /// [`LeasedJob::uncounted`]. `false` where the lease was lost.
    async fn retry_job(&self, job: &LeasedJob, due: Timestamp, error: &str) -> Result<bool, StoreError>;

    /// Removes a finished job that changed no state. `false` where the lease was lost.
    async fn finish_job(&self, job: &LeasedJob) -> Result<bool, StoreError>;

    /// Whether such a job of this object is waiting or under way.
    async fn has_job(&self, object: ObjectId, kind: JobKind) -> Result<bool, StoreError>;

    /// When the next job of these kinds falls due; `None` without any.
    async fn next_due(&self, kinds: &[JobKind]) -> Result<Option<Timestamp>, StoreError>;

    /// Writes an audit entry that goes with no other change.
    async fn audit(&self, entry: AuditEntry) -> Result<(), StoreError>;

    /// A page of the audit trail, newest first.
    async fn audit_entries(&self, query: AuditQuery) -> Result<Vec<(i64, AuditEntry)>, StoreError>;

    /// Keeps a message that nobody could read.
    async fn dead_letter(&self, letter: DeadLetter) -> Result<(), StoreError>;

    /// Messages that nobody could read, newest first.
    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, StoreError>;

    /// What an app and an owner use now, reservations included.
    async fn usage(&self, app: &AppName, owner: &OwnerName) -> Result<UsageOfBoth, StoreError>;

    /// Everything that is counted beside what the objects add up to, as of one moment. Reads every object, and may take
    /// long; nobody waits for it.
    async fn audit_usage(&self, query: UsageQuery) -> Result<Vec<UsageRow>, StoreError>;

    /// Adds to the counts what was missing in them, all in one transaction. Right under load: see [`UsageRow`].
    async fn repair_usage(&self, repair: RepairUsage) -> Result<(), StoreError>;

    /// Counts for metrics and `/readyz`.
    async fn statistics(&self) -> Result<Statistics, StoreError>;

    /// Whether the database takes writes: one small committed write.
    async fn probe(&self) -> Result<(), StoreError>;

    /// A value that the process keeps across restarts, for example a key of the embedded store.
    async fn setting(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// Sets such a value if it is not yet there, and returns the one that is.
    async fn setting_or_insert(&self, name: &str, value: Vec<u8>) -> Result<Vec<u8>, StoreError>;

    /// Removes idempotency keys, links past their expiry, and nodes, that are older than 24 hours, proofs that nobody would
    /// accept any more, and tokens that were exchanged or derived and ended seven days ago; how many rows went.
    async fn prune(&self, now: Timestamp) -> Result<u64, StoreError>;

    /// Removes messages that nobody could read and that were received before `before`; how many went.
    async fn prune_dead_letters(&self, before: Timestamp) -> Result<u64, StoreError>;

    /// Removes audit entries from before `before`, and records that with `audit` where there were any; how many went.
    /// Works in steps that commit one by one: after an error, those before it stay done. A store that keeps the trail in
    /// months removes whole months only, once all of their entries are from before `before`.
    async fn prune_audit(&self, before: Timestamp, audit: AuditEntry) -> Result<u64, StoreError>;
}

/// The [`Store::setting`] that has another value after each change of what was there: a revocation, a rotation. Where it
/// is as it was, so is every token that was there. A new token leaves it alone.
pub const TOKENS_AS_OF: &str = "tokens_as_of";

/// A fresh lease id and its end; what [`Store::claim_jobs`] needs.
#[derive(Clone, Debug)]
pub struct ClaimJobs {
    /// Which kinds.
    pub kinds: Vec<JobKind>,
    /// Now.
    pub now: Timestamp,
    /// Until when the leases run.
    pub lease_until: Timestamp,
    /// The id of all leases of this claim.
    pub lease: Uuid,
    /// How many at most.
    pub limit: usize,
}
