//! Promotion: the server-side copy of what was judged, kept from deletion where its target demands it, then recorded.
//!
//! The order is copy, compare, lock, look, record. A copy that turns out not to be what was judged is never locked, and one
//! whose lock the storage does not confirm is never recorded as visible. Killed anywhere in between, the job runs again: an
//! unlocked copy is written over with the same bytes, a locked one is found, compared and used, so that storages which keep
//! versions keep one of them locked and not two.

use futures::StreamExt;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::app::OpenTarget;
use crate::domain::bytes::{Sha256Digest, StoredBytes};
use crate::domain::grant::UploadMethod;
use crate::domain::job::{JobKind, LeasedJob};
use crate::domain::life::Life;
use crate::domain::object::Object;
use crate::domain::retention::Lock;
use crate::storage::{ServedAttributes, StorageError};

use super::jobs::{Done, JobError, Jobs};

impl Jobs {
    pub(super) async fn promote(&self, job: &LeasedJob) -> Done {
        let Some(object) = self.app.store.object(job.object).await? else { return self.finish(job).await };
        let Life::Promoting { staged, .. } = &object.life else { return self.finish(job).await };
        let (open, keys) = (self.open(&object)?, &object.keys);
        let before = match open.target.retention.is_some() || job.attempts > 1 {
            true => self.kept_before(&open, &object, staged).await?,
            false => None,
        };
        let served = match &before {
            Some((served, _)) => served.clone(),
            None => match open.store.copy(&keys.staging, staged, &keys.served, &served_attributes(&object)).await {
                Err(StorageError::NotFound | StorageError::PreconditionFailed) => {
                    return self.changed(job, &object).await;
                }
                copied => copied?,
            },
        };
        if before.is_none()
            && object.method == UploadMethod::Post
            && self.is_what_was_judged(&open, &object, &served).await? == Some(false)
        {
            return self.changed(job, &object).await;
        }
        crate::fault::point("promote.copied").await;
        let retained_until = self.retain(&open, &object, &served, before.and_then(|(_, lock)| lock)).await?;
        crate::fault::point("promote.locked").await;
        let Ok(next) = object.life.clone().promoted(served, retained_until) else { return self.finish(job).await };
        self.complete(job, &object, next, Some(JobKind::RemoveStaged)).await
    }

    /// A copy that an earlier try has left and that cannot be written over, with its lock: only where it holds what was
    /// judged. Its bytes are read for that; nothing but a digest that this process has computed says so.
    async fn kept_before(
        &self,
        open: &OpenTarget,
        object: &Object,
        staged: &StoredBytes,
    ) -> Result<Option<(StoredBytes, Option<Lock>)>, JobError> {
        let Some(found) = open.store.head(&object.keys.served).await? else { return Ok(None) };
        let kept = open.store.kept(&object.keys.served, &found.bytes).await?;
        if !kept.is_active(self.app.clock.now()) || found.bytes.size != staged.size {
            return Ok(None);
        }
        let judged = self.is_what_was_judged(open, object, &found.bytes).await?;
        // What a reviewer let through unread has no digest to compare with.
        let same = judged.unwrap_or(found.bytes.etag == staged.etag);
        Ok(same.then_some((found.bytes, kept.lock)))
    }

    /// A form cannot be create-only, and an ETag is an MD5 at best: whoever makes two files with one MD5 could swap them
    /// between the scan and the copy. So the copy, which no client can write, is hashed before it becomes visible. `None`
    /// where there is no verdict to compare with.
    async fn is_what_was_judged(
        &self,
        open: &OpenTarget,
        object: &Object,
        served: &StoredBytes,
    ) -> Result<Option<bool>, JobError> {
        let Some(verdict) = object.life.verdict() else { return Ok(None) };
        let mut stream = open.store.get(&object.keys.served, served).await?;
        let mut hasher = Sha256::new();
        while let Some(chunk) = stream.next().await {
            hasher.update(&chunk?);
        }
        Ok(Some(Sha256Digest(hasher.finalize().into()) == verdict.sha256))
    }

    /// Locks the copy for as long as its target demands, and asks the storage until when it keeps it: a bucket's own default
    /// may be longer. `found` is the lock that an earlier try has left.
    async fn retain(
        &self,
        open: &OpenTarget,
        object: &Object,
        served: &StoredBytes,
        found: Option<Lock>,
    ) -> Result<Option<Timestamp>, JobError> {
        let key = &object.keys.served;
        let Some(retention) = open.target.retention else {
            // Without versions nothing can be kept, and nobody need be asked.
            let kept = match served.version {
                Some(_) => open.store.kept(key, served).await?,
                None => return Ok(None),
            };
            return Ok(kept.lock.map(|lock| lock.until));
        };
        // An earlier try counted from a moment after the verdict: its lock need not be made longer with every try.
        let first = retention.lock(object.updated_at);
        let lock =
            if found.is_some_and(|found| found.covers(&first)) { first } else { retention.lock(self.app.clock.now()) };
        open.store.lock(key, served, &lock).await?;
        let kept = open.store.kept(key, served).await?;
        if !kept.covers(&lock) {
            let what = "the storage does not confirm the lock; may the gateway read it?".to_owned();
            return Err(StorageError::CannotRetain(what).into());
        }
        Ok(kept.lock.map(|lock| lock.until))
    }
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
