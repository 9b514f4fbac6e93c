//! A lane takes due jobs under a lease, a bounded number at a time, and keeps the leases alive while they run.
//!
//! Slow work (inspection) and quick work (promotion, removal) have a lane each, so that a long scan never holds up what
//! is already judged. A job whose lease is lost is dropped where it stands: somebody else has it now.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::domain::job::{JobKind, LeasedJob};
use crate::store::{ClaimJobs, StoreError};

use super::jobs::Jobs;

/// How long a lease runs before somebody else may take the job; it is extended every third of it.
const LEASE: Duration = Duration::from_secs(30);
/// How often an idle lane looks for jobs that nobody announced, for example another node's.
const IDLE: Duration = Duration::from_millis(500);
/// After the database failed to answer.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// A number of workers for some kinds of jobs.
pub struct Lane {
    jobs: Arc<Jobs>,
    kinds: &'static [JobKind],
    slots: Arc<Semaphore>,
    width: usize,
}

impl Lane {
    /// The lane that inspects, `width` objects at a time.
    pub fn inspection(jobs: Arc<Jobs>, width: usize) -> Self {
        Self::new(jobs, &[JobKind::Inspect], width)
    }

    /// The lane that copies and removes, `width` objects at a time.
    pub fn storage(jobs: Arc<Jobs>, width: usize) -> Self {
        Self::new(jobs, &[JobKind::Promote, JobKind::RemoveStaged, JobKind::Purge], width)
    }

    fn new(jobs: Arc<Jobs>, kinds: &'static [JobKind], width: usize) -> Self {
        Self { jobs, kinds, slots: Arc::new(Semaphore::new(width)), width }
    }

    fn app(&self) -> &App {
        self.jobs.app()
    }

    /// Takes as many due jobs as the lane is wide and runs them to their end. How many there were.
    ///
    /// # Errors
    /// [`StoreError`] where none could be claimed.
    pub async fn step(&self) -> Result<usize, StoreError> {
        let claimed = self.claim(self.width).await?;
        let count = claimed.len();
        futures::future::join_all(claimed.into_iter().map(|job| run_leased(Arc::clone(&self.jobs), job))).await;
        Ok(count)
    }

    /// Runs until `shutdown`, then finishes what it has begun.
    pub async fn run(self, shutdown: CancellationToken) {
        let tracker = TaskTracker::new();
        loop {
            let permit = tokio::select! {
                () = shutdown.cancelled() => break,
                permit = Arc::clone(&self.slots).acquire_owned() => permit,
            };
            let Ok(permit) = permit else { break };
            let wait = self.fill(permit, &tracker).await;
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep(wait) => {}
                () = bell(self.app(), self.kinds), if !wait.is_zero() => {}
            }
        }
        tracker.close();
        tracker.wait().await;
    }

    /// Starts as many jobs as there are free slots. How long to wait before looking again.
    async fn fill(&self, first: OwnedSemaphorePermit, tracker: &TaskTracker) -> Duration {
        let now = self.app().clock.now();
        match self.app().store.next_due(self.kinds).await {
            Ok(Some(due)) if due <= now => {}
            Ok(Some(due)) => return until(now, due).min(IDLE),
            Ok(None) => return IDLE,
            Err(error) => {
                tracing::warn!(%error, "cannot look for jobs");
                return AFTER_FAILURE;
            }
        }
        let mut permits = vec![first];
        while let Ok(permit) = Arc::clone(&self.slots).try_acquire_owned() {
            permits.push(permit);
        }
        let claimed = match self.claim(permits.len()).await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::warn!(%error, "cannot claim jobs");
                return AFTER_FAILURE;
            }
        };
        for job in claimed {
            let Some(permit) = permits.pop() else { break };
            let jobs = Arc::clone(&self.jobs);
            tracker.spawn(async move {
                run_leased(jobs, job).await;
                drop(permit);
            });
        }
        Duration::ZERO
    }

    async fn claim(&self, limit: usize) -> Result<Vec<LeasedJob>, StoreError> {
        let now = self.app().clock.now();
        let claim = ClaimJobs {
            kinds: self.kinds.to_vec(),
            now,
            lease_until: lease_end(now),
            lease: self.app().clock.uuid(),
            limit,
        };
        self.app().store.claim_jobs(claim).await
    }
}

/// Rings when somebody has left a job for this lane.
async fn bell(app: &App, kinds: &[JobKind]) {
    match kinds.first() {
        Some(kind) => app.work.bell(*kind).notified().await,
        None => std::future::pending().await,
    }
}

fn lease_end(now: Timestamp) -> Timestamp {
    now + SignedDuration::try_from(LEASE).unwrap_or(SignedDuration::ZERO)
}

fn until(now: Timestamp, due: Timestamp) -> Duration {
    Duration::try_from(due.duration_since(now)).unwrap_or(Duration::ZERO)
}

/// Runs one job while a heartbeat holds its lease.
async fn run_leased(jobs: Arc<Jobs>, job: LeasedJob) {
    let heartbeat = async {
        loop {
            tokio::time::sleep(LEASE / 3).await;
            let app = jobs.app();
            match app.store.extend_lease(&job, lease_end(app.clock.now())).await {
                Ok(true) => {}
                Ok(false) => return,
                // The lease still runs for a while; the next beat may get through.
                Err(error) => tracing::warn!(%error, object = %job.object, "cannot extend a lease"),
            }
        }
    };
    tokio::select! {
        () = jobs.run(&job) => {}
        () = heartbeat => tracing::warn!(object = %job.object, kind = job.kind.as_str(), "the lease was lost"),
    }
}
