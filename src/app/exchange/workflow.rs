//! A workflow narrows its own token: a child that never allows more, never lives longer, and dies with its parent.

use std::time::Duration;

use secrecy::ExposeSecret;

use crate::domain::audit::AuditAction;
use crate::domain::refusal::{Reason, Refusal};
use crate::identity::{AuthError, HeldKey};
use crate::policy::{ExchangeRequest, TOKEN_TTL, decide_derivation};
use crate::store::{TokenHolder, TokenOrigin};

use super::issue::Plan;
use super::{ExchangeWish, IssuedToken, Seen, counted_as, possession, which};
use crate::app::authenticate::refusal;
use crate::app::{App, RequestContext};

impl App {
    /// A narrower token of the workflow that holds this one.
    pub(super) async fn narrow(
        &self,
        context: &RequestContext,
        wish: &ExchangeWish,
        held: Option<HeldKey>,
        seen: &mut Seen,
    ) -> Result<IssuedToken, Refusal> {
        let proven = held.as_ref().map(HeldKey::binding);
        let who = match self.authenticator.subject(wish.subject.expose_secret(), proven.as_ref()).await {
            Ok(who) => who,
            Err(AuthError::Unproven(who, refusal)) => {
                seen.workflow = Some(Box::new((*who).clone()));
                return Err(refusal);
            }
            Err(error) => return Err(refusal(error)),
        };
        seen.workflow = Some(Box::new((*who).clone()));
        // Before anything else can be refused, so that whatever is refused was counted.
        let counted = counted_as(context, who.token.as_str());
        let admission = self.admit(&counted, &who, AuditAction::ExchangeToken).await;
        self.admitted(admission, seen)?;
        let policies = self.policies.current();
        let app = which::app(&policies, &self.settings.public_url, wish, who.environment, |app| app.app == who.app)?;
        let now = self.clock.now();
        let Some(parent) = self.store.token(&who.token).await? else {
            return Err(Refusal::new(Reason::TokenRevoked, "The token that was shown has been revoked."));
        };
        let left = parent.expires_at.map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default());
        let asked = wish.ttl.unwrap_or(TOKEN_TTL.max);
        let request = ExchangeRequest {
            environment: who.environment,
            wanted: wish.wanted.clone(),
            ttl: left.map_or(asked, |left| left.min(asked)),
            // Of the token that is shown: a leaked one that is bound to nothing would otherwise be bound to the thief's key.
            possession: possession(parent.binding.as_ref()),
        };
        let circumstances = context.circumstances(now);
        let (scopes, ttl, rule) =
            decide_derivation(&policies, who.subject.as_ref(), &app.app, &request, &who.scopes, &circumstances)?;
        let holder = TokenHolder::Workflow {
            app: who.app.clone(),
            workflow: who.workflow.clone(),
            owner: who.owner.clone(),
            environment: who.environment,
            scopes: scopes.to_vec(),
            subject: who.subject.clone(),
        };
        let plan = Plan {
            holder,
            ttl,
            origin: TokenOrigin::Derived,
            issuer: parent.issuer.clone(),
            parent: Some(who.token.clone()),
            held,
            rule,
            what: format!("derived from token {}", who.token),
        };
        self.issue_token(context, plan, seen).await
    }
}
