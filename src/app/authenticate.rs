//! Who presents this token?

use std::time::Instant;

use crate::domain::admin::{AdminAct, AdminRole};
use crate::domain::audit::AuditAction;
use crate::domain::principal::{Operator, Principal};
use crate::domain::refusal::{Reason, Refusal};
use crate::identity::{AuthError, Authenticated, Evidence, MAX_AGE};

use super::failure::Refused;
use super::{App, RequestContext};

impl App {
    /// The workflow that holds this token, with the proof of its key where it is bound to one.
    ///
    /// # Errors
    /// The refusal, recorded: with the token's workflow where the token is good and its key was not proven.
    pub async fn authenticate(
        &self,
        context: &RequestContext,
        presented: &str,
        evidence: &dyn Evidence,
    ) -> Result<Authenticated, Refusal> {
        match self.authenticator.workflow(presented, evidence).await {
            Ok(authenticated) => Ok(authenticated),
            Err(AuthError::Unproven(who, refusal)) => Err(self.refuse_known(context, &who, refusal).await),
            Err(error) => Err(self.refuse_anonymous(context, refusal(error)).await),
        }
    }

    /// Whether the workflow's token is still in force, where time has passed since it was authenticated.
    ///
    /// # Errors
    /// `token_revoked`, not yet recorded; `database_unavailable` where nobody could look.
    pub async fn still_holds(&self, who: &Principal) -> Result<(), Refusal> {
        match self.authenticator.holder_in_force(&who.token).await? {
            Some(_) => Ok(()),
            None => {
                let detail = "The token was revoked or has ended while the request was on its way.";
                Err(Refusal::new(Reason::TokenRevoked, detail))
            }
        }
    }

    /// The same after a commit for which the request may have waited; costs nothing where it has not.
    ///
    /// # Errors
    /// As for [`App::still_holds`].
    pub(super) async fn still_holds_since(&self, begun: Instant, who: &Principal) -> Result<(), Refusal> {
        if begun.elapsed() > MAX_AGE { self.still_holds(who).await } else { Ok(()) }
    }

    /// The operator who holds this admin token, or for whom a trusted issuer vouches with it.
    ///
    /// # Errors
    /// The refusal, not yet recorded: whoever presents the token records it with [`App::refuse_anonymous`].
    pub async fn authenticate_operator(&self, presented: &str) -> Result<Operator, Refusal> {
        if self.is_of_an_issuer(presented) {
            return self.operator_by_oidc(presented).await;
        }
        self.authenticator.operator(presented).await.map_err(refusal)
    }

    /// Whether one of the operator's roles covers the act.
    ///
    /// # Errors
    /// `role_insufficient`, recorded.
    pub async fn authorise_operator(
        &self,
        context: &RequestContext,
        who: &Operator,
        act: AdminAct,
    ) -> Result<(), Refusal> {
        match may(who, act) {
            Ok(()) => Ok(()),
            Err(refusal) => {
                Err(self.refuse(context, Refused::Operator(who), AuditAction::Authenticate, None, refusal).await)
            }
        }
    }

    /// Records that a known workflow was refused before a use case began.
    pub async fn refuse_known(&self, context: &RequestContext, who: &Principal, refusal: Refusal) -> Refusal {
        self.refuse(context, Refused::Principal(who), AuditAction::Authenticate, None, refusal).await
    }
}

/// One of the operator's roles covers the act.
///
/// # Errors
/// `role_insufficient`, with the roles that do.
pub(super) fn may(who: &Operator, act: AdminAct) -> Result<(), Refusal> {
    if who.roles.cover(act) {
        return Ok(());
    }
    let has = if who.roles.is_empty() { "has no role".to_owned() } else { format!("is {}", who.roles) };
    let detail = format!("'{}' {has} and may not {}. Ask somebody whose role 'allowed' lists.", who.name, act.as_str());
    Err(Refusal::new(Reason::RoleInsufficient, detail).allowed(act.roles().map(AdminRole::as_str)))
}

pub(super) fn refusal(error: AuthError) -> Refusal {
    match error {
        AuthError::Refused(refusal) | AuthError::Unproven(_, refusal) => refusal,
        AuthError::Store(error) => error.into(),
    }
}
