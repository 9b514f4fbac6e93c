//! Refusals of nobody in particular: missing or invalid tokens, unknown links.
//!
//! Anybody on the network can cause them, each would be a durable row, and rows are removed only after their retention
//! time. So a node writes each of them only up to [`PER_SECOND`]; beyond that they are counted, and written a moment later
//! as one row for each reason, route and second, with the count in its detail. A crash loses the counts that were not yet
//! written, at most about a second of them; refusals of known callers are never folded.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use crate::domain::audit::{AuditAction, AuditEntry, Outcome};
use crate::domain::refusal::Reason;
use crate::identity::WrongSecrets;
use crate::store::StoreError;

use super::tokens::describe;
use super::{App, RequestContext};

/// Rows of their own in each second.
const PER_SECOND: u32 = 10;
/// Counts that may wait to be written. Beyond it, refusals are written one by one again, and refused where even that fails.
const MOST: usize = 10_000;

/// What one row stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Kind {
    second: i64,
    action: AuditAction,
    reason: Reason,
    route: &'static str,
    method: &'static str,
}

/// The refusals that are counted and not yet written.
#[derive(Debug, Default)]
pub struct AnonymousRefusals {
    // A std Mutex, because nothing awaits while it is held.
    counted: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    second: i64,
    written: u32,
    folded: HashMap<Kind, u64>,
}

impl AnonymousRefusals {
    /// Whether this refusal gets a row of its own; counts it where not.
    pub(super) fn deserves_a_row(
        &self,
        context: &RequestContext,
        action: AuditAction,
        reason: Reason,
        now: Timestamp,
    ) -> bool {
        let mut counted = self.lock();
        let second = now.as_second();
        if counted.second != second {
            (counted.second, counted.written) = (second, 0);
        }
        if counted.written < PER_SECOND {
            counted.written += 1;
            return true;
        }
        let kind = Kind { second, action, reason, route: context.route, method: context.method };
        if counted.folded.len() >= MOST && !counted.folded.contains_key(&kind) {
            return true;
        }
        *counted.folded.entry(kind).or_default() += 1;
        false
    }

    fn take(&self) -> HashMap<Kind, u64> {
        std::mem::take(&mut self.lock().folded)
    }

    /// Keeps a count for the next time.
    fn put_back(&self, kind: Kind, count: u64) {
        *self.lock().folded.entry(kind).or_default() += count;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl App {
    /// Writes what was counted: of nobody in particular, a row for each reason, route and second; by a limit, those of
    /// the minutes that are over, or of the running one too; and for which tokens wrong secrets were tried. How many
    /// refusals those stand for.
    ///
    /// # Errors
    /// [`StoreError`] where a row could not be written; what is not yet written is kept for the next time.
    pub async fn write_folded_refusals(&self, everything: bool) -> Result<u64, StoreError> {
        let (mut total, mut failed) = (0, None);
        for folded in self.throttled.take(self.clock.now(), everything) {
            if self.write_unless(&mut failed, || folded.entry()).await {
                total += folded.count;
            } else {
                self.throttled.put_back(folded);
            }
        }
        for wrong in self.authenticator.take_wrong_secrets(everything) {
            if self.write_unless(&mut failed, || of_wrong_secrets(self.clock.now(), &wrong)).await {
                tracing::warn!(token = %wrong.record.id, count = wrong.count, "wrong secrets for a known token id");
            } else {
                self.authenticator.put_back_wrong_secrets(wrong);
            }
        }
        for (kind, count) in self.anonymous.take() {
            if self.write_unless(&mut failed, || entry(kind, count)).await {
                total += count;
            } else {
                self.anonymous.put_back(kind, count);
            }
        }
        failed.map_or(Ok(total), Err)
    }

    /// Writes a row, unless one before it could not be written. Whether it is written.
    async fn write_unless(&self, failed: &mut Option<StoreError>, row: impl FnOnce() -> AuditEntry) -> bool {
        if failed.is_none() {
            *failed = self.store.audit(row()).await.err();
            return failed.is_none();
        }
        false
    }
}

fn entry(kind: Kind, count: u64) -> AuditEntry {
    let time = Timestamp::from_second(kind.second).unwrap_or(Timestamp::UNIX_EPOCH);
    let mut entry = AuditEntry::new(time, kind.action, Outcome::Refused);
    entry.reason = Some(kind.reason);
    entry.status = Some(kind.reason.status());
    entry.route = Some(kind.route.into());
    entry.method = Some(kind.method.into());
    entry.detail = Some(format!("{count} more refusals like this in this second"));
    entry
}

/// Says whose secret was tried. It names no token in its own field: the token did nothing.
fn of_wrong_secrets(now: Timestamp, wrong: &WrongSecrets) -> AuditEntry {
    let mut entry = describe(&wrong.record, AuditEntry::new(now, AuditAction::WrongSecret, Outcome::Refused));
    entry.reason = Some(Reason::TokenInvalid);
    entry.status = Some(Reason::TokenInvalid.status());
    let more = if wrong.count == 1 { "1 wrong secret was" } else { &format!("{} wrong secrets were", wrong.count) };
    entry.detail = Some(format!("{more} presented for the token {}", wrong.record.id));
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_ten_in_a_second_refusals_are_counted_by_reason_and_route() {
        let refusals = AnonymousRefusals::default();
        let now: Timestamp = "2026-11-21T10:00:00.5Z".parse().unwrap();
        let context = RequestContext::command_line("r".into(), now);
        let refuse = |reason, now| refusals.deserves_a_row(&context, AuditAction::Authenticate, reason, now);
        assert_eq!((0..100).filter(|_| refuse(Reason::TokenMissing, now)).count(), 10);
        assert_eq!((0..5).filter(|_| refuse(Reason::TokenInvalid, now)).count(), 0);
        let next = now + jiff::SignedDuration::from_secs(1);
        assert_eq!((0..20).filter(|_| refuse(Reason::TokenMissing, next)).count(), 10, "each second anew");
        let mut counts: Vec<_> = refusals.take().into_iter().map(|(kind, count)| (kind.second, count, kind)).collect();
        counts.sort_by_key(|(second, count, _)| (*second, *count));
        assert_eq!(counts.iter().map(|(_, count, _)| *count).collect::<Vec<_>>(), [5, 90, 10]);
        let row = entry(counts[1].2, counts[1].1);
        assert_eq!(
            (row.reason, row.status, row.route.as_deref()),
            (Some(Reason::TokenMissing), Some(401), Some("cli"))
        );
        assert!(row.detail.unwrap().starts_with("90 more"));
        assert!(refusals.take().is_empty());
    }
}
