//! Refusals by a limit, by the quota of a window, or for want of a proof: recorded, without a storm of them filling the audit
//! trail or the writer's queue.
//!
//! A workflow in a loop causes thousands of refusals a second that all say the same, and so does whoever has copied a bound
//! token and not its key: none of those is counted against a limit. The first of each minute, for each workflow, act and
//! reason (and token, where it may have been copied), gets a row of its own before the client hears of it, like every refusal;
//! the others of that minute are counted, and written when it is over as one row with their number. A crash loses at most a
//! minute of these numbers; nothing was issued for them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::domain::audit::{AuditAction, AuditEntry, Outcome};
use crate::domain::ids::{AppName, TokenId, WorkflowName};
use crate::domain::principal::Principal;
use crate::domain::refusal::Reason;

use super::RequestContext;

/// Kinds that are told apart at most; beyond it refusals get rows of their own, as if there were no storm.
const MOST: usize = 10_000;

/// What one row stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    app: AppName,
    workflow: WorkflowName,
    action: AuditAction,
    reason: Reason,
    /// The token, where somebody may have copied it: which one that was must not be hidden behind another.
    token: Option<TokenId>,
}

/// The refusals of one kind in one minute that have no row.
#[derive(Clone, Debug)]
pub(super) struct Folded {
    minute: i64,
    who: Principal,
    action: AuditAction,
    reason: Reason,
    route: &'static str,
    method: &'static str,
    pub(super) count: u64,
}

/// The refusals of known workflows that are counted and not yet written.
#[derive(Debug, Default)]
pub struct LimitRefusals {
    // A std Mutex, because nothing awaits while it is held.
    counted: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    running: HashMap<Kind, Folded>,
    over: Vec<Folded>,
}

impl LimitRefusals {
    /// Whether refusals for this reason are folded.
    pub(super) fn folds(reason: Reason) -> bool {
        matches!(
            reason,
            Reason::RateLimited
                | Reason::RequestRepeated
                | Reason::LimitsUnavailable
                | Reason::QuotaDailyBytesExceeded
                | Reason::QuotaHourlyUploadsExceeded
                | Reason::QuotaMonthlyDownloadsExceeded
                | Reason::DpopProofInvalid
                | Reason::DpopNonceRequired
                | Reason::CertificateMismatch
        )
    }

    /// Whether this refusal gets a row of its own; counts it where not.
    pub(super) fn deserves_a_row(
        &self,
        context: &RequestContext,
        who: &Principal,
        action: AuditAction,
        reason: Reason,
        now: Timestamp,
    ) -> bool {
        let minute = minute(now);
        let copied = matches!(reason, Reason::DpopProofInvalid | Reason::CertificateMismatch);
        let token = copied.then(|| who.token.clone());
        let kind = Kind { app: who.app.clone(), workflow: who.workflow.clone(), action, reason, token };
        let mut counted = self.lock();
        if let Some(folded) = counted.running.get_mut(&kind) {
            if folded.minute == minute {
                folded.count += 1;
                return false;
            }
        } else if counted.running.len() >= MOST {
            return true;
        }
        let (route, method) = (context.route, context.method);
        let first = Folded { minute, who: who.clone(), action, reason, route, method, count: 0 };
        let before = counted.running.insert(kind, first).filter(|before| before.count > 0);
        counted.over.extend(before);
        true
    }

    /// Takes what belongs to minutes that are over, or everything.
    pub(super) fn take(&self, now: Timestamp, everything: bool) -> Vec<Folded> {
        let minute = minute(now);
        let mut counted = self.lock();
        let over = counted.running.extract_if(|_, folded| everything || folded.minute != minute);
        let over: Vec<Folded> = over.map(|(_, folded)| folded).filter(|folded| folded.count > 0).collect();
        let mut all = std::mem::take(&mut counted.over);
        all.extend(over);
        all
    }

    /// Keeps what could not be written for the next time.
    pub(super) fn put_back(&self, folded: Folded) {
        self.lock().over.push(folded);
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn minute(now: Timestamp) -> i64 {
    now.as_second().div_euclid(60)
}

impl Folded {
    /// The row that stands for them.
    pub(super) fn entry(&self) -> AuditEntry {
        let time = Timestamp::from_second(self.minute * 60).unwrap_or(Timestamp::UNIX_EPOCH);
        let mut entry = AuditEntry::new(time, self.action, Outcome::Refused).by_principal(&self.who);
        entry.reason = Some(self.reason);
        entry.status = Some(self.reason.status());
        entry.route = Some(self.route.into());
        entry.method = Some(self.method.into());
        entry.detail = Some(format!("{} more refusals like this in this minute", self.count));
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_refusal_of_a_minute_gets_a_row_and_the_others_share_one() {
        let refusals = LimitRefusals::default();
        let now: Timestamp = "2026-11-21T10:00:30Z".parse().unwrap();
        let (context, who) = (RequestContext::command_line("r".into(), now), Principal::example());
        let other = Principal { workflow: "hourly".parse().unwrap(), ..who.clone() };
        let refuse = |who: &Principal, reason, now| {
            refusals.deserves_a_row(&context, who, AuditAction::RequestUpload, reason, now)
        };
        assert_eq!((0..1000).filter(|_| refuse(&who, Reason::RateLimited, now)).count(), 1);
        assert!(refuse(&who, Reason::RequestRepeated, now) && refuse(&other, Reason::RateLimited, now));
        let copied = Principal { token: "BBBBBBBBBBBBBBBB".parse().unwrap(), ..who.clone() };
        assert!(!refuse(&copied, Reason::RateLimited, now), "whichever token the workflow has");
        for (own, expected) in [(&who, true), (&copied, true), (&copied, false)] {
            assert_eq!(refuse(own, Reason::DpopProofInvalid, now), expected, "each token that was copied has a row");
        }
        assert!(refusals.take(now, false).is_empty(), "the minute is not over");

        let later = now + jiff::SignedDuration::from_secs(60);
        assert!(refuse(&who, Reason::RateLimited, later), "each minute anew");
        let rows: Vec<AuditEntry> = refusals.take(later, false).iter().map(Folded::entry).collect();
        let told = |reason| rows.iter().find(|row| row.reason == Some(reason)).unwrap();
        assert_eq!(rows.len(), 2, "{rows:?}");
        assert!(told(Reason::RateLimited).detail.as_ref().unwrap().starts_with("1000 more"));
        assert_eq!(told(Reason::RateLimited).workflow.as_ref(), Some(&who.workflow));
        assert_eq!(told(Reason::DpopProofInvalid).token_id.as_ref(), Some(&copied.token));
        assert!(!refuse(&who, Reason::RateLimited, later));
        assert_eq!(refusals.take(later, true).len(), 1, "at the end everything is written");
        assert!(refusals.lock().running.is_empty());
    }
}
