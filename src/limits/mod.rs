//! Rate limits: counts requests in aligned windows and refuses what is beyond the policy's limits.
//!
//! All windows of all scopes and the count of the same request are checked and counted in one step: where one of them
//! refuses, none counts. In this process that step happens under locks that are never held over an await; where nodes
//! share their limits it is one script in Redis. Absent on purpose: what the limits are (the policy's), and what is said
//! about a refusal (the use cases').

mod backoff;
mod local;
pub mod redis;
mod standing;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::domain::bytes::Sha256Digest;
use crate::domain::ids::{AppName, OwnerName, WorkflowName};
use crate::domain::limits::RateLimits;

use self::redis::RedisLimits;

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
    Local(Box<LocalLimits>),
    /// In Redis, with others.
    Redis(Box<RedisLimits>),
}

/// Nobody can count at the moment, so that nothing is admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Away {
    /// Seconds after which a retry makes sense.
    pub retry_after: u32,
}

impl Limiter {
    /// Counters of this process.
    pub fn local(clock: Clock) -> Self {
        Limiter::Local(Box::new(LocalLimits::new(clock)))
    }

    /// Counts a request where every limit admits it, and nothing where one does not.
    ///
    /// # Errors
    /// [`Away`] where nobody could count.
    pub async fn take(&self, ask: &Ask<'_>) -> Result<Verdict, Away> {
        match self {
            Limiter::Local(local) => Ok(local.take(ask)),
            // Boxed, so that the local way does not carry the larger one's state.
            Limiter::Redis(redis) => Box::pin(redis.take(ask)).await,
        }
    }

    /// How the windows stand; counts nothing.
    ///
    /// # Errors
    /// As [`Limiter::take`].
    pub async fn look(&self, ask: &Ask<'_>) -> Result<Standing, Away> {
        match self {
            Limiter::Local(local) => Ok(local.look(ask)),
            Limiter::Redis(redis) => Box::pin(redis.look(ask)).await,
        }
    }

    /// Whether other nodes count into the same windows.
    pub fn is_shared(&self) -> bool {
        matches!(self, Limiter::Redis(_))
    }

    /// Whether Redis answers now, connecting where there is no connection; `None` where there is no Redis. `Err` says why
    /// not, in words without its address.
    pub async fn probe(&self) -> Option<Result<(), String>> {
        match self {
            Limiter::Local(_) => None,
            Limiter::Redis(redis) => Some(Box::pin(redis.probe()).await),
        }
    }

    /// Whether limited requests are refused while [`Limiter::probe`] fails.
    pub fn denies_when_away(&self) -> bool {
        matches!(self, Limiter::Redis(redis) if redis.denies_when_away())
    }

    /// Keeps the connection to Redis, where there is one, until `shutdown`.
    pub async fn keep_connected(&self, shutdown: &CancellationToken) {
        if let Limiter::Redis(redis) = self {
            redis.keep_connected(shutdown).await;
        }
    }

    /// Forgets windows that are over; to be called now and then.
    pub fn prune(&self) {
        match self {
            Limiter::Local(local) => local.prune(),
            Limiter::Redis(redis) => redis.prune(),
        }
    }
}
