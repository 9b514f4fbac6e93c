//! A person's token: the issuer's word, the manifest's leave, and what is left of both.

use std::time::Duration;

use crate::domain::audit::AuditAction;
use crate::domain::binding::Binding;
use crate::domain::principal::Principal;
use crate::domain::refusal::{Reason, Refusal};
use crate::identity::oidc::Assertion;
use crate::identity::{HeldKey, ProofError, Token};
use crate::policy::{ExchangeRequest, Manifest, TOKEN_TTL, decide_exchange};
use crate::store::{TokenHolder, TokenOrigin};

use super::issue::Plan;
use super::{ExchangeWish, IssuedToken, Person, Seen, counted_as, possession, which};
use crate::app::{App, RequestContext};

impl App {
    /// A token for the person of an assertion.
    pub(super) async fn give_to_person(
        &self,
        context: &RequestContext,
        wish: &ExchangeWish,
        assertion: Assertion,
        held: Option<HeldKey>,
        seen: &mut Seen,
    ) -> Result<IssuedToken, Refusal> {
        let proven = held.as_ref().map(HeldKey::binding);
        let policies = self.policies.current();
        let person = seen.person.insert(Box::new(Person {
            subject: assertion.subject.clone(),
            issuer: assertion.issuer.clone(),
            client: assertion.client.clone(),
            app: None,
        }));
        let client = assertion.client.as_deref().ok_or_else(|| other_client("the token names no client"))?;
        if wish.client.as_deref().is_some_and(|own| own != client) {
            return Err(other_client("client_id is not the client to which the token was given"));
        }
        holds_its_key(&assertion, proven.as_ref())?;
        let environment = assertion.environment;
        let may = |app: &Manifest| app.exchange.as_ref().is_some_and(|rules| rules.lists(&assertion.issuer, client));
        let app = which::app(&policies, &self.settings.public_url, wish, environment, may)?;
        if let Some(rules) = &app.exchange {
            person.app = Some((app.app.clone(), rules.workflow.clone(), app.owner.clone()));
            let asker = provisional(app, rules.workflow.clone(), &assertion, proven.as_ref(), &self.clock);
            let counted = counted_as(context, &assertion.subject.user);
            let admission = self.admit(&counted, &asker, AuditAction::ExchangeToken).await;
            self.admitted(admission, seen)?;
        }
        let now = self.clock.now();
        let left = Duration::try_from(assertion.expires_at.duration_since(now)).unwrap_or_default();
        let request = ExchangeRequest {
            environment,
            wanted: wish.wanted.clone(),
            ttl: wish.ttl.unwrap_or(TOKEN_TTL.max).min(left),
            possession: possession(proven.as_ref()),
        };
        let permit = decide_exchange(&policies, &assertion.subject, &app.app, &request, &context.circumstances(now))?;
        let what = format!("for an {} of {}", assertion.kind.as_str(), person_of(seen));
        let holder = TokenHolder::Workflow {
            app: app.app.clone(),
            workflow: permit.workflow,
            owner: permit.owner,
            environment,
            scopes: permit.scopes.to_vec(),
            subject: Some(assertion.subject),
        };
        let plan = Plan {
            holder,
            ttl: permit.ttl,
            origin: TokenOrigin::Exchanged,
            issuer: Some(assertion.issuer.to_string()),
            parent: None,
            held,
            rule: permit.rule,
            what,
        };
        self.issue_token(context, plan, seen).await
    }
}

fn person_of(seen: &Seen) -> String {
    seen.person.as_ref().map(|person| person.voucher()).unwrap_or_default()
}

/// Who the request will have been by, for counting it.
fn provisional(
    app: &Manifest,
    workflow: crate::domain::ids::WorkflowName,
    assertion: &Assertion,
    proven: Option<&Binding>,
    clock: &crate::clock::Clock,
) -> Principal {
    Principal {
        token: Token::fresh_id(clock),
        app: app.app.clone(),
        workflow,
        owner: app.owner.clone(),
        environment: assertion.environment,
        scopes: Vec::new().into(),
        subject: Some(assertion.subject.clone()),
        possession: possession(proven),
        sunset: None,
    }
}

/// An assertion that is bound to a key is worth nothing to whoever does not hold it (RFC 9449 section 6.1).
fn holds_its_key(assertion: &Assertion, proven: Option<&Binding>) -> Result<(), Refusal> {
    match (&assertion.cnf_jkt, proven) {
        (None, _) => Ok(()),
        (Some(own), Some(Binding::Dpop(key))) if key.to_string() == *own => Ok(()),
        (Some(_), Some(Binding::Dpop(_))) => Err(ProofError::OtherKey.into()),
        (Some(_), _) => Err(ProofError::Missing.into()),
    }
}

fn other_client(detail: &str) -> Refusal {
    Refusal::new(Reason::AssertionInvalid, format!("{detail}; {}.", Reason::AssertionInvalid.remedy()))
}
