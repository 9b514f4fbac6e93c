//! Rate limits: counts requests in aligned windows and refuses what is beyond the policy's limits.
//!
//! All windows of all scopes and the count of the same request are checked and counted in one step: where one of them
//! refuses, none counts. In this process that step happens under locks that are never held over an await; where nodes
//! share their limits it is one script in Redis. Absent on purpose: what the limits are (the policy's), and what is said
//! about a refusal (the use cases').

mod backoff;
mod local;
mod standing;

use std::sync::Arc;

use crate::domain::bytes::Sha256Digest;
use crate::domain::ids::{AppName, OwnerName, WorkflowName};
use crate::domain::limits::RateLimits;

pub use local::LocalLimits;
pub use standing::{Met, Quota, Standing, Used, Verdict};

/// One request that wants to be counted.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The app.
    pub app: &'a AppName,
    /// The app's workflow.
    pub workflow: &'a WorkflowName,
    /// The team that answers for the app, as its manifest says; its limits count only where it is known.
    pub owner: Option<&'a OwnerName>,
    /// What is allowed.
    pub limits: &'a Arc<RateLimits>,
    /// The request itself, where repeating it is counted.
    pub same: Option<SameRequest>,
}

/// What makes two requests of a workflow the same: the first 128 bits of their body's SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SameRequest(u128);

impl SameRequest {
    /// The request with this body.
    pub fn of(body: &Sha256Digest) -> Self {
        let mut first = [0; 16];
        first.copy_from_slice(&body.0[..16]);
        Self(u128::from_be_bytes(first))
    }
}

/// Counts the requests of this node, by itself or together with others.
#[derive(Debug)]
pub enum Limiter {
    /// In this process.
    Local(LocalLimits),
}

impl Limiter {
    /// Counts a request where every limit admits it, and nothing where one does not.
    pub async fn take(&self, ask: &Ask<'_>) -> Verdict {
        match self {
            Limiter::Local(local) => local.take(ask),
        }
    }

    /// How the windows stand; counts nothing.
    pub async fn look(&self, ask: &Ask<'_>) -> Standing {
        match self {
            Limiter::Local(local) => local.look(ask),
        }
    }

    /// Forgets windows that are over; to be called now and then.
    pub fn prune(&self) {
        match self {
            Limiter::Local(local) => local.prune(),
        }
    }
}
