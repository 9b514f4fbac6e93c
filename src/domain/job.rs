//! Follow-up work on an object, saved together with the state that asks for it.
//!
//! A job is claimed under a lease; a worker that dies is replaced when the lease ends. Every job is idempotent, and at
//! most one of each kind exists for an object.

use jiff::Timestamp;

use super::ids::ObjectId;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobKind {
    /// Read the staged bytes once and judge them.
    Inspect,
    /// Copy the judged bytes to the served key and record `visible`.
    Promote,
    /// Delete the staged bytes of a visible object.
    RemoveStaged,
    /// Delete all bytes of a rejected, expired or deleted object.
    Purge,
}

impl JobKind {
    /// Every kind.
    pub const ALL: [JobKind; 4] = [JobKind::Inspect, JobKind::Promote, JobKind::RemoveStaged, JobKind::Purge];

    /// The kind's name in the database and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            JobKind::Inspect => "inspect",
            JobKind::Promote => "promote",
            JobKind::RemoveStaged => "removeStaged",
            JobKind::Purge => "purge",
        }
    }

    /// The kind with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// A job that this process holds the lease of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeasedJob {
    /// What is to be done …
    pub kind: JobKind,
    /// … and to which object.
    pub object: ObjectId,
    /// How often it was claimed, this time included.
    pub attempts: u32,
    /// When the job first became due; its age is the queue's.
    pub queued_at: Timestamp,
    /// Random per claim: only its holder may extend, retry or finish the job.
    pub lease: uuid::Uuid,
    /// Until when nobody else takes it.
    pub lease_until: Timestamp,
}

impl LeasedJob {
    /// The same with this try taken off: given back like this, it does not count.
    #[must_use]
    pub fn uncounted(&self) -> Self {
        Self { attempts: self.attempts.saturating_sub(1), ..self.clone() }
    }
}
