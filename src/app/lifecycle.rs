//! The one way in which an object changes its state.
//!
//! Every change is written by compare-and-set together with its audit entry and its follow-up jobs; whoever comes too
//! late hears so and looks again.

use jiff::Timestamp;

use crate::audit;
use crate::domain::audit::{AuditAction, AuditEntry, Outcome};
use crate::domain::job::{JobKind, LeasedJob};
use crate::domain::life::Life;
use crate::domain::object::Object;
use crate::store::{Advance, AdvanceOutcome, StoreError};

use super::App;

/// A change to be written.
pub struct Change {
    to: Life,
    jobs: Vec<(JobKind, Timestamp)>,
    completes: Option<LeasedJob>,
    audit: Option<AuditEntry>,
}

impl Change {
    /// A change to this state.
    pub fn to(life: Life) -> Self {
        Self { to: life, jobs: Vec::new(), completes: None, audit: None }
    }

    /// With a follow-up job.
    #[must_use]
    pub fn job(mut self, kind: JobKind, due: Timestamp) -> Self {
        self.jobs.push((kind, due));
        self
    }

    /// Completing the job that led to it; fails where the lease was lost.
    #[must_use]
    pub fn completing(mut self, job: &LeasedJob) -> Self {
        self.completes = Some(job.clone());
        self
    }

    /// Recorded with this entry, which says who asked for it; without one, as an act of the gateway itself.
    #[must_use]
    pub fn audit(mut self, entry: AuditEntry) -> Self {
        self.audit = Some(entry);
        self
    }
}

impl App {
    /// Writes the change. The object as it stands then, or `None` where somebody else was faster or the lease was lost.
    ///
    /// # Errors
    /// [`StoreError`] where nothing could be written.
    pub async fn advance(&self, object: &Object, change: Change) -> Result<Option<Object>, StoreError> {
        let now = self.clock.now();
        let (from, to) = (object.life.state(), change.to.state());
        let entry = change
            .audit
            .unwrap_or_else(|| AuditEntry::new(now, AuditAction::ChangeState, Outcome::Allowed).about_object(object));
        let entry = audit::changed(entry, object, &change.to);

        let advance = Advance {
            object: object.id,
            from_revision: object.revision,
            to: change.to.clone(),
            now,
            jobs: change.jobs,
            completes: change.completes,
            audit: vec![entry],
        };
        let kinds: Vec<JobKind> = advance.jobs.iter().map(|(kind, _)| *kind).collect();
        if self.store.advance(advance).await? == AdvanceOutcome::Conflict {
            return Ok(None);
        }
        tracing::info!(object = %object.id, from = from.as_str(), to = to.as_str(), "state changed");
        metrics::counter!("vestibule_transitions_total", "to" => to.as_str()).increment(1);
        for kind in kinds {
            self.work.bell(kind).notify_one();
        }
        Ok(Some(Object { life: change.to, revision: object.revision + 1, updated_at: now, ..object.clone() }))
    }
}
