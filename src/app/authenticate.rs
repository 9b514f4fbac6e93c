//! Who presents this token?

use std::sync::Arc;

use crate::domain::audit::AuditAction;
use crate::domain::principal::{Operator, Principal};
use crate::domain::refusal::Refusal;
use crate::identity::AuthError;

use super::failure::Refused;
use super::{App, RequestContext};

impl App {
    /// The workflow that holds this token.
    ///
    /// # Errors
    /// The refusal, not yet recorded: whoever presents the token records it with [`App::refuse_anonymous`].
    pub async fn authenticate(&self, presented: &str) -> Result<Arc<Principal>, Refusal> {
        self.authenticator.workflow(presented).await.map_err(refusal)
    }

    /// The operator who holds this admin token, or for whom a trusted issuer vouches with it.
    ///
    /// # Errors
    /// As [`App::authenticate`].
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
        AuthError::Refused(refusal) => refusal,
        AuthError::Store(error) => error.into(),
    }
}
