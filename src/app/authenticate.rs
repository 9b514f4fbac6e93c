//! Who presents this token?

use crate::domain::audit::AuditAction;
use crate::domain::principal::{Operator, Principal};
use crate::domain::refusal::Refusal;
use crate::identity::{AuthError, Authenticated, Evidence};

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

    /// Records that a known workflow was refused before a use case began.
    pub async fn refuse_known(&self, context: &RequestContext, who: &Principal, refusal: Refusal) -> Refusal {
        self.refuse(context, Refused::Principal(who), AuditAction::Authenticate, None, refusal).await
    }
}

fn refusal(error: AuthError) -> Refusal {
    match error {
        AuthError::Refused(refusal) | AuthError::Unproven(_, refusal) => refusal,
        AuthError::Store(error) => error.into(),
    }
}
