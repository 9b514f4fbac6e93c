//! The sweep: looks up what should have happened, so that lost events change nothing but the delay (P5).
//!
//! Takes no input. It lists every target's staging area and follows each key as if an event had named it, and it ends
//! uploads whose URL expired without bytes. Alone it brings every object to its final state; events only make it faster.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;

use crate::app::{App, Arrival, ArrivalError, Change, OpenTarget, Source};
use crate::domain::job::JobKind;
use crate::domain::key::Area;
use crate::domain::object::Object;
use crate::storage::StorageError;

/// Objects looked at before the database and the storage get a rest.
const PAGE: usize = 500;

/// What one sweep found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Uploads whose event never came.
    pub arrived: usize,
    /// Uploads that never came.
    pub expired: usize,
    /// Bytes under finished uploads, removed.
    pub strays: usize,
    /// Staged keys that could not be followed this time.
    pub failed: usize,
}

impl Findings {
    fn add(&mut self, other: Findings) {
        self.arrived += other.arrived;
        self.expired += other.expired;
        self.strays += other.strays;
        self.failed += other.failed;
    }
}

/// The sweep over all targets.
pub struct Sweep {
    app: Arc<App>,
    interval: Duration,
}

impl Sweep {
    /// A sweep every `interval`.
    pub fn new(app: Arc<App>, interval: Duration) -> Self {
        Self { app, interval }
    }

    /// Runs until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(self.interval) => {}
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                findings = self.step() => tracing::debug!(?findings, "swept"),
            }
        }
    }

    /// Sweeps once over everything.
    pub async fn step(&self) -> Findings {
        let mut findings = Findings::default();
        // At the same time, so that one storage that is away holds up no other.
        let targets = self.app.targets.all();
        for found in futures::future::join_all(targets.iter().map(|open| self.staging(open))).await {
            findings.add(found);
        }
        if let Err(error) = self.app.store.prune(self.app.clock.now()).await {
            tracing::warn!(%error, "cannot prune used links and old idempotency keys");
        }
        if let Err(error) = self.expired(&mut findings).await {
            tracing::warn!(%error, "cannot end expired uploads");
            findings.failed += 1;
        }
        for (finding, count) in [
            ("arrived", findings.arrived),
            ("expired", findings.expired),
            ("stray", findings.strays),
            ("failed", findings.failed),
        ] {
            metrics::counter!("vestibule_sweep_findings_total", "finding" => finding).increment(count as u64);
        }
        findings
    }

    async fn staging(&self, open: &OpenTarget) -> Findings {
        let mut findings = Findings::default();
        let mut cursor = None;
        loop {
            let listed = open.store.list(Area::Staging, &open.target.staging_prefix, cursor.as_deref(), PAGE).await;
            let page = match listed {
                Ok(page) => page,
                Err(error) => {
                    tracing::warn!(target_name = %open.target.name, %error, "cannot sweep a staging area");
                    findings.failed += 1;
                    return findings;
                }
            };
            for (key, _) in &page.objects {
                match self.app.look(open, key, Source::Sweep).await {
                    Ok(Arrival::StrayRemoved(_)) => findings.strays += 1,
                    Ok(Arrival::Arrived(_) | Arrival::Rejected(_)) => findings.arrived += 1,
                    Ok(_) => {}
                    Err(error) => {
                        tracing::warn!(%error, "cannot follow a staged key");
                        findings.failed += 1;
                    }
                }
            }
            match page.next {
                Some(next) => cursor = Some(next),
                None => return findings,
            }
        }
    }

    async fn expired(&self, findings: &mut Findings) -> Result<(), ArrivalError> {
        let now = self.app.clock.now();
        // Those whose storage is away, or whose bytes may still be on their way: passed over in this sweep.
        let mut passed = HashSet::new();
        loop {
            let due =
                self.app.store.expirable(now - signed(self.app.settings.expiry_grace), PAGE + passed.len()).await?;
            let fresh: Vec<Object> = due.into_iter().filter(|object| !passed.contains(&object.id)).collect();
            if fresh.is_empty() {
                return Ok(());
            }
            for object in fresh {
                let id = object.id;
                if object.upload_expires_at + self.app.settings.grace_for(object.size) > now {
                    passed.insert(id);
                } else if let Err(error) = self.end(object, findings).await {
                    tracing::warn!(%error, "cannot end an expired upload");
                    findings.failed += 1;
                    passed.insert(id);
                }
            }
        }
    }

    /// Ends one upload whose URL has expired: as arrived where its bytes are there, else as expired.
    async fn end(&self, object: Object, findings: &mut Findings) -> Result<(), ArrivalError> {
        let Some(store) = self.app.targets.store(&object.target) else {
            return Err(StorageError::Unavailable(format!("the target {} is not configured", object.target)).into());
        };
        if let Some(stored) = store.head(&object.keys.staging).await? {
            self.app.arrive(object, stored, Source::Sweep).await?;
            findings.arrived += 1;
        } else if let Ok(next) = object.life.clone().expire() {
            let change = Change::to(next).job(JobKind::Purge, self.app.clock.now());
            self.app.advance(&object, change).await?;
            findings.expired += 1;
        }
        Ok(())
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::ZERO)
}
