//! Says every few seconds that this node runs, and where it answers; takes it back at the end.
//!
//! For operators and for `vestibule drill`, which has to ask every node. Nothing is decided by it: a node that cannot say so
//! serves or refuses as it would.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::store::NodeRecord;

/// Time between two signs of life.
pub const INTERVAL: Duration = Duration::from_secs(5);

/// The background work.
pub struct Heartbeat {
    app: Arc<App>,
    node: NodeRecord,
}

impl Heartbeat {
    /// A heartbeat of this node.
    pub fn new(app: Arc<App>, node: NodeRecord) -> Self {
        Self { app, node }
    }

    /// Runs until `shutdown`, and takes the node off the list then.
    pub async fn run(self, shutdown: CancellationToken) {
        loop {
            self.step().await;
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep(INTERVAL) => {}
            }
        }
        if let Err(error) = self.app.store.node_left(self.node.id).await {
            tracing::warn!(%error, "cannot take this node off the list; it is taken for dead in some seconds");
        }
    }

    /// Says it once.
    pub async fn step(&self) {
        let node = NodeRecord { seen_at: self.app.clock.now(), ..self.node.clone() };
        if let Err(error) = self.app.store.node_seen(node).await {
            tracing::warn!(%error, "cannot say that this node runs");
        }
    }
}
