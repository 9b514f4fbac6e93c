//! Asks the scanner how it is, so that uploads stop while nothing could judge them (P6), and keeps the gauges current.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::app::App;

use super::inspect::Inspector;

/// The background probe.
pub struct Probe {
    app: Arc<App>,
    inspector: Inspector,
}

impl Probe {
    /// A probe of this scanner.
    pub fn new(app: Arc<App>, inspector: Inspector) -> Self {
        Self { app, inspector }
    }

    /// Runs until `shutdown`, every two seconds.
    pub async fn run(self, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.step() => {}
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(Duration::from_secs(2)) => {}
            }
        }
    }

    /// Asks once.
    pub async fn step(&self) {
        self.scanner().await;
        self.gauges().await;
    }

    async fn scanner(&self) {
        let health = self.inspector.health().await;
        self.app.scanner.note(health.reachable, health.to_string());
    }

    async fn gauges(&self) {
        let statistics = match self.app.store.statistics().await {
            Ok(statistics) => statistics,
            Err(error) => {
                tracing::warn!(%error, "cannot count objects");
                return;
            }
        };
        for (state, count) in statistics.states {
            metrics::gauge!("vestibule_objects", "state" => state.as_str()).set(count as f64);
        }
        let now = self.app.clock.now();
        for (kind, count, oldest) in statistics.jobs {
            metrics::gauge!("vestibule_jobs", "kind" => kind.as_str()).set(count as f64);
            let age = if count == 0 { 0.0 } else { now.duration_since(oldest).as_secs_f64().max(0.0) };
            metrics::gauge!("vestibule_queue_age_seconds", "kind" => kind.as_str()).set(age);
        }
        metrics::gauge!("vestibule_dead_letters").set(statistics.dead_letters as f64);
    }
}
