//! How a server ends: it says that it is leaving, goes on answering until nobody asks it any more, finishes what it has
//! begun, and gives back what it cannot finish.
//!
//! Nothing that was accepted is dropped while it may still end in time: `drain` is for balancers and clients to leave,
//! `grace` for requests and jobs under way. A second signal cuts both short; leases are given back even then.

use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use futures::future::join_all;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::config::ShutdownConfig;
use crate::worker::stop::Stop;

use super::service_manager::{self, Progress};
use super::signals::Signals;

/// How long it may take to give leases back: as long as a write to the database.
const RELEASE: Duration = Duration::from_secs(5);

/// What has to end.
pub(super) struct Ending {
    /// The use cases, which say that they are leaving.
    pub(super) app: Arc<App>,
    /// The listeners.
    pub(super) servers: [ServerHandle; 2],
    /// Those who take work.
    pub(super) work: Stop,
    /// Those who serve the requests that are still answered: probes, upkeep, the audit of refusals.
    pub(super) background: CancellationToken,
    /// All of them.
    pub(super) workers: TaskTracker,
}

impl Ending {
    /// Ends everything; takes `drain` and `grace` and the time to give leases back at most.
    pub(super) async fn run(self, settings: &ShutdownConfig, signals: &mut Signals) {
        let ShutdownConfig { drain, grace } = *settings;
        tracing::info!(?drain, ?grace, "draining: answers until clients have left; a second signal ends at once");
        service_manager::tell(Progress::Stopping);
        self.app.drain();
        self.work.take_nothing_new();
        let orderly = async {
            tokio::time::sleep(drain).await;
            tracing::info!("stopping: what is under way is finished");
            let finished = async {
                join_all(self.servers.iter().map(|server| server.stop(true))).await;
                self.background.cancel();
                self.workers.wait().await;
            };
            if tokio::time::timeout(grace, finished).await.is_err() {
                tracing::warn!("some work did not end in time and is given back");
            }
        };
        let never = CancellationToken::new();
        tokio::select! {
            () = orderly => {}
            _ = signals.next(&never) => tracing::warn!("stopped at once"),
        }
        self.background.cancel();
        self.work.let_go();
        if tokio::time::timeout(RELEASE, self.workers.wait()).await.is_err() {
            tracing::warn!("some leases could not be given back; they end by themselves");
        }
    }
}
