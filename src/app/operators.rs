//! Operators who log in at a trusted issuer.
//!
//! Their tokens have no row: each lives as long as its issuer says, and is dead at once where the person or the device is
//! blocked, which is looked up each time.

use crate::domain::principal::Operator;
use crate::domain::refusal::Refusal;
use crate::domain::revocation::RevocationTarget;
use crate::identity::oidc::{Assertion, AssertionError, Flaw, Use};

use super::App;

impl App {
    /// Whether this is for a trusted issuer to vouch for: the gateway's own tokens hold no dot, and a JWT holds two.
    pub(super) fn is_of_an_issuer(&self, presented: &str) -> bool {
        self.issuers.have_operators() && presented.bytes().filter(|byte| *byte == b'.').count() == 2
    }

    /// The operator for whom a trusted issuer vouches with this token.
    ///
    /// # Errors
    /// `assertion_invalid`, `assertion_expired`, `identity_provider_unavailable`; `access_blocked` where the person or the
    /// device is blocked. Not yet recorded.
    pub(super) async fn operator_by_oidc(&self, presented: &str) -> Result<Operator, Refusal> {
        let assertion = self.issuers.verify(presented, Use::Operate).await?;
        self.operator_of(assertion).await
    }

    /// Whether a block of this keeps operators out who log in at an issuer: a person or a device may be one of theirs, by
    /// their own id and by the name `<issuer>:<sub>`.
    pub(super) fn keeps_operators_out(&self, target: &RevocationTarget) -> bool {
        matches!(target, RevocationTarget::User(_) | RevocationTarget::Device(_)) && self.issuers.have_operators()
    }

    async fn operator_of(&self, assertion: Assertion) -> Result<Operator, Refusal> {
        if assertion.cnf_jkt.is_some() {
            // This listener takes no proofs, and a binding must not be dropped.
            return Err(AssertionError::from(Flaw::Confirmation).into());
        }
        let name = assertion.operator_name();
        let subject = assertion.subject;
        let mut targets = vec![RevocationTarget::User(name.clone()), RevocationTarget::User(subject.user)];
        targets.extend(subject.device.map(RevocationTarget::Device));
        if let Some(block) = self.store.blocked(&targets).await? {
            return Err(super::tokens::blocked(&block));
        }
        Ok(Operator { token: None, name, targets, roles: assertion.roles })
    }
}
