//! Containment: everything that was uploaded under a revocation is held for review, and what is still awaited ends.
//!
//! Object by object, each by compare-and-set with an entry of its own, so that it may be begun again at any point and by any
//! node. What nobody has noticed yet counts as uploaded: bytes that lie in staging are looked for before an upload is ended.

use crate::domain::audit::{AuditAction, AuditEntry, Outcome};
use crate::domain::job::JobKind;
use crate::domain::life::{Life, State};
use crate::domain::object::Object;
use crate::storage::{StorageError, StoredObject};
use crate::store::RevocationRecord;

use super::super::arrivals::{ArrivalError, Source};
use super::super::objects::purge_due;
use super::super::{App, Change};

/// How often an object is looked at again because it changed meanwhile.
const ATTEMPTS: usize = 8;

/// What containment found or did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Containing {
    /// It is held now.
    Held,
    /// The upload was still awaited, and ended.
    Ended,
    /// It was held before, or is over.
    Nothing,
    /// It changed all the time; to be tried again.
    Busy,
}

impl App {
    /// Contains one object.
    ///
    /// # Errors
    /// [`ArrivalError`] where the database or the storage is away.
    pub async fn contain(&self, object: &Object, record: &RevocationRecord) -> Result<Containing, ArrivalError> {
        let mut object = object.clone();
        for _ in 0..ATTEMPTS {
            if let Some(stored) = self.unnoticed(&object).await? {
                self.arrive(object.clone(), stored, Source::Containment).await?;
            } else {
                let Ok(next) = object.life.clone().contain(record.id) else { return Ok(Containing::Nothing) };
                let ended = next.state() == State::Deleted;
                let mut change = Change::to(next).audit(self.contained(&object, record));
                if ended {
                    change = change.job(JobKind::Purge, purge_due(&object, self));
                }
                if self.advance(&object, change).await?.is_some() {
                    return Ok(if ended { Containing::Ended } else { Containing::Held });
                }
            }
            match self.store.object(object.id).await? {
                Some(now) => object = now,
                None => return Ok(Containing::Nothing),
            }
        }
        Ok(Containing::Busy)
    }

    /// The bytes of an upload that is still awaited, where they are there already. A target that is not configured here may hold
    /// some.
    async fn unnoticed(&self, object: &Object) -> Result<Option<StoredObject>, ArrivalError> {
        if object.life != Life::Issued {
            return Ok(None);
        }
        let Some(store) = self.targets.store(&object.target) else {
            return Err(StorageError::Unavailable(format!("the target {} is not configured", object.target)).into());
        };
        Ok(store.head(&object.keys.staging).await?)
    }

    fn contained(&self, object: &Object, record: &RevocationRecord) -> AuditEntry {
        let now = self.clock.now();
        let mut entry = AuditEntry::new(now, AuditAction::ContainObject, Outcome::Allowed).about_object(object);
        entry.operator = Some(record.by.clone());
        entry.detail = Some(format!("{}: {}", record.id, record.reason));
        entry
    }
}
