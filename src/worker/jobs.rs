//! The work itself: inspect, promote, remove. Every job is idempotent and looks at the object before it acts.
//!
//! A job that fails for a passing reason is given back with a growing delay. Inspection and promotion give up after a
//! bounded number of tries and hold the object for a reviewer; removals go on trying.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use tracing::Instrument;

use crate::app::{App, ArrivalError, Change, OpenTarget};
use crate::domain::job::{JobKind, LeasedJob};
use crate::domain::life::{Life, State};
use crate::domain::object::Object;
use crate::domain::refusal::Reason;
use crate::domain::retention::Kept;
use crate::policy;
use crate::storage::{ObjectStore, StorageError};
use crate::store::StoreError;

use super::inspect::{Declared, InspectError, Inspector};

/// How often inspection is tried, while the scanner answers, before the object is held as unscannable.
pub const INSPECTION_TRIES: u32 = 8;
/// Time between two tries while no scanner answers.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// How often promotion is tried before the object is held: about an hour.
pub const PROMOTION_TRIES: u32 = 65;
/// Longest time between two tries while a target cannot retain what it must.
const LONGEST_RETENTION_PAUSE: Duration = Duration::from_secs(300);
/// Between two tries to remove what its storage keeps: bounds of the time until its date.
const KEPT_PAUSES: [SignedDuration; 2] = [SignedDuration::from_hours(1), SignedDuration::from_hours(24)];
/// How long an object waits for a scanner that is away, or for a target that cannot retain, before it is held.
const LONGEST_OUTAGE: SignedDuration = SignedDuration::from_hours(24);
/// Versions that one removal takes away at most.
const MOST_VERSIONS: usize = 100;

/// What jobs need.
pub struct Jobs {
    pub(super) app: Arc<App>,
    inspector: Inspector,
}

/// Why a job did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum JobError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Arrival(#[from] ArrivalError),
    #[error(transparent)]
    Inspect(#[from] InspectError),
    #[error("the target {0} is not configured")]
    NoTarget(String),
}

pub(super) type Done = Result<(), JobError>;

impl Jobs {
    /// Jobs for this app.
    pub fn new(app: Arc<App>, inspector: Inspector) -> Self {
        Self { app, inspector }
    }

    /// What the jobs work on.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Inspections that may be under way at the moment; `None` where the scanner is away.
    pub fn scanner_width(&self) -> Option<usize> {
        self.inspector.width()
    }

    /// Runs one job; on failure gives it back.
    pub async fn run(&self, job: &LeasedJob) {
        let span = tracing::info_span!("job", kind = job.kind.as_str(), object = %job.object, attempt = job.attempts);
        async {
            let result = match job.kind {
                JobKind::Inspect => self.inspect(job).await,
                JobKind::Promote => self.promote(job).await,
                JobKind::RemoveStaged => self.remove_staged(job).await,
                JobKind::Purge => self.purge(job).await,
            };
            if let Err(error) = result {
                self.failed(job, &error).await;
            }
        }
        .instrument(span)
        .await;
    }

    async fn inspect(&self, job: &LeasedJob) -> Done {
        let Some(object) = self.app.store.object(job.object).await? else { return self.finish(job).await };
        let object = match object.life.state() {
            State::Scanning => object,
            State::Uploaded => {
                let Ok(scanning) = object.life.clone().claim() else { return self.finish(job).await };
                match self.app.advance(&object, Change::to(scanning)).await? {
                    Some(object) => object,
                    None => return self.retry_soon(job).await,
                }
            }
            _ => return self.finish(job).await,
        };
        let Life::Scanning { staged } = &object.life else { return self.finish(job).await };
        crate::fault::point("inspect.scanning").await;

        let policies = self.app.policies.current();
        let Some(rules) = policy::content_rules(&policies, &object) else {
            let detail = "The app has no manifest any more.".to_owned();
            return self.hold(job, &object, detail).await;
        };
        let store = self.store(&object)?;
        let declared = Declared {
            staged,
            size: object.size,
            content_type: &object.content_type,
            filename: &object.filename,
            sha256: object.sha256.as_ref(),
            rules: &rules,
        };
        let open = || store.get(&object.keys.staging, staged);
        let verdict = match self.inspector.inspect(&open, declared).await {
            Err(InspectError::Stream(StorageError::NotFound | StorageError::PreconditionFailed)) => {
                return self.changed(job, &object).await;
            }
            verdict => verdict?,
        };
        let Ok(next) = object.life.clone().judge(verdict) else { return self.changed(job, &object).await };
        let follow_up = match next.state() {
            State::Promoting => Some(JobKind::Promote),
            State::Rejected => Some(JobKind::Purge),
            _ => None,
        };
        self.complete(job, &object, next, follow_up).await
    }

