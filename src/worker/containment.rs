//! Brings revocations with containment to their end, whichever node has begun them.
//!
//! A pass goes over everything that was uploaded under a revocation and contains it. The one that ends it begins only when
//! every node has learned of the revocation and every request from before has been answered, so that nothing slips behind
//! it. A pass that was cut off, by an end of the process or a storage that is away, is begun again; what is held already
//! costs a look.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::app::{App, Containing};
use crate::domain::audit::{AuditAction, AuditEntry, Outcome};
use crate::domain::ids::RevocationId;
use crate::store::{ObjectsOf, RevocationRecord, StoreError};

/// How often it is looked for a revocation that another node has begun.
const IDLE: Duration = Duration::from_secs(1);
/// Revocations that are worked on in one step: all that are open, or those that cannot end would keep newer ones out.
const AT_ONCE: usize = 1000;
/// Objects that are read at a time.
const PAGE: usize = 200;
/// After a revocation, how long uploads may still be recorded that were allowed before: half a second until every node knows, a
/// tenth of one until a body counts as slow and whoever sends it is looked at again, and the longest that a write may wait.
const SETTLED: SignedDuration = SignedDuration::from_secs(8);
/// Before a pass is tried again that could not do everything.
const PAUSE: SignedDuration = SignedDuration::from_secs(5);

/// The background work.
pub struct Containment {
    app: Arc<App>,
    /// Not before: of revocations that were passed over in vain, or too early to be the last time.
    due: HashMap<RevocationId, Timestamp>,
}

impl Containment {
    /// Containment over everything.
    pub fn new(app: Arc<App>) -> Self {
        Self { app, due: HashMap::new() }
    }

    /// Runs until `stop`; a pass under way is left where it is.
    pub async fn run(mut self, stop: CancellationToken) {
        let app = Arc::clone(&self.app);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                result = self.step() => {
                    if let Err(error) = result {
                        tracing::warn!(%error, "cannot look for what is to be contained");
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(IDLE) => {}
                () = app.work.containment().notified() => {}
            }
        }
    }

    /// One pass over each revocation that is not done and due.
    ///
    /// # Errors
    /// [`StoreError`] where nobody knows what is to be done.
    pub async fn step(&mut self) -> Result<(), StoreError> {
        let open = self.app.store.to_contain(AT_ONCE).await?;
        self.due.retain(|id, _| open.iter().any(|record| record.id == *id));
        for record in open {
            let began = self.app.clock.now();
            if self.due.get(&record.id).is_some_and(|due| *due > began) {
                continue;
            }
            let settled = record.at + SETTLED;
            let due = match self.pass(&record).await {
                Ok(true) if began >= settled => {
                    self.finish(&record).await?;
                    continue;
                }
                Ok(true) => settled,
                Ok(false) => began + PAUSE,
                Err(error) => {
                    tracing::warn!(%error, revocation = %record.id, "a containment was cut off and is begun again");
                    began + PAUSE
                }
            };
            self.due.insert(record.id, due);
        }
        Ok(())
    }

    /// Contains everything; whether nothing was left out.
    async fn pass(&self, record: &RevocationRecord) -> Result<bool, StoreError> {
        let (mut after, mut whole) = (None, true);
        loop {
            let query = ObjectsOf { target: record.target.clone(), after, limit: PAGE, patient: true };
            let page = self.app.store.objects_of(query).await?;
            for object in &page {
                match self.app.contain(object, record).await {
                    Ok(Containing::Busy) => whole = false,
                    Ok(done) => {
                        if done != Containing::Nothing {
                            metrics::counter!("vestibule_contained_total").increment(1);
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%error, object = %object.id, "cannot contain an object yet");
                        whole = false;
                    }
                }
                crate::fault::point("contain.object").await;
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.id),
                _ => return Ok(whole),
            }
        }
    }

    async fn finish(&self, record: &RevocationRecord) -> Result<(), StoreError> {
        let now = self.app.clock.now();
        let mut entry = AuditEntry::new(now, AuditAction::FinishContainment, Outcome::Allowed);
        entry.operator = Some(record.by.clone());
        entry.detail = Some(format!("everything that was uploaded under {} is held or over", record.id));
        if self.app.store.contained(record.id, now, entry).await? {
            tracing::info!(revocation = %record.id, "contained");
        }
        Ok(())
    }
}
