//! Audit entries of refusals and of changes of state, filled in the same way everywhere.
//!
//! Who asked and which object it was about are added by the methods of [`AuditEntry`] itself.

use jiff::Timestamp;

use crate::domain::audit::{AuditAction, AuditEntry, Outcome};
use crate::domain::life::Life;
use crate::domain::object::Object;
use crate::domain::refusal::Refusal;
use crate::domain::verdict::Finding;

/// Marks an entry as refused: why and by which rule, and the HTTP status of the answer.
#[must_use]
pub fn refused(mut entry: AuditEntry, refusal: &Refusal) -> AuditEntry {
    entry.outcome = Outcome::Refused;
    entry.reason = Some(refusal.reason);
    entry.status = Some(refusal.reason.status());
    entry.rule = refusal.rule.clone();
    entry.detail = Some(refusal.detail.clone());
    entry
}

/// The entry of a change of state that the gateway itself made, from where the object stands to `to`.
pub fn change(now: Timestamp, object: &Object, to: &Life) -> AuditEntry {
    let mut entry = AuditEntry::new(now, AuditAction::ChangeState, Outcome::Allowed).about_object(object);
    entry.grant_id = Some(object.grant);
    entry.from_state = Some(object.life.state().as_str().to_owned());
    entry.to_state = Some(to.state().as_str().to_owned());
    (entry.reason, entry.detail) = match to {
        Life::Rejected { reason, detail, .. } => (Some(*reason), Some(detail.clone())),
        Life::Unscannable { detail, .. } | Life::Deleted { detail } => (None, Some(detail.clone())),
        Life::Quarantined { verdict, .. } => match &verdict.finding {
            Finding::Infected { signature } => (None, Some(signature.clone())),
            other => (None, Some(other.as_str().to_owned())),
        },
        _ => (None, None),
    };
    entry
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::refusal::Reason;

    fn entry() -> AuditEntry {
        AuditEntry::new("2026-11-21T10:00:00Z".parse().unwrap(), AuditAction::RequestUpload, Outcome::Allowed)
    }

    #[test]
    fn a_refusal_sets_outcome_reason_rule_and_status() {
        let refusal = Refusal::new(Reason::SizeNotAllowed, "at most 10 bytes").rule("apps/a.toml: max");
        let filled = refused(entry(), &refusal);
        assert_eq!((filled.outcome, filled.reason), (Outcome::Refused, Some(Reason::SizeNotAllowed)));
        assert_eq!((filled.status, filled.rule.as_deref()), (Some(403), Some("apps/a.toml: max")));
    }
}