    /// Deletes the staged bytes of an object that has its served copy; other bytes that came after them are strays.
    async fn remove_staged(&self, job: &LeasedJob) -> Done {
        let Some(object) = self.app.store.object(job.object).await? else { return self.finish(job).await };
        crate::fault::point("promote.recorded").await;
        if object.life.served().is_some() {
            let store = self.store(&object)?;
            let judged = object.life.verdict().map(|verdict| verdict.bytes.etag.as_str());
            for _ in 0..MOST_VERSIONS {
                let Some(stored) = store.head(&object.keys.staging).await? else { break };
                if judged.is_some_and(|judged| judged != stored.bytes.etag) {
                    self.app.discard_stray(&object, &stored, store.as_ref()).await?;
                } else {
                    store.delete(&object.keys.staging, stored.bytes.version.as_deref()).await?;
                }
                // Without versions there is nothing behind it; what comes later is a stray, which the sweep removes.
                if stored.bytes.version.is_none() {
                    break;
                }
            }
        }
        self.finish(job).await
    }

    /// Deletes every byte of an object that is gone, older versions included.
    async fn purge(&self, job: &LeasedJob) -> Done {
        let Some(object) = self.app.store.object(job.object).await? else { return self.finish(job).await };
        if !object.life.state().holds_quota() {
            let store = self.store(&object)?;
            for key in [&object.keys.staging, &object.keys.served] {
                for _ in 0..MOST_VERSIONS {
                    let Some(stored) = store.head(key).await? else { break };
                    store.delete(key, stored.bytes.version.as_deref()).await?;
                }
            }
        }
        self.finish(job).await
    }

    /// The staged bytes are not those that the record names: whatever they are, they are not let through.
    pub(super) async fn changed(&self, job: &LeasedJob, object: &Object) -> Done {
        tracing::warn!(alert = "changed_after_upload", object = %object.id, "the staged bytes changed or are gone");
        let detail = "The bytes changed or disappeared after the upload.".to_owned();
        let Ok(next) = object.life.clone().reject(Reason::ChangedAfterUpload, detail) else {
            return self.finish(job).await;
        };
        self.complete(job, object, next, Some(JobKind::Purge)).await
    }

    async fn hold(&self, job: &LeasedJob, object: &Object, detail: String) -> Done {
        let Ok(next) = object.life.clone().give_up(detail) else { return self.finish(job).await };
        self.complete(job, object, next, None).await
    }

    pub(super) async fn complete(
        &self,
        job: &LeasedJob,
        object: &Object,
        next: Life,
        follow_up: Option<JobKind>,
    ) -> Done {
        let mut change = Change::to(next).completing(job);
        if let Some(kind) = follow_up {
            change = change.job(kind, self.app.clock.now());
        }
        if self.app.advance(object, change).await?.is_none() {
            // Somebody else has changed the object or taken the job: look again, if it is still ours.
            return self.retry_soon(job).await;
        }
        Ok(())
    }

    pub(super) async fn finish(&self, job: &LeasedJob) -> Done {
        self.app.store.finish_job(job).await?;
        Ok(())
    }

    async fn retry_soon(&self, job: &LeasedJob) -> Done {
        self.app.store.retry_job(job, self.app.clock.now(), "the object changed meanwhile").await?;
        Ok(())
    }

