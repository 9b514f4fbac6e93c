//! What a workflow may know of the tokens of its own app (RFC 7662), and tokens that their holders give back (RFC 7009).
//!
//! Both look into the database at each call, so that nobody acts on what is no longer true. A token of another app, an
//! unknown one and a dead one are the same: not active. Giving back needs no more than the token itself, whoever sends it:
//! whoever has found a token does best to end it.

use crate::domain::audit::{AuditAction, Outcome};
use crate::domain::ids::RevocationId;
use crate::domain::principal::Principal;
use crate::domain::refusal::Refusal;
use crate::domain::revocation::RevocationTarget;
use crate::store::{Revoke, TokenHolder, TokenRecord};

use crate::identity::access_token::PublicJwk;

use super::exchange::no_key;
use super::failure::Refused;
use super::{App, RequestContext};

impl App {
    /// The record of a token, where it is in force and of the asker's own app and environment.
    ///
    /// # Errors
    /// The refusal, recorded, where nobody could look.
    pub async fn introspect(
        &self,
        context: &RequestContext,
        who: &Principal,
        token: Result<String, Refusal>,
    ) -> Result<Option<TokenRecord>, Refusal> {
        let look = async {
            let found = self.authenticator.look_again(&token?).await.map_err(super::authenticate::refusal)?;
            Ok(found.filter(|record| {
                matches!(&record.holder, TokenHolder::Workflow { app, environment, .. }
                if *app == who.app && *environment == who.environment)
            }))
        };
        match look.await {
            Ok(found) => Ok(found),
            Err(refusal) => {
                Err(self.refuse(context, Refused::Principal(who), AuditAction::IntrospectToken, None, refusal).await)
            }
        }
    }

    /// Ends a token that somebody gives back, and those derived from it. What is no token in force is as good as ended.
    ///
    /// # Errors
    /// The refusal, recorded, where it could not be ended.
    pub async fn give_back_token(
        &self,
        context: &RequestContext,
        token: Result<String, Refusal>,
    ) -> Result<(), Refusal> {
        let act = async {
            let Some(record) = self.authenticator.look_again(&token?).await.map_err(super::authenticate::refusal)?
            else {
                return Ok(());
            };
            let now = self.clock.now();
            let mut audit = context.entry(now, AuditAction::RevokeToken, Outcome::Allowed, 200);
            audit.token_id = Some(record.id.clone());
            audit.detail = Some(format!("token {} given back by its holder", record.id));
            if let TokenHolder::Workflow { app, workflow, owner, subject, .. } = &record.holder {
                (audit.app, audit.workflow, audit.owner) =
                    (Some(app.clone()), Some(workflow.clone()), Some(owner.clone()));
                if let Some(subject) = subject {
                    audit = audit.for_subject(subject);
                }
            }
            let revoke = Revoke {
                id: RevocationId::from_uuid(self.clock.uuid()),
                target: RevocationTarget::Token(record.id.clone()),
                at: now,
                by: "its holder".to_owned(),
                reason: "given back (RFC 7009)".to_owned(),
                blocks: false,
                contain: false,
                audit,
            };
            self.store.revoke(revoke).await?;
            self.authenticator.forget(&record.id);
            Ok(())
        };
        match act.await {
            Ok(()) => Ok(()),
            Err(refusal) => Err(self.refuse(context, Refused::Nobody, AuditAction::RevokeToken, None, refusal).await),
        }
    }

    /// The public halves of the keys that sign access tokens.
    ///
    /// # Errors
    /// The refusal, recorded, where nobody could look.
    pub async fn public_keys(&self, context: &RequestContext) -> Result<Vec<PublicJwk>, Refusal> {
        match self.authenticator.keys().public().await {
            Ok(keys) => Ok(keys),
            Err(error) => {
                let refusal = no_key(error);
                Err(self.refuse(context, Refused::Nobody, AuditAction::IntrospectToken, None, refusal).await)
            }
        }
    }
}
