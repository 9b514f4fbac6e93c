//! The keys of one issuer: read when they are needed, kept as long as the issuer allows, used for a while when it is away.
//!
//! Whoever finds fresh keys takes them without any lock. Otherwise one read at a time is done in a task of its own, and all
//! who need it wait for that one. Where there are older keys that may be used still, up to a bound after which there are none
//! (P6), nobody waits longer than [`PATIENCE`], and while the issuer is known to be slow or away not at all. Reads are at least [`BETWEEN`] apart where a token names an unknown key, so that forged
//! tokens cannot make the gateway ask, and further apart after each failure.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use jiff::{SignedDuration, Timestamp};
use reqwest::Client;
use tokio::sync::{Mutex, OwnedMutexGuard};
use url::Url;

use super::config::IssuerConfig;
use super::fetch;
use super::keys::KeySet;
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::domain::ids::IssuerName;

/// Least time between two reads because of unknown keys, for all callers together.
pub(super) const BETWEEN: SignedDuration = SignedDuration::from_secs(10);
/// How long anybody waits for newer keys who could use older ones.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long keys are kept: at least, where nothing is said, and at most.
const KEPT: (Duration, Duration, Duration) =
    (Duration::from_secs(60), Duration::from_secs(600), Duration::from_secs(3600));

/// An issuer's keys, and where they come from.
pub(super) struct KeySource {
    name: IssuerName,
    issuer: String,
    jwks_uri: Option<Url>,
    stale_for: SignedDuration,
    http: Client,
    clock: Clock,
    held: ArcSwapOption<Held>,
    /// One read at a time.
    tries: Arc<Mutex<Tries>>,
    /// Whether somebody has waited in vain for the read that is under way.
    slow: AtomicBool,
    /// Whether the last read failed.
    away: AtomicBool,
    /// When the next one may begin, in microseconds since the Unix epoch.
    next: AtomicI64,
}

/// Keys, and when they were read.
pub(super) struct Held {
    pub(super) keys: KeySet,
    read_at: Timestamp,
    fresh_for: SignedDuration,
}

#[derive(Default)]
struct Tries {
    last: Option<Timestamp>,
    backoff: Backoff,
}

/// Nobody knows the issuer's keys.
#[derive(Debug)]
pub(super) struct Away {
    /// Seconds until they are asked for again.
    pub(super) retry_after: u32,
}

impl KeySource {
    pub(super) fn new(config: &IssuerConfig, http: Client, clock: Clock) -> Self {
        Self {
            name: config.name.clone(),
            issuer: config.issuer.clone(),
            jwks_uri: config.jwks_uri.clone(),
            stale_for: SignedDuration::try_from(config.keys_stale_for).unwrap_or(SignedDuration::ZERO),
            http,
            clock,
            held: ArcSwapOption::empty(),
            tries: Arc::default(),
            slow: AtomicBool::new(false),
            away: AtomicBool::new(false),
            next: AtomicI64::new(0),
        }
    }

    /// Keys that may be used now.
    pub(super) async fn current(self: &Arc<Self>) -> Result<Arc<Held>, Away> {
        let held = self.held.load_full();
        if let Some(held) = &held
            && held.is_fresh(self.clock.now())
        {
            return Ok(Arc::clone(held));
        }
        if let Some(held) = held.filter(|held| self.is_usable(held)) {
            return Ok(self.older_or_newer(held).await);
        }
        self.newer_than(None, SignedDuration::ZERO).await;
        let wait = self.next.load(Ordering::Relaxed) - self.clock.now().as_microsecond();
        let away = Away { retry_after: u32::try_from(wait / 1_000_000).unwrap_or(0) + 1 };
        self.held.load_full().filter(|held| self.is_usable(held)).ok_or(away)
    }

    /// These keys, which are not fresh any more and may be used still, or newer ones where those are to be had soon.
    async fn older_or_newer(self: &Arc<Self>, held: Arc<Held>) -> Arc<Held> {
        if self.away.load(Ordering::Relaxed) || self.slow.load(Ordering::Relaxed) {
            // One looks whether it is back; nobody waits for that.
            if self.clock.now().as_microsecond() >= self.next.load(Ordering::Relaxed)
                && let Ok(tries) = Arc::clone(&self.tries).try_lock_owned()
            {
                tokio::spawn(Arc::clone(self).read_in_turn(tries, Some(held.read_at), SignedDuration::ZERO));
            }
            return held;
        }
        let newer = self.newer_than(Some(held.read_at), SignedDuration::ZERO);
        if tokio::time::timeout(PATIENCE, newer).await.is_err() && self.tries.try_lock().is_err() {
            self.slow.store(true, Ordering::Relaxed);
        }
        self.held.load_full().filter(|now| self.is_usable(now)).unwrap_or(held)
    }

