//! The limits of many nodes, counted in one Redis.
//!
//! Each request is one script and one round trip, whatever the number of windows; Redis runs one script at a time and
//! reads its own clock, so that the count is exact whoever asks and however the nodes' clocks differ. A node without an
//! answer within the deadline refuses, or counts for itself where the operator chose that: never does it let a request
//! pass uncounted. Requests that wait for Redis are bounded in number.

mod address;
mod link;
mod script;

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use metrics::Histogram;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

use self::link::{Link, LinkError};
use self::script::{By, Found, Mode};
use super::local::LocalLimits;
use super::standing::{Standing, Verdict, met};
use super::{Ask, Away};

pub use address::RedisUrl;

/// Looked up once, for the sake of every request.
static SECONDS: LazyLock<Histogram> = LazyLock::new(|| metrics::histogram!("vestibule_limits_redis_seconds"));

/// What a node does while Redis does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenAway {
    /// Refuses limited requests with 503.
    Deny,
    /// Counts for itself: each node then admits the whole limit.
    Local,
}

/// How to use Redis.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// What to do while it does not answer.
    pub when_away: WhenAway,
    /// Longest wait for an answer.
    pub deadline: Duration,
    /// Requests that may wait for an answer at the same time.
    pub max_in_flight: usize,
    /// What every key begins with; different for gateways that share a Redis and not their limits.
    pub prefix: String,
}

/// Counters in Redis, and those of this node beside them.
#[derive(Debug)]
pub struct RedisLimits {
    link: Link,
    options: RedisOptions,
    in_flight: Semaphore,
    /// Counts along, for the time when Redis does not answer; and knows who keeps asking.
    local: LocalLimits,
}

impl RedisLimits {
    /// Counters at this address; connects later, in `keep_connected` or `probe`.
    ///
    /// # Errors
    /// Where the address or its certificates cannot be used, in words.
    pub fn new(url: &RedisUrl, options: RedisOptions, clock: Clock) -> Result<Self, String> {
        let link = Link::new(url.client()?, options.deadline);
        let (in_flight, local) = (Semaphore::new(options.max_in_flight), LocalLimits::new(clock));
        Ok(Self { link, options, in_flight, local })
    }

    /// As [`super::Limiter::take`].
    pub(super) async fn take(&self, ask: &Ask<'_>) -> Result<Verdict, Away> {
        let Found { counted, mut windows, same } = match self.run(ask, Mode::Take).await {
            Some(found) => found,
            None if self.options.when_away == WhenAway::Local => return Ok(self.local.take(ask)),
            // As for a large limit: whoever asks some times while Redis restarts need not wait for minutes.
            None => return Err(Away { retry_after: 1 + self.local.note(ask, Some(u32::MAX)) }),
        };
        if counted {
            self.local.note(ask, None);
            windows.iter_mut().flatten().for_each(|window| window.used = window.used.saturating_add(1));
            return Ok(Verdict::Admitted(Standing { limits: ask.limits.clone(), windows }));
        }
        // The script and this function read the same numbers by the same rule; where they differ, nothing is admitted.
        let Some(mut met) = met(ask.limits, &windows, same) else { return Err(Away { retry_after: 1 }) };
        met.retry_after += self.local.note(ask, Some(met.limit));
        Ok(Verdict::Refused(Standing { limits: ask.limits.clone(), windows }, met))
    }

    /// As [`super::Limiter::look`].
    pub(super) async fn look(&self, ask: &Ask<'_>) -> Result<Standing, Away> {
        match self.run(ask, Mode::Look).await {
            Some(found) => Ok(Standing { limits: ask.limits.clone(), windows: found.windows }),
            None if self.options.when_away == WhenAway::Local => Ok(self.local.look(ask)),
            None => Err(Away { retry_after: 1 }),
        }
    }

    /// Forgets this node's own windows that are over; Redis forgets by itself.
    pub(super) fn prune(&self) {
        self.local.prune();
    }

    /// Whether Redis answers now.
    ///
    /// # Errors
    /// Why not, in words without the address.
    pub(super) async fn probe(&self) -> Result<(), String> {
        self.link.probe().await.map_err(|error| error.to_string())
    }

    /// Whether limited requests are refused while Redis does not answer.
    pub(super) fn denies_when_away(&self) -> bool {
        self.options.when_away == WhenAway::Deny
    }

    /// Keeps a connection, until `shutdown`.
    pub(super) async fn keep_connected(&self, shutdown: &CancellationToken) {
        self.link.keep(shutdown).await;
    }

    /// One round trip; two where Redis has lost the script. `None` where there is no answer.
    async fn run(&self, ask: &Ask<'_>, mode: Mode) -> Option<Found> {
        let Ok(_permit) = self.in_flight.try_acquire() else {
            failed("busy");
            return None;
        };
        let started = Instant::now();
        let prefix = &self.options.prefix;
        let mut answer = self.link.ask(&script::call(prefix, ask, mode, By::Digest)).await;
        if answer == Err(LinkError::NoScript) {
            answer = self.link.ask(&script::call(prefix, ask, mode, By::Text)).await;
        }
        match answer {
            Ok(numbers) => {
                SECONDS.record(started.elapsed());
                let found = script::read(ask, &numbers);
                if found.is_none() {
                    failed("unreadable");
                }
                found
            }
            Err(error) => {
                failed(error.kind());
                None
            }
        }
    }
}

fn failed(kind: &'static str) {
    metrics::counter!("vestibule_limits_redis_errors_total", "kind" => kind).increment(1);
}
