//! A lane takes due jobs under a lease, a bounded number at a time, and keeps the leases alive while they run.
//!
//! Slow work (inspection) and quick work (promotion, removal) have a lane each, so that a long scan never holds up what
//! is already judged. The lane of inspections is as wide as the scanner's servers together take at the moment. A job whose
//! lease is lost is dropped where it stands: somebody else has it now. At the end of the process what is in hand may end
//! by itself for a while; then it is given back, and the try is not counted.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::domain::job::{JobKind, LeasedJob};
use crate::store::{ClaimJobs, StoreError};

use super::jobs::Jobs;
use super::stop::Stop;

/// How long a lease runs before somebody else may take the job; it is extended every third of it.
const LEASE: Duration = Duration::from_secs(30);
/// How often an idle lane looks for jobs that nobody announced, for example another node's.
const IDLE: Duration = Duration::from_millis(500);
/// What a job that was given back says of its last try.
const GIVEN_BACK: &str = "the node that had it ended";
/// After the database failed to answer.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// How many jobs a lane has under way at most.
#[derive(Clone, Copy, Debug)]
enum Width {
    Fixed(usize),
    /// As many as the scanner takes at the moment.
    Scanner,
}

/// A number of workers for some kinds of jobs.
pub struct Lane {
    jobs: Arc<Jobs>,
    kinds: &'static [JobKind],
    width: Width,
}

impl Lane {
    /// The lane that inspects, as many objects at a time as the scanner's servers take.
    pub fn inspection(jobs: Arc<Jobs>) -> Self {
        Self { jobs, kinds: &[JobKind::Inspect], width: Width::Scanner }
    }

    /// The lane that copies and removes, `width` objects at a time.
    pub fn storage(jobs: Arc<Jobs>, width: usize) -> Self {
        let kinds = &[JobKind::Promote, JobKind::RemoveStaged, JobKind::Purge];
        Self { jobs, kinds, width: Width::Fixed(width) }
    }

    fn app(&self) -> &App {
        self.jobs.app()
    }

    /// How many jobs may be under way. `None` where the scanner is away: then one finds out whether it still is.
    fn width(&self) -> Option<usize> {
        match self.width {
            Width::Fixed(width) => Some(width),
            Width::Scanner => self.jobs.scanner_width(),
        }
    }

    /// Takes as many due jobs as the lane is wide and runs them to their end. How many there were.
    ///
    /// # Errors
    /// [`StoreError`] where none could be claimed.
    pub async fn step(&self) -> Result<usize, StoreError> {
        let claimed = self.claim(self.width().unwrap_or(1)).await?;
        let count = claimed.len();
        let never = CancellationToken::new();
        let run = |job| run_leased(Arc::clone(&self.jobs), job, never.clone());
        futures::future::join_all(claimed.into_iter().map(run)).await;
        Ok(count)
    }

    /// Runs until it is told to stop, then finishes what it has begun, or gives it back once it is told to let go.
    pub async fn run(self, stop: Stop) {
        let (mut running, shutdown) = (JoinSet::new(), stop.nothing_new());
        while !shutdown.is_cancelled() {
            while running.try_join_next().is_some() {}
            let width = self.width();
            let free = width.unwrap_or(1).saturating_sub(running.len());
            let mut wait = if free > 0 { self.fill(free, &mut running, stop.letting_go()).await } else { IDLE };
            if width.is_none() {
                wait = wait.max(IDLE);
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(wait) => {}
                Some(_) = running.join_next(), if free == 0 => {}
                () = bell(self.app(), self.kinds), if free > 0 && !wait.is_zero() => {}
            }
        }
        while running.join_next().await.is_some() {}
    }

    /// Starts as many jobs as there are free slots. How long to wait before looking again.
    async fn fill(&self, free: usize, running: &mut JoinSet<()>, let_go: &CancellationToken) -> Duration {
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
        match self.claim(free).await {
            Ok(claimed) => {
                for job in claimed {
                    running.spawn(run_leased(Arc::clone(&self.jobs), job, let_go.clone()));
                }
                Duration::ZERO
            }
            Err(error) => {
                tracing::warn!(%error, "cannot claim jobs");
                AFTER_FAILURE
            }
        }
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

/// Runs one job while a heartbeat holds its lease, unless it has to be let go.
async fn run_leased(jobs: Arc<Jobs>, job: LeasedJob, let_go: CancellationToken) {
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
        () = let_go.cancelled() => give_back(jobs.app(), &job).await,
    }
}

/// Gives a job back that did not end in time, as if it had not been tried.
async fn give_back(app: &App, job: &LeasedJob) {
    match app.store.retry_job(&job.uncounted(), app.clock.now(), GIVEN_BACK).await {
        Ok(true) => {
            tracing::info!(object = %job.object, kind = job.kind.as_str(), "gave a job back, to be done elsewhere")
        }
        Ok(false) => {}
        Err(error) => tracing::warn!(%error, object = %job.object, "cannot give a job back; its lease ends by itself"),
    }
}
