//! Something may lie under a staging key: an event said so, or the sweep saw it.
//!
//! The hint decides nothing. The record says what was expected, the storage says what is there, and the two together say
//! what follows: an arrival, nothing, or a stray that is removed (P5). A doubled, late or forged hint costs one look.

use crate::domain::audit::{AuditAction, AuditEntry, Outcome};
use crate::domain::hint::{Hint, HintKind};
use crate::domain::ids::ObjectId;
use crate::domain::job::JobKind;
use crate::domain::key::{Area, ObjectKey};
use crate::domain::life::State;
use crate::domain::object::Object;
use crate::domain::refusal::Reason;
use crate::storage::{ObjectStore, StorageError, StoredObject};
use crate::store::{DeadLetter, StoreError};

use super::targets::OpenTarget;
use super::{App, Change};

/// What a look at a staging key led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Nothing of ours, or nothing there.
    Nothing,
    /// The bytes of an issued object are there; nobody had noticed before.
    Arrived(ObjectId),
    /// The object waits for its inspection, or is in it.
    Settling(ObjectId),
    /// The object ended here: rejected at sight.
    Rejected(ObjectId),
    /// Everything about it is known already.
    Known(ObjectId),
    /// Bytes under a finished upload were removed.
    StrayRemoved(ObjectId),
}

/// Who noticed; for the audit trail and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A storage event.
    Event,
    /// The sweep.
    Sweep,
    /// Containment, which looks before it ends an upload.
    Containment,
}

impl Source {
    fn as_str(self) -> &'static str {
        match self {
            Source::Event => "event",
            Source::Sweep => "sweep",
            Source::Containment => "containment",
        }
    }
}

/// Why a hint could not be followed; it comes back.
#[derive(Debug, thiserror::Error)]
pub enum ArrivalError {
    /// The database is away.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The storage is away.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl App {
    /// Follows a hint.
    ///
    /// # Errors
    /// [`ArrivalError`] where the database or the storage is away; the hint should come back.
    pub async fn follow_hint(&self, hint: &Hint) -> Result<Arrival, ArrivalError> {
        if hint.kind == HintKind::Removed {
            return Ok(Arrival::Nothing);
        }
        // Buckets of two providers may have the same name; the record knows which one is meant.
        for open in self.targets.staged_in(&hint.bucket) {
            if open.target.staging_prefix.contains_path(&hint.key) {
                let arrival = self.look(&open, &hint.key, Source::Event).await?;
                if arrival != Arrival::Nothing {
                    return Ok(arrival);
                }
            }
        }
        Ok(Arrival::Nothing)
    }

    /// Looks at what lies under a staging key of a target.
    ///
    /// # Errors
    /// [`ArrivalError`] where the database or the storage is away.
    pub async fn look(&self, open: &OpenTarget, key: &str, source: Source) -> Result<Arrival, ArrivalError> {
        let Ok(key) = ObjectKey::parse(Area::Staging, key) else { return Ok(self.unknown(source)) };
        let Some(id) = key.object_id() else { return Ok(self.unknown(source)) };
        let Some(object) = self.store.object(id).await? else { return Ok(self.unknown(source)) };
        if object.keys.staging != key || object.target != open.target.name {
            return Ok(self.unknown(source));
        }
        match object.life.state() {
            State::Issued => match open.store.head(&key).await? {
                Some(stored) => self.arrive(object, stored, source).await,
                None => Ok(Arrival::Nothing),
            },
            State::Uploaded | State::Scanning | State::Promoting => Ok(Arrival::Settling(id)),
            State::Quarantined | State::Unscannable if object.life.staged().is_some() => Ok(Arrival::Known(id)),
            // Of what was visible when it was contained, nothing is staged any more.
            State::Quarantined
            | State::Unscannable
            | State::Visible
            | State::Rejected
            | State::Expired
            | State::Deleted => self.remove_stray(&object, open.store.as_ref()).await,
        }
    }

    /// The bytes of an issued object are there.
    ///
    /// # Errors
    /// [`ArrivalError`] where the database is away.
    pub async fn arrive(&self, object: Object, stored: StoredObject, source: Source) -> Result<Arrival, ArrivalError> {
        let now = self.clock.now();
        let id = object.id;
        let wrong_size = stored.bytes.size != object.size;
        let (next, job) = if wrong_size {
            let detail = format!("{} bytes were declared and {} arrived.", object.size, stored.bytes.size);
            (object.life.clone().reject(Reason::SizeMismatch, detail), JobKind::Purge)
        } else {
            (object.life.clone().arrived(stored.bytes), JobKind::Inspect)
        };
        let Ok(next) = next else { return Ok(Arrival::Known(id)) };
        // Where another node was faster, it has written the same, and counted it.
        if self.advance(&object, Change::to(next).job(job, now)).await?.is_some() {
            metrics::counter!("vestibule_arrivals_total", "source" => source.as_str()).increment(1);
        }
        Ok(if wrong_size { Arrival::Rejected(id) } else { Arrival::Arrived(id) })
    }

    /// Bytes under a finished upload: somebody used a URL that was still valid. They are removed, and somebody is told.
    async fn remove_stray(&self, object: &Object, store: &dyn ObjectStore) -> Result<Arrival, ArrivalError> {
        // What the follow-up job is about to remove is no stray.
        for kind in [JobKind::RemoveStaged, JobKind::Purge] {
            if self.store.has_job(object.id, kind).await? {
                return Ok(Arrival::Known(object.id));
            }
        }
        match store.head(&object.keys.staging).await? {
            Some(stored) => self.discard_stray(object, &stored, store).await,
            None => Ok(Arrival::Known(object.id)),
        }
    }

    /// Removes bytes that no upload of this object may have left, after it was recorded.
    ///
    /// # Errors
    /// [`ArrivalError`] where the database or the storage is away.
    pub async fn discard_stray(
        &self,
        object: &Object,
        stored: &StoredObject,
        store: &dyn ObjectStore,
    ) -> Result<Arrival, ArrivalError> {
        let mut entry =
            AuditEntry::new(self.clock.now(), AuditAction::RemoveStray, Outcome::Allowed).about_object(object);
        entry.grant_id = Some(object.grant);
        entry.detail = Some(format!(
            "{} bytes with ETag {} appeared after the object was {}",
            stored.bytes.size,
            stored.bytes.etag,
            object.life.state().as_str()
        ));
        self.store.audit(entry).await?;
        store.delete(&object.keys.staging, stored.bytes.version.as_deref()).await?;
        metrics::counter!("vestibule_strays_removed_total").increment(1);
        tracing::warn!(
            alert = "stray_removed",
            object = %object.id,
            app = %object.app,
            workflow = %object.workflow,
            size = stored.bytes.size,
            "bytes appeared under a finished upload and were removed"
        );
        Ok(Arrival::StrayRemoved(object.id))
    }

    fn unknown(&self, source: Source) -> Arrival {
        metrics::counter!("vestibule_unknown_keys_total", "source" => source.as_str()).increment(1);
        Arrival::Nothing
    }

    /// Keeps a message that nobody could read.
    ///
    /// # Errors
    /// [`StoreError`] where it could not be kept; the message should come back.
    pub async fn keep_unreadable(&self, source: &str, body: &str, reason: &str) -> Result<(), StoreError> {
        metrics::counter!("vestibule_dead_letters_total").increment(1);
        tracing::warn!(source, reason, "an event could not be read and was kept");
        self.store
            .dead_letter(DeadLetter {
                source: source.to_owned(),
                at: self.clock.now(),
                reason: reason.to_owned(),
                body: body.to_owned(),
            })
            .await
    }
}