    /// Gives a failed job back, or holds its object where enough was tried.
    async fn failed(&self, job: &LeasedJob, error: &JobError) {
        let cause = Cause::of(error);
        cause.alert(job, error);
        if self.is_hopeless(job, cause) {
            let detail = format!("After {} tries: {error}.", job.attempts);
            match self.hold_failed(job, detail).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(%error, "cannot hold the object"),
            }
        }
        let delay = match cause {
            Cause::ScannerAway => self.pause(job, LONGEST_PAUSE),
            Cause::CannotRetain => self.pause(job, LONGEST_RETENTION_PAUSE),
            Cause::Kept(kept) => self.until_released(kept),
            Cause::Other => back_off(job.attempts),
        };
        tracing::warn!(%error, ?delay, "the job is tried again");
        metrics::counter!("vestibule_job_retries_total", "kind" => job.kind.as_str()).increment(1);
        let due = self.app.clock.now() + SignedDuration::try_from(delay).unwrap_or(SignedDuration::ZERO);
        let tried = if cause.counts() { job.clone() } else { job.uncounted() };
        if let Err(error) = self.app.store.retry_job(&tried, due, &error.to_string()).await {
            // The lease ends by itself.
            tracing::warn!(%error, "cannot give the job back");
        }
    }

    /// How long a job waits for what it cannot do without: longer, the longer it has waited. While the scanner is away the
    /// lane takes one job at a time, so that this only decides which.
    fn pause(&self, job: &LeasedJob, longest: Duration) -> Duration {
        let age = Duration::try_from(self.app.clock.now().duration_since(job.queued_at)).unwrap_or_default();
        (age / 4).clamp(SHORTEST_PAUSE, longest)
    }

    /// How long a removal waits for what keeps the bytes: until its date, and looked at once a day all the same, because a
    /// hold is lifted by somebody who does not tell the gateway.
    fn until_released(&self, kept: Kept) -> Duration {
        let now = self.app.clock.now();
        let left = kept.lock.map_or(SignedDuration::ZERO, |lock| lock.until.duration_since(now));
        Duration::try_from(left.clamp(KEPT_PAUSES[0], KEPT_PAUSES[1])).unwrap_or(LONGEST_RETENTION_PAUSE)
    }

    /// Tries count while the scanner answers and the target is set up: an outage of an hour must not leave an hour's uploads
    /// to the reviewers.
    fn is_hopeless(&self, job: &LeasedJob, cause: Cause) -> bool {
        match job.kind {
            JobKind::Inspect | JobKind::Promote if !cause.counts() => {
                self.app.clock.now().duration_since(job.queued_at) > LONGEST_OUTAGE
            }
            JobKind::Inspect => job.attempts >= INSPECTION_TRIES,
            JobKind::Promote => job.attempts >= PROMOTION_TRIES,
            // Bytes that should be gone are removed as soon as the storage allows it, whenever that is.
            JobKind::RemoveStaged | JobKind::Purge => false,
        }
    }

    async fn hold_failed(&self, job: &LeasedJob, detail: String) -> Done {
        match self.app.store.object(job.object).await? {
            Some(object) => self.hold(job, &object, detail).await,
            None => self.finish(job).await,
        }
    }

    fn store(&self, object: &Object) -> Result<Arc<dyn ObjectStore>, JobError> {
        self.open(object).map(|open| open.store)
    }

    /// The object's target, as it is configured today.
    pub(super) fn open(&self, object: &Object) -> Result<OpenTarget, JobError> {
        self.app.targets.open(&object.target).ok_or_else(|| JobError::NoTarget(object.target.to_string()))
    }
}

/// What a failed job waits for.
#[derive(Clone, Copy)]
enum Cause {
    /// A scanner.
    ScannerAway,
    /// A bucket or container that can retain, as its target demands.
    CannotRetain,
    /// The end of what keeps the bytes.
    Kept(Kept),
    /// Better luck.
    Other,
}

impl Cause {
    fn of(error: &JobError) -> Self {
        match error {
            JobError::Inspect(InspectError::ScannerAway(_)) => Cause::ScannerAway,
            JobError::Storage(StorageError::CannotRetain(_)) => Cause::CannotRetain,
            JobError::Storage(StorageError::Retained(kept))
            | JobError::Arrival(ArrivalError::Storage(StorageError::Retained(kept))) => Cause::Kept(*kept),
            _ => Cause::Other,
        }
    }

    /// Whether the try counts: not where the object had no part in it.
    fn counts(self) -> bool {
        !matches!(self, Cause::ScannerAway | Cause::CannotRetain)
    }

    /// Somebody has to do something about these.
    fn alert(self, job: &LeasedJob, error: &JobError) {
        match self {
            Cause::CannotRetain => {
                tracing::error!(alert = "cannot_retain", object = %job.object, %error, "not promoted without retention");
            }
            Cause::Kept(_) => {
                tracing::warn!(alert = "kept_by_storage", object = %job.object, %error, "bytes that should go are kept");
            }
            Cause::ScannerAway | Cause::Other => {}
        }
    }
}

/// 1 s, 2 s, 4 s … up to a minute.
fn back_off(attempts: u32) -> Duration {
    Duration::from_secs(1 << attempts.saturating_sub(1).min(6)).min(Duration::from_secs(60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_a_minute() {
        let seconds: Vec<_> = (1..=9).map(|attempt| back_off(attempt).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }
}
