//! The work itself: inspect, promote, remove. Every job is idempotent and looks at the object before it acts.
//!
//! A job that fails for a passing reason is given back with a growing delay. Inspection and promotion give up after a
//! bounded number of tries and hold the object for a reviewer; removals go on trying.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use jiff::SignedDuration;
use sha2::{Digest, Sha256};
use tracing::Instrument;

use crate::app::{App, ArrivalError, Change};
use crate::domain::bytes::{Sha256Digest, StoredBytes};
use crate::domain::grant::UploadMethod;
use crate::domain::job::{JobKind, LeasedJob};
use crate::domain::life::{Life, State};
use crate::domain::object::Object;
use crate::domain::refusal::Reason;
use crate::policy;
use crate::storage::{ObjectStore, ServedAttributes, StorageError};
use crate::store::StoreError;

use super::inspect::{Declared, InspectError, Inspector};

/// How often inspection is tried, while the scanner answers, before the object is held as unscannable.
pub const INSPECTION_TRIES: u32 = 8;
/// Time between two tries while no scanner answers.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// How often promotion is tried before the object is held: about an hour.
pub const PROMOTION_TRIES: u32 = 65;
/// How long an object waits for a scanner that is away before it is held.
const LONGEST_OUTAGE: SignedDuration = SignedDuration::from_hours(24);
/// Versions that one removal takes away at most.
const MOST_VERSIONS: usize = 100;

/// What jobs need.
pub struct Jobs {
    app: Arc<App>,
    inspector: Inspector,
}

/// Why a job did not come to its end.
#[derive(Debug, thiserror::Error)]
enum JobError {
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

type Done = Result<(), JobError>;

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

    async fn promote(&self, job: &LeasedJob) -> Done {
        let Some(object) = self.app.store.object(job.object).await? else { return self.finish(job).await };
        let Life::Promoting { staged, .. } = &object.life else { return self.finish(job).await };
        let keys = &object.keys;
        let attributes = served_attributes(&object);
        let copied = self.store(&object)?.copy(&keys.staging, staged, &keys.served, &attributes).await;
        let served = match copied {
            Err(StorageError::NotFound | StorageError::PreconditionFailed) => return self.changed(job, &object).await,
            served => served?,
        };
        if object.method == UploadMethod::Post && !self.is_what_was_judged(&object, &served).await? {
            return self.changed(job, &object).await;
        }
        crate::fault::point("promote.copied").await;
        let Ok(next) = object.life.clone().promoted(served) else { return self.finish(job).await };
        self.complete(job, &object, next, Some(JobKind::RemoveStaged)).await
    }

    /// A form cannot be create-only, and an ETag is an MD5 at best: whoever makes two files with one MD5 could swap them
    /// between the scan and the copy. So the copy, which no client can write, is hashed before it becomes visible.
    async fn is_what_was_judged(&self, object: &Object, served: &StoredBytes) -> Result<bool, JobError> {
        let Some(verdict) = object.life.verdict() else { return Ok(true) };
        let mut stream = self.store(object)?.get(&object.keys.served, served).await?;
        let mut hasher = Sha256::new();
        while let Some(chunk) = stream.next().await {
            hasher.update(&chunk?);
        }
        Ok(Sha256Digest(hasher.finalize().into()) == verdict.sha256)
    }

    /// Deletes the staged bytes of a visible object; other bytes that came after them are strays.
    async fn remove_staged(&self, job: &LeasedJob) -> Done {
        let Some(object) = self.app.store.object(job.object).await? else { return self.finish(job).await };
        crate::fault::point("promote.recorded").await;
        if object.life.state() == State::Visible {
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
    async fn changed(&self, job: &LeasedJob, object: &Object) -> Done {
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

    async fn complete(&self, job: &LeasedJob, object: &Object, next: Life, follow_up: Option<JobKind>) -> Done {
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

    async fn finish(&self, job: &LeasedJob) -> Done {
        self.app.store.finish_job(job).await?;
        Ok(())
    }

    async fn retry_soon(&self, job: &LeasedJob) -> Done {
        self.app.store.retry_job(job, self.app.clock.now(), "the object changed meanwhile").await?;
        Ok(())
    }

    /// Gives a failed job back, or holds its object where enough was tried.
    async fn failed(&self, job: &LeasedJob, error: &JobError) {
        // The object had no part in it: the try does not count.
        let scanner_away = matches!(error, JobError::Inspect(InspectError::ScannerAway(_)));
        if self.is_hopeless(job, scanner_away) {
            let detail = format!("After {} tries: {error}.", job.attempts);
            match self.hold_failed(job, detail).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(%error, "cannot hold the object"),
            }
        }
        let delay = if scanner_away { self.pause(job) } else { back_off(job.attempts) };
        tracing::warn!(%error, ?delay, "the job is tried again");
        metrics::counter!("vestibule_job_retries_total", "kind" => job.kind.as_str()).increment(1);
        let due = self.app.clock.now() + SignedDuration::try_from(delay).unwrap_or(SignedDuration::ZERO);
        let tried = if scanner_away { job.uncounted() } else { job.clone() };
        if let Err(error) = self.app.store.retry_job(&tried, due, &error.to_string()).await {
            // The lease ends by itself.
            tracing::warn!(%error, "cannot give the job back");
        }
    }

    /// How long a job waits for a scanner that is away: longer, the longer it has waited. The lane takes one job at a time
    /// meanwhile, so that this only decides which.
    fn pause(&self, job: &LeasedJob) -> Duration {
        let age = Duration::try_from(self.app.clock.now().duration_since(job.queued_at)).unwrap_or_default();
        (age / 4).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
    }

    /// Tries count while the scanner answers: an outage of an hour must not leave an hour's uploads to the reviewers.
    fn is_hopeless(&self, job: &LeasedJob, scanner_away: bool) -> bool {
        match job.kind {
            JobKind::Inspect if scanner_away => self.app.clock.now().duration_since(job.queued_at) > LONGEST_OUTAGE,
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
        self.app.targets.store(&object.target).ok_or_else(|| JobError::NoTarget(object.target.to_string()))
    }
}

/// 1 s, 2 s, 4 s … up to a minute.
fn back_off(attempts: u32) -> Duration {
    Duration::from_secs(1 << attempts.saturating_sub(1).min(6)).min(Duration::from_secs(60))
}

/// The app's own metadata, and what leads from the copy back to its record.
fn served_attributes(object: &Object) -> ServedAttributes {
    let mut metadata: Vec<_> = object.metadata.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    metadata.push(("vestibule-object".into(), object.id.to_string()));
    if let Some(verdict) = object.life.verdict() {
        metadata.push(("vestibule-sha256".into(), verdict.sha256.to_string()));
    }
    let verdict = object.life.verdict().map_or("released", |verdict| verdict.finding.as_str());
    ServedAttributes {
        content_type: object.content_type.clone(),
        metadata,
        tags: vec![
            ("vestibule-verdict".into(), verdict.into()),
            ("vestibule-classification".into(), object.classification.to_string()),
        ],
    }
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
