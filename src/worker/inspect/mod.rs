//! Inspection: one pass over exact bytes, and a verdict about them.
//!
//! Count, SHA-256, type, structure and the scanner's opinion all come from the same stream, so that they are about the
//! same bytes. Invariant: [`Finding::Clean`](crate::domain::verdict::Finding::Clean) needs every check to have ended and
//! passed; whatever ends early is an error ("try again") or *cannot be judged*, both closed. Memory for one inspection
//! stays below 64 MiB whatever the size. docs/decisions/0005-inspection.md explains the choices.
//! Deliberately absent: retries, leases and what happens to the object; those are the worker's.

mod archive;
mod budget;
mod check;
mod clamd;
mod concern;
mod config;
mod content;
mod error;
mod gzip;
mod judge;
mod office;
mod ole;
mod pass;
mod pdf;
mod reply;
mod sniff;
mod spool;
mod text;
mod types;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;

pub use config::{ParseAddressError, ScannerAddress, ScannerConfig};
pub use error::InspectError;
pub use reply::{Reply, UnclearReply, Version};

use crate::clock::Clock;
use crate::domain::bytes::{Sha256Digest, StoredBytes};
use crate::domain::content::ContentRules;
use crate::domain::filename::Filename;
use crate::domain::media::MediaType;
use crate::domain::verdict::Verdict;
use crate::storage::ByteStream;

/// How long an answer to `VERSION` is used. Signatures change a few times a day.
const VERSION_AGE: Duration = Duration::from_secs(30);

/// What the record says about an upload, and what its app allows.
#[derive(Clone, Copy, Debug)]
pub struct Declared<'a> {
    /// The bytes that the stream was opened for.
    pub staged: &'a StoredBytes,
    /// The declared length in bytes.
    pub size: u64,
    /// The declared type.
    pub content_type: &'a MediaType,
    /// The sanitised file name.
    pub filename: &'a Filename,
    /// The declared digest.
    pub sha256: Option<&'a Sha256Digest>,
    /// The content rules of the app's manifest.
    pub rules: &'a ContentRules,
}

/// The inspector. Clones share the scanner's slots and the cached version.
#[derive(Clone, Debug)]
pub struct Inspector {
    config: Arc<ScannerConfig>,
    clamd: clamd::Clamd,
    clock: Clock,
    slots: Arc<Semaphore>,
    version: Arc<Mutex<Option<(Instant, Version)>>>,
}

/// How the scanner stands; for `/readyz` and the metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScannerHealth {
    /// Whether it answered.
    pub reachable: bool,
    /// The engine and its version, for example `ClamAV 1.4.6`.
    pub engine: Option<String>,
    /// The signature database's number and date, or `unknown date`.
    pub signatures: Option<String>,
    /// The database's date.
    pub signatures_at: Option<Timestamp>,
    /// Whether the database is older than `stale_after`; `None` where it tells no date.
    pub stale: Option<bool>,
    /// What is wrong, in one sentence; `None` where all is well.
    pub detail: Option<String>,
}

impl std::fmt::Display for ScannerHealth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.engine, &self.signatures) {
            (Some(engine), Some(signatures)) => write!(f, "{engine}, signatures {signatures}")?,
            _ => f.write_str("no answer")?,
        }
        match &self.detail {
            Some(detail) => write!(f, "; {detail}"),
            None => Ok(()),
        }
    }
}

impl Inspector {
    /// An inspector that speaks to the scanner of this configuration. Connects only when it is used.
    pub fn new(config: ScannerConfig, clock: Clock) -> Self {
        let clamd = clamd::Clamd { address: config.address.clone(), connect_timeout: config.connect_timeout };
        // tokio's semaphore has an upper bound far beyond any number of scanner threads.
        let slots = Arc::new(Semaphore::new(config.concurrency.clamp(1, 1024)));
        Self { config: Arc::new(config), clamd, clock, slots, version: Arc::default() }
    }

