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
mod health;
mod judge;
mod load;
mod office;
mod ole;
mod pass;
mod pdf;
mod pool;
mod reply;
mod sniff;
mod spool;
mod text;
mod types;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::Instant;

pub use config::{Concurrency, ParseAddressError, ScannerAddress, ScannerConfig};
pub use error::InspectError;
pub use health::ScannerHealth;
pub use reply::{Reply, UnclearReply, Version};

use pool::{Pool, Slot};

use crate::clock::Clock;
use crate::domain::bytes::{Sha256Digest, StoredBytes};
use crate::domain::content::ContentRules;
use crate::domain::filename::Filename;
use crate::domain::media::MediaType;
use crate::domain::verdict::Verdict;
use crate::storage::{ByteStream, StorageError};

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

/// Opens the object's bytes from the beginning; called once for each server that is tried.
pub type Open<'a> = dyn Fn() -> BoxFuture<'a, Result<ByteStream, StorageError>> + Send + Sync + 'a;

/// The inspector. Clones share the servers, their slots and what is known about them.
#[derive(Clone, Debug)]
pub struct Inspector {
    config: Arc<ScannerConfig>,
    clock: Clock,
    pool: Arc<Pool>,
}

impl Inspector {
    /// An inspector that speaks to the servers of this configuration. Connects only when it is used.
    pub fn new(config: ScannerConfig, clock: Clock) -> Self {
        let pool = Arc::new(Pool::new(&config));
        Self { config: Arc::new(config), clock, pool }
    }

    /// Inspections that may run at the same time on the servers that answer; `None` where none answers.
    pub fn width(&self) -> Option<usize> {
        self.pool.width()
    }

    /// Reads the object once and judges it.
    ///
    /// Waits for a slot on the least loaded server before it opens the object. Where that server goes away, the object is
    /// read again for the next one, until each was tried once: what one server saw of it counts for nothing. Reading stops
    /// behind the declared length; the verdict's digest is then that of the bytes read, and its engine that of the server
    /// that scanned. The time on each server is bounded by [`ScannerConfig::time_for`].
    ///
    /// # Errors
    /// [`InspectError`]: nothing is known about the bytes. [`InspectError::is_transient`] tells whether to try again.
    pub async fn inspect<'a>(&self, open: &Open<'a>, declared: Declared<'_>) -> Result<Verdict, InspectError> {
        let size = declared.staged.size.min(declared.size);
        let mut tried = Vec::new();
        let mut result = Err(InspectError::ScannerAway(std::io::ErrorKind::NotConnected.into()));
        let mut took = Duration::ZERO;
        while let Some(slot) = self.pool.take(&tried, size).await {
            let started = Instant::now();
            result = self.on_server(&slot, open, declared, self.config.time_for(size)).await;
            took += started.elapsed();
            match &result {
                Err(error) if error.is_scanner_gone() => {
                    tracing::debug!(server = %slot.server().clamd.address, %error, "the scan's server is gone");
                    tried.push(slot.index());
                }
                _ => break,
            }
        }
        let outcome = result.as_ref().map_or("error", |verdict| verdict.finding.as_str());
        metrics::counter!("vestibule_inspections_total", "outcome" => outcome).increment(1);
        metrics::histogram!("vestibule_inspection_seconds", "outcome" => outcome).record(took.as_secs_f64());
        result
    }

    async fn on_server<'a>(
        &self,
        slot: &Slot<'_>,
        open: &Open<'a>,
        declared: Declared<'_>,
        time: Duration,
    ) -> Result<Verdict, InspectError> {
        let server = slot.server();
        let pass = async {
            // Asked first: for a server that does not answer the object need not be read.
            let version = if slot.answered { server.version().await? } else { server.ask().await? };
            let stream = open().await.map_err(InspectError::Stream)?;
            pass::run(self, server, version, stream, declared).await
        };
        let result = tokio::select! {
            result = tokio::time::timeout(time, Box::pin(pass)) => {
                result.unwrap_or(Err(InspectError::ScannerTimeout(time)))
            }
            // The probe found out before the scan did: a frozen server keeps its connections.
            () = self.pool.left_behind(slot.index()) => Err(InspectError::ScannerAway(std::io::ErrorKind::TimedOut.into())),
        };
        let gone = match &result {
            Err(InspectError::ScannerAway(_)) => true,
            Err(InspectError::ScannerLost(_) | InspectError::ScannerTimeout(_)) => server.ask().await.is_err(),
            _ => false,
        };
        if gone {
            self.noted(slot.index(), false, "a scan found it so");
        }
        match result {
            // Not the object's fault: the server answers nothing at all.
            Err(InspectError::ScannerTimeout(_)) if gone => {
                Err(InspectError::ScannerAway(std::io::ErrorKind::TimedOut.into()))
            }
            result => result,
        }
    }

    /// Notes whether a server answers, and says so where that is new.
    fn noted(&self, index: usize, answers: bool, detail: &str) {
        if !self.pool.note(index, answers) {
            return;
        }
        let server = &self.pool.servers()[index].clamd.address;
        match answers {
            true => tracing::info!(%server, %detail, "a scanner's server answers again"),
            false => tracing::warn!(%server, %detail, "a scanner's server is away and is left out"),
        }
    }
}
