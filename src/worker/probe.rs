//! Asks everything that may be away how it is, and keeps the gauges current.
//!
//! Uploads stop while no scanner could judge them (P6); readiness is answered from what is found here, so that nobody who
//! asks for it makes the node ask others.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::app::{App, ScannerFound};
use crate::domain::job::JobKind;
use crate::domain::life::State;

use super::inspect::Inspector;

/// The background probe.
pub struct Probe {
    app: Arc<App>,
    inspector: Inspector,
}

impl Probe {
    /// A probe of this scanner's servers.
    pub fn new(app: Arc<App>, inspector: Inspector) -> Self {
        Self { app, inspector }
    }

    /// Runs until `shutdown`: the scanner, the database, Redis and the gauges every two seconds, the targets every ten, because
    /// their providers charge for requests.
    pub async fn run(self, shutdown: CancellationToken) {
        loop {
            for with_targets in [true, false, false, false, false] {
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = self.ask(with_targets) => {}
                }
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep(Duration::from_secs(2)) => {}
                }
            }
        }
    }

    /// Asks everything once.
    pub async fn step(&self) {
        self.ask(true).await;
    }

    /// All at the same time, so that what is slow to answer does not hide what is not.
    async fn ask(&self, with_targets: bool) {
        let targets = async {
            if with_targets {
                self.app.probe_targets().await;
            }
        };
        tokio::join!(self.scanner(), self.app.probe_database(), self.app.probe_limits(), targets, self.gauges());
    }

    async fn scanner(&self) {
        let found = self.inspector.health().await.into_iter().map(|health| ScannerFound {
            ready: health.reachable,
            stale: health.stale,
            detail: format!("{}: {health}", health.server),
        });
        self.app.scanner.note(found.collect());
    }

    async fn gauges(&self) {
        let statistics = match self.app.store.statistics().await {
            Ok(statistics) => statistics,
            Err(error) => {
                tracing::warn!(%error, "cannot count objects");
                return;
            }
        };
        // What is absent is none: a gauge that is not set again keeps its last value.
        for state in State::ALL {
            let count = statistics.states.iter().find(|(counted, _)| *counted == state).map_or(0, |(_, count)| *count);
            metrics::gauge!("vestibule_objects", "state" => state.as_str()).set(count as f64);
        }
        let now = self.app.clock.now();
        for kind in JobKind::ALL {
            let waiting = statistics.jobs.iter().find(|(counted, ..)| *counted == kind);
            let count = waiting.map_or(0, |(_, count, _)| *count);
            let age = waiting.map_or(0.0, |(.., oldest)| now.duration_since(*oldest).as_secs_f64().max(0.0));
            metrics::gauge!("vestibule_jobs", "kind" => kind.as_str()).set(count as f64);
            metrics::gauge!("vestibule_queue_age_seconds", "kind" => kind.as_str()).set(age);
        }
        metrics::gauge!("vestibule_dead_letters").set(statistics.dead_letters as f64);
    }
}
