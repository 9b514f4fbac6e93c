//! Writes when tokens were last used, and reports those that were rotated and are used all the same.

use crate::domain::audit::{AuditAction, AuditEntry, Outcome};
use crate::store::{StoreError, TokenRecord};

use super::App;
use super::tokens::describe;

impl App {
    /// Writes what was noted since the last time; how many tokens were used. For housekeeping.
    ///
    /// # Errors
    /// [`StoreError`] where it could not be written; it is kept for the next time.
    pub async fn write_uses(&self) -> Result<usize, StoreError> {
        let mut uses = self.authenticator.take_uses();
        let count = uses.used.len();
        if count > 0 {
            if let Err(error) = self.store.tokens_used(uses.used.clone()).await {
                self.authenticator.put_back_uses(uses);
                return Err(error);
            }
            uses.used.clear();
        }
        while let Some(record) = uses.rotated.pop() {
            if let Err(error) = self.store.audit(self.report(&record)).await {
                uses.rotated.push(record);
                self.authenticator.put_back_uses(uses);
                return Err(error);
            }
        }
        Ok(count)
    }

    fn report(&self, record: &TokenRecord) -> AuditEntry {
        let (id, successor) = (&record.id, record.successor.as_ref().map(ToString::to_string).unwrap_or_default());
        let end = record.expires_at.map(|at| format!("{at:.0}")).unwrap_or_default();
        tracing::warn!(token = %id, %successor, ends_at = %end, "a rotated token is still used");
        let entry = AuditEntry::new(self.clock.now(), AuditAction::UseRotatedToken, Outcome::Allowed);
        let mut entry = describe(record, entry);
        entry.token_id = Some(id.clone());
        entry.detail =
            Some(format!("token {id} is still used; token {successor} has followed it, and it ends at {end}"));
        entry
    }
}
