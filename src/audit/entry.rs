//! Audit entries of refusals and of changes of state, filled in the same way everywhere.
//!
//! Who asked and which object it was about are added by the methods of [`AuditEntry`] itself.

use crate::domain::audit::{AuditEntry, Outcome};
use crate::domain::life::Life;
use crate::domain::object::Object;
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::text::without_tokens;
use crate::domain::verdict::Finding;

/// Marks an entry as refused: why and by which rule, and the HTTP status of the answer.
#[must_use]
pub fn refused(mut entry: AuditEntry, refusal: &Refusal) -> AuditEntry {
    entry.outcome = Outcome::Refused;
    entry.reason = Some(refusal.reason);
    entry.status = Some(refusal.reason.status());
    entry.rule = refusal.rule.as_deref().map(Into::into);
    entry.detail = Some(without_tokens(&refusal.detail));
    entry
}

/// Says which change of state an entry is about, and the reason of the new state where it has one.
#[must_use]
pub fn changed(mut entry: AuditEntry, object: &Object, to: &Life) -> AuditEntry {
    entry.grant_id = Some(object.grant);
    entry.from_state = Some(object.life.state().as_str().into());
    entry.to_state = Some(to.state().as_str().into());
    let (reason, detail) = match to {
        Life::Rejected { reason, detail, .. } => (Some(*reason), Some(detail.clone())),
        Life::Unscannable { detail, .. } => (Some(Reason::CannotBeJudged), Some(detail.clone())),
        Life::Deleted { detail } => (None, Some(detail.clone())),
        Life::Contained { revocation, .. } => (Some(Reason::Contained), Some(format!("contained under {revocation}"))),
        Life::Quarantined { verdict, .. } => match &verdict.finding {
            Finding::Infected { signature } => (Some(Reason::MalwareFound), Some(signature.clone())),
            other => (None, Some(other.as_str().to_owned())),
        },
        Life::Visible { retained_until: Some(until), .. } => {
            (None, Some(format!("its storage keeps it until {until}")))
        }
        Life::Expired => (Some(Reason::UploadExpired), None),
        _ => (None, None),
    };
    entry.reason = reason.or(entry.reason);
    entry.detail = entry.detail.or(detail);
    entry
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::AuditAction;

    fn entry() -> AuditEntry {
        AuditEntry::new("2026-11-21T10:00:00Z".parse().unwrap(), AuditAction::RequestUpload, Outcome::Allowed)
    }

    #[test]
    fn a_token_that_a_refusal_repeats_is_not_kept() {
        let text = format!("no 'vst_live_{}_{}', send vst_live_ tokens", "i".repeat(16), "s".repeat(49));
        assert_eq!(without_tokens(&text), "no 'vst_live_…', send vst_live_ tokens");
    }

    #[test]
    fn a_refusal_sets_outcome_reason_rule_and_status() {
        let refusal = Refusal::new(Reason::SizeNotAllowed, "at most 10 bytes").rule("apps/a.toml: max");
        let filled = refused(entry(), &refusal);
        assert_eq!((filled.outcome, filled.reason), (Outcome::Refused, Some(Reason::SizeNotAllowed)));
        assert_eq!((filled.status, filled.rule.as_deref()), (Some(403), Some("apps/a.toml: max")));
    }
}
