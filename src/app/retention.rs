//! What keeps a served copy from being deleted, asked before a deletion is promised.
//!
//! The recorded date decides alone while it runs: no storage need be asked, and none can be mistaken. After it, or without
//! one, the storage is asked where it keeps versions, since only those can be locked: somebody may have kept the copy longer,
//! or put a legal hold on it. A storage that does not answer holds no deletion up; the removal meets the lock then, and waits.

use std::time::Duration;

use crate::domain::object::Object;
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::retention::Kept;
use crate::storage::StorageError;

use super::App;

/// How long an answer waits for the storage's.
const DEADLINE: Duration = Duration::from_secs(3);

impl App {
    /// Refuses to delete what may not be deleted yet.
    ///
    /// # Errors
    /// [`Reason::RetentionActive`] with the date, where there is one.
    pub(super) async fn refuse_kept(&self, object: &Object) -> Result<(), Refusal> {
        let Some(served) = object.life.served() else { return Ok(()) };
        let (retained_until, now) = (object.life.retained_until(), self.clock.now());
        if let Some(until) = retained_until.filter(|until| *until > now) {
            return Err(kept_until(until));
        }
        let Some(store) = self.targets.store(&object.target).filter(|_| served.version.is_some()) else {
            return Ok(());
        };
        match tokio::time::timeout(DEADLINE, store.kept(&object.keys.served, served)).await {
            Ok(Ok(kept)) if kept.is_active(now) => Err(refusal(kept, now)),
            Ok(Ok(_) | Err(StorageError::NotFound)) => Ok(()),
            // What was kept once may be kept still; nobody is told that it is gone before that is known.
            Ok(Err(_)) | Err(_) if retained_until.is_some() => Err(Refusal::new(
                Reason::StorageUnavailable,
                "The storage cannot be asked whether the object may be deleted. Try again shortly.",
            )
            .retry_after(5)),
            Ok(Err(error)) => {
                tracing::warn!(%error, object = %object.id, "cannot ask what keeps an object; its removal will find out");
                Ok(())
            }
            Err(_) => {
                tracing::warn!(object = %object.id, "cannot ask what keeps an object in time; its removal will find out");
                Ok(())
            }
        }
    }
}

fn refusal(kept: Kept, now: jiff::Timestamp) -> Refusal {
    match kept.lock.filter(|lock| lock.until > now) {
        Some(lock) => kept_until(lock.until),
        None => Refusal::new(
            Reason::RetentionActive,
            "A legal hold is on the object; it can be deleted when whoever placed the hold has lifted it in the storage.",
        )
        .rule("legal hold"),
    }
}

fn kept_until(until: jiff::Timestamp) -> Refusal {
    let detail = format!("The object is kept until {until}; nobody can delete it before. Delete it after that date.");
    Refusal::new(Reason::RetentionActive, detail).retained_until(Some(until)).rule("retention")
}
