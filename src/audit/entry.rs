//! Filling in an audit entry from the things that it is about.
//!
//! One place decides which of their fields the trail holds, so that every use case records the same. Ids, names and
//! digests only: a file name is the app's data and stays with the object.

use jiff::Timestamp;

use crate::domain::audit::{AuditAction, AuditEntry, Outcome};
use crate::domain::life::Life;
use crate::domain::object::Object;
use crate::domain::principal::{Operator, Principal};
use crate::domain::refusal::Refusal;
use crate::domain::verdict::Finding;

/// Fills in what an entry is about; each method overwrites only its own fields.
pub trait EntryExt: Sized {
    /// Who asked: token, app, workflow, owner, user, device, scopes.
    #[must_use]
    fn by_principal(self, who: &Principal) -> Self;

    /// Which operator asked, and with which token.
    #[must_use]
    fn by_operator(self, who: &Operator) -> Self;

    /// Which object: its id, class, lawful basis and residency, and, where nobody else is named yet, whose it is.
    #[must_use]
    fn about(self, object: &Object) -> Self;

    /// That it was refused, why and by which rule, and the HTTP status of the answer.
    #[must_use]
    fn refused(self, refusal: &Refusal) -> Self;
}

impl EntryExt for AuditEntry {
    fn by_principal(mut self, who: &Principal) -> Self {
        self.token_id = Some(who.token.clone());
        self.app = Some(who.app.clone());
        self.workflow = Some(who.workflow.clone());
        self.owner = Some(who.owner.clone());
        self.user = who.user.clone();
        self.device = who.device.clone();
        self.scopes = who.scopes.iter().map(ToString::to_string).collect();
        self
    }

    fn by_operator(mut self, who: &Operator) -> Self {
        self.token_id = Some(who.token.clone());
        self.operator = Some(who.name.clone());
        self
    }

    fn about(mut self, object: &Object) -> Self {
        self.object_id = Some(object.id);
        self.classification = Some(object.classification.clone());
        self.lawful_basis = object.lawful_basis.clone();
        self.residency = Some(object.residency.clone());
        if self.app.is_none() {
            self.app = Some(object.app.clone());
            self.workflow = Some(object.workflow.clone());
            self.owner = Some(object.owner.clone());
            self.user = object.user.clone();
        }
        self
    }

    fn refused(mut self, refusal: &Refusal) -> Self {
        self.outcome = Outcome::Refused;
        self.reason = Some(refusal.reason);
        self.status = Some(refusal.reason.status());
        self.rule = refusal.rule.clone();
        self.detail = Some(refusal.detail.clone());
        self
    }
}

/// The entry of a change of state that the gateway itself made, from where the object stands to `to`.
pub fn change(now: Timestamp, object: &Object, to: &Life) -> AuditEntry {
    let mut entry = AuditEntry::new(now, AuditAction::ChangeState, Outcome::Allowed).about(object);
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
    fn a_principal_is_named_with_its_scopes() {
        let filled = entry().by_principal(&Principal::example());
        assert_eq!(filled.scopes, ["storage:*:where2eat:*"]);
        assert_eq!(filled.app.unwrap().as_str(), "where2eat");
    }

    #[test]
    fn a_refusal_sets_outcome_reason_rule_and_status() {
        let refusal = Refusal::new(Reason::SizeNotAllowed, "at most 10 bytes").rule("apps/a.toml: max");
        let filled = entry().refused(&refusal);
        assert_eq!((filled.outcome, filled.reason), (Outcome::Refused, Some(Reason::SizeNotAllowed)));
        assert_eq!((filled.status, filled.rule.as_deref()), (Some(403), Some("apps/a.toml: max")));
    }
}