    /// Reads the stream once and judges it.
    ///
    /// Waits for a free slot before it polls the stream for the first time: a stream that opens its connection lazily
    /// (`stream::once(store.get(…)).try_flatten()`) waits without one. Reading stops behind the declared length; the
    /// verdict's digest is then that of the bytes read. The time is bounded by [`ScannerConfig::time_for`] from the
    /// moment at which the slot is free.
    ///
    /// # Errors
    /// [`InspectError`]: nothing is known about the bytes. [`InspectError::is_transient`] tells whether to try again.
    pub async fn inspect(&self, stream: ByteStream, declared: Declared<'_>) -> Result<Verdict, InspectError> {
        // The semaphore is never closed; were it, no slot would be the safe answer.
        let Ok(_slot) = self.slots.acquire().await else {
            return Err(InspectError::ScannerAway(std::io::ErrorKind::NotConnected.into()));
        };
        let started = Instant::now();
        let time = self.config.time_for(declared.staged.size.min(declared.size));
        let pass = pass::run(self, stream, declared);
        let result = match tokio::time::timeout(time, pass).await {
            Ok(result) => result,
            Err(_) => Err(InspectError::ScannerTimeout(time)),
        };
        let outcome = result.as_ref().map_or("error", |verdict| verdict.finding.as_str());
        metrics::counter!("vestibule_inspections_total", "outcome" => outcome).increment(1);
        metrics::histogram!("vestibule_inspection_seconds", "outcome" => outcome)
            .record(started.elapsed().as_secs_f64());
        result
    }

    /// Asks the scanner how it is, and sets the metrics `vestibule_scanner_up`, `vestibule_scanner_signatures_stale`
    /// (1 stale, 0 fresh, -1 unknown) and `vestibule_scanner_signatures_age_seconds`.
    pub async fn health(&self) -> ScannerHealth {
        let health = match self.clamd.version().await {
            Ok(version) => self.health_of(version),
            Err(error) => ScannerHealth {
                reachable: false,
                engine: None,
                signatures: None,
                signatures_at: None,
                stale: None,
                detail: Some(error.to_string()),
            },
        };
        metrics::gauge!("vestibule_scanner_up").set(if health.reachable { 1.0 } else { 0.0 });
        metrics::gauge!("vestibule_scanner_signatures_stale")
            .set(health.stale.map_or(-1.0, |stale| f64::from(u8::from(stale))));
        if let Some(at) = health.signatures_at {
            let age = self.clock.now().duration_since(at);
            metrics::gauge!("vestibule_scanner_signatures_age_seconds").set(age.as_secs_f64());
        }
        health
    }

    fn health_of(&self, version: Version) -> ScannerHealth {
        let age = version.signatures_at.map(|at| self.clock.now().duration_since(at));
        let stale = age.map(|age| Duration::try_from(age).is_ok_and(|age| age > self.config.stale_after));
        let detail = match stale {
            Some(true) => Some(format!("the signature database is out of date: {}", version.signatures)),
            Some(false) => None,
            None => Some("the signature database tells no date".to_owned()),
        };
        ScannerHealth {
            reachable: true,
            engine: Some(version.engine),
            signatures: Some(version.signatures),
            signatures_at: version.signatures_at,
            stale,
            detail,
        }
    }

    /// The version, not older than [`VERSION_AGE`].
    async fn version(&self) -> Result<Version, InspectError> {
        let mut cached = self.version.lock().await;
        if let Some((at, version)) = &*cached
            && at.elapsed() < VERSION_AGE
        {
            return Ok(version.clone());
        }
        let version = self.clamd.version().await?;
        *cached = Some((Instant::now(), version.clone()));
        Ok(version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(version: &[u8], now: &str) -> ScannerHealth {
        let config = ScannerConfig::at("tcp:127.0.0.1:1".parse().unwrap());
        Inspector::new(config, Clock::manual(now.parse().unwrap())).health_of(Version::parse(version).unwrap())
    }

    #[test]
    fn an_old_database_is_stale_and_one_without_a_date_is_unknown() {
        let version = b"ClamAV 1.4.6/27830/Fri Nov 20 09:00:00 2026\0";
        assert_eq!(health(version, "2026-11-21T09:00:00Z").stale, Some(false));
        assert_eq!(health(version, "2026-11-24T09:00:00Z").stale, Some(true));
        assert_eq!(health(version, "2026-11-19T09:00:00Z").stale, Some(false));
        assert_eq!(health(b"ClamAV 1.4.6\0", "2026-11-21T09:00:00Z").stale, None);
    }
}
