//! Keeps the database from growing with time: writes folded refusals, and removes what has been kept long enough.
//!
//! When tokens were used last is written every ten seconds. Anonymous refusals that were only counted get their rows every
//! second, and once more at shutdown. Audit entries and unreadable messages past their retention are removed once an hour.
//! Deliberately absent: the records of finished objects, which are what an audit entry is about, and what tells bytes that
//! appear under a finished upload from unknown ones.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::domain::audit::{AuditAction, AuditEntry, Outcome};
use crate::store::StoreError;

/// Time between two looks for folded refusals.
const MOMENT: Duration = Duration::from_secs(1);
/// Moments between two removals.
const MOMENTS: u32 = 3600;
/// Moments between two writings of when tokens were used last.
const USES: u32 = 10;

/// How long what only grows is kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Days of audit entries.
    pub audit_days: u16,
    /// Days of messages that nobody could read.
    pub dead_letter_days: u16,
}

/// The background work.
pub struct Housekeeping {
    app: Arc<App>,
    retention: Retention,
}

impl Housekeeping {
    /// Housekeeping with these retention times.
    pub fn new(app: Arc<App>, retention: Retention) -> Self {
        Self { app, retention }
    }

    /// Runs until `shutdown`, and writes what was counted until then.
    pub async fn run(self, shutdown: CancellationToken) {
        'running: loop {
            if let Err(error) = self.step().await {
                tracing::warn!(%error, "cannot remove what is past its retention");
            }
            for moment in 0..MOMENTS {
                tokio::select! {
                    () = shutdown.cancelled() => break 'running,
                    () = tokio::time::sleep(MOMENT) => self.write_folded(false).await,
                }
                if moment % USES == 0 {
                    self.write_uses().await;
                }
            }
        }
        self.write_folded(true).await;
        self.write_uses().await;
    }

    /// Removes once what is past its retention; how many rows went.
    ///
    /// # Errors
    /// [`StoreError`] where something could not be removed; the next time goes on from there.
    pub async fn step(&self) -> Result<u64, StoreError> {
        self.app.prune_limits();
        let now = self.app.clock.now();
        let days_ago = |days: u16| now - SignedDuration::from_hours(24 * i64::from(days));
        let letters = self.app.store.prune_dead_letters(days_ago(self.retention.dead_letter_days)).await?;
        let before = days_ago(self.retention.audit_days);
        let mut record = AuditEntry::new(now, AuditAction::PruneAudit, Outcome::Allowed);
        record.detail = Some(format!("entries from before {before} are past their {} days", self.retention.audit_days));
        let entries = self.app.store.prune_audit(before, record).await?;
        if letters + entries > 0 {
            tracing::info!(letters, entries, "removed what was past its retention");
        }
        Ok(letters + entries)
    }

    async fn write_uses(&self) {
        if let Err(error) = self.app.write_uses().await {
            tracing::warn!(%error, "cannot write when tokens were used last; kept for the next time");
        }
    }

    async fn write_folded(&self, everything: bool) {
        match self.app.write_folded_refusals(everything).await {
            Ok(0) => {}
            Ok(refusals) => tracing::warn!(refusals, "many requests were refused alike; recorded together"),
            Err(error) => tracing::warn!(%error, "cannot record how many requests were refused"),
        }
    }
}