    /// Keys that are newer than these, where a token names one that is not among them and it is time to ask again.
    pub(super) async fn newer(self: &Arc<Self>, seen: &Arc<Held>) -> Option<Arc<Held>> {
        self.newer_than(Some(seen.read_at), BETWEEN).await;
        self.held.load_full().filter(|held| !Arc::ptr_eq(held, seen))
    }

    /// Whether the issuer answered when its keys were read last. `Err` says until when the older ones are used.
    pub(super) fn answers(&self) -> Result<(), String> {
        if !self.away.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(match self.held.load_full().filter(|held| self.is_usable(held)) {
            Some(held) => format!("its keys of {:.0} are used for now, newer ones cannot be read", held.read_at),
            None => "its keys cannot be read; nobody of it is let in".to_owned(),
        })
    }

    /// Reads now, whatever is known, for whoever looks whether all is well.
    pub(super) async fn look(&self) -> Result<Held, String> {
        self.read().await
    }

    /// In a task of its own: a caller who goes away must not take the read with him, for which others wait.
    async fn newer_than(self: &Arc<Self>, seen: Option<Timestamp>, apart: SignedDuration) {
        // It ends in any case; where it panics, the keys are as they were.
        let _ = tokio::spawn(Arc::clone(self).read_unless_newer(seen, apart)).await;
    }

    async fn read_unless_newer(self: Arc<Self>, seen: Option<Timestamp>, apart: SignedDuration) {
        let tries = Arc::clone(&self.tries).lock_owned().await;
        self.read_in_turn(tries, seen, apart).await;
    }

    async fn read_in_turn(
        self: Arc<Self>,
        mut tries: OwnedMutexGuard<Tries>,
        seen: Option<Timestamp>,
        apart: SignedDuration,
    ) {
        let held = self.held.load_full();
        if held.is_some_and(|held| seen.is_none_or(|seen| held.read_at > seen) && self.is_usable(&held)) {
            return;
        }
        let begun = self.clock.now();
        let too_soon = tries.last.is_some_and(|last| (begun.duration_since(last)).abs() < apart);
        if too_soon || begun.as_microsecond() < self.next.load(Ordering::Relaxed) {
            return;
        }
        tries.last = Some(begun);
        let read = self.read().await;
        self.slow.store(false, Ordering::Relaxed);
        metrics::counter!(
            "vestibule_identity_provider_reads_total",
            "issuer" => self.name.to_string(),
            "outcome" => if read.is_ok() { "read" } else { "failed" }
        )
        .increment(1);
        match read {
            Ok(held) => {
                if self.away.swap(false, Ordering::Relaxed) {
                    tracing::info!(issuer = %self.name, "the identity provider is back");
                }
                for (kid, why) in &held.keys.left_out {
                    tracing::debug!(issuer = %self.name, kid, why, "a key is left out");
                }
                self.held.store(Some(Arc::new(held)));
                tries.backoff.reset();
                self.next.store(0, Ordering::Relaxed);
            }
            Err(error) => {
                let pause = tries.backoff.next(self.clock.random());
                tracing::warn!(issuer = %self.name, %error, ?pause, "the keys of the identity provider cannot be read");
                let pause = i64::try_from(pause.as_micros()).unwrap_or(i64::MAX);
                self.next.store(self.clock.now().as_microsecond().saturating_add(pause), Ordering::Relaxed);
                self.away.store(true, Ordering::Relaxed);
            }
        }
    }

    async fn read(&self) -> Result<Held, String> {
        // The age counts from the start: what changes while it is read is not known.
        let read_at = self.clock.now();
        let url = match &self.jwks_uri {
            Some(url) => url.clone(),
            None => fetch::discover(&self.http, &self.issuer).await?,
        };
        let document = fetch::get(&self.http, &url).await?;
        let keys = KeySet::parse(&document.body).map_err(|error| format!("{url}: {error}"))?;
        let (least, usual, most) = KEPT;
        let fresh_for = document.max_age.unwrap_or(usual).clamp(least, most);
        Ok(Held { keys, read_at, fresh_for: SignedDuration::try_from(fresh_for).unwrap_or(SignedDuration::ZERO) })
    }

    fn is_usable(&self, held: &Held) -> bool {
        held.age(self.clock.now()).abs() <= held.fresh_for.max(self.stale_for)
    }
}

impl Held {
    fn age(&self, now: Timestamp) -> SignedDuration {
        now.duration_since(self.read_at)
    }

    /// Keys from the future are not fresh: the clock was set.
    fn is_fresh(&self, now: Timestamp) -> bool {
        (SignedDuration::ZERO..self.fresh_for).contains(&self.age(now))
    }

    pub(super) fn kept_for(&self) -> SignedDuration {
        self.fresh_for
    }
}
