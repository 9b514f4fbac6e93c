//! Tokens for tokens (RFC 8693): somebody shows what an identity provider, or we, have given, and gets a narrower token of
//! one app that lives for minutes.
//!
//! Two kinds of askers. A *person*, for whom a trusted issuer vouches: the app's manifest says which issuers, clients, roles
//! and actions. A *workflow*, which narrows a token of its own: the new one is its child and dies with it. Either way the
//! token is decided on, recorded, and only then handed out, and there is no second token to renew it with: whoever wants
//! another one asks again with what the person's session gives then. Absent on purpose: acting for somebody through
//! somebody else (`actor_token`).

mod issue;
mod person;
mod which;
mod workflow;

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::domain::audit::{AuditAction, Outcome};
use crate::domain::binding::Binding;
use crate::domain::bytes::Sha256Digest;
use crate::domain::ids::{AppName, IssuerName, OwnerName, WorkflowName};
use crate::domain::principal::{Possession, Principal, Subject};
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::scope::Scopes;
use crate::identity::oidc::{AssertionKind, Use};
use crate::identity::{HeldKey, access_token};
use crate::policy::Wanted;
use crate::store::TokenRecord;

pub(super) use self::issue::no_key;

use super::failure::Refused;
use super::limits::Standing;
use super::{App, RequestContext};
use crate::audit;

/// What a token is said to be (RFC 8693 section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenType {
    /// `urn:ietf:params:oauth:token-type:id_token`.
    IdToken,
    /// `urn:ietf:params:oauth:token-type:access_token`.
    AccessToken,
    /// `urn:ietf:params:oauth:token-type:jwt`: either of the two, signed.
    Jwt,
}

impl TokenType {
    /// Every type.
    pub const ALL: [TokenType; 3] = [Self::IdToken, Self::AccessToken, Self::Jwt];

    /// Its identifier.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::IdToken => "urn:ietf:params:oauth:token-type:id_token",
            Self::AccessToken => "urn:ietf:params:oauth:token-type:access_token",
            Self::Jwt => "urn:ietf:params:oauth:token-type:jwt",
        }
    }
}

/// What is asked for.
#[derive(Debug)]
pub struct ExchangeWish {
    /// The token that is shown; a credential.
    pub subject: SecretString,
    /// What it is said to be.
    pub kind: Option<TokenType>,
    /// What the new one is for (`resource`): `app:<app>`, `bucket:<target>`, or their addresses.
    pub resources: Vec<String>,
    /// Whom it is for (`audience`): an app's name.
    pub audiences: Vec<String>,
    /// What it shall allow.
    pub wanted: Wanted,
    /// How long it shall live at most.
    pub ttl: Option<Duration>,
    /// The client that asks (`client_id`), where it says so.
    pub client: Option<String>,
}

/// A token that was just made.
#[derive(Debug)]
pub struct IssuedToken {
    /// The whole token; a credential, to be shown once.
    pub token: SecretString,
    /// What was saved.
    pub record: TokenRecord,
    /// The app.
    pub app: AppName,
    /// What it allows.
    pub scopes: Scopes,
    /// How many seconds it lives.
    pub expires_in: u64,
    /// How the limits of its workflow stand.
    pub standing: Standing,
}

/// Why no token was made.
#[derive(Debug)]
pub struct NotIssued {
    /// Why; recorded.
    pub refusal: Refusal,
    /// How the limits stand, where that is known.
    pub standing: Option<Standing>,
}

/// What has become known about the asker, for the record of a refusal.
#[derive(Default)]
struct Seen {
    workflow: Option<Box<Principal>>,
    person: Option<Box<Person>>,
    /// The refusal is recorded already.
    recorded: bool,
    standing: Option<Standing>,
}

/// A person for whom an issuer vouches, as far as is known.
struct Person {
    subject: Subject,
    issuer: IssuerName,
    client: Option<String>,
    app: Option<(AppName, WorkflowName, OwnerName)>,
}

impl App {
    /// Exchanges a token for a narrower one. `held` is the key that the request has shown to hold; the new token is bound
    /// to it, and a proof of it is used up where there is a new token and not before.
    ///
    /// # Errors
    /// [`NotIssued`] with the refusal, recorded with whatever is known of the asker.
    pub async fn exchange(
        &self,
        context: &RequestContext,
        wish: Result<ExchangeWish, Refusal>,
        held: Option<HeldKey>,
    ) -> Result<IssuedToken, NotIssued> {
        let mut seen = Seen::default();
        match self.try_exchange(context, wish, held, &mut seen).await {
            Ok(issued) => {
                metrics::counter!("vestibule_issued_total", "kind" => "token").increment(1);
                Ok(issued)
            }
            Err(refusal) if seen.recorded => Err(NotIssued { refusal, standing: seen.standing }),
            Err(refusal) => {
                let refusal = self.refuse_exchange(context, &seen, refusal).await;
                Err(NotIssued { refusal, standing: seen.standing })
            }
        }
    }

    async fn try_exchange(
        &self,
        context: &RequestContext,
        wish: Result<ExchangeWish, Refusal>,
        held: Option<HeldKey>,
        seen: &mut Seen,
    ) -> Result<IssuedToken, Refusal> {
        let wish = wish?;
        let text = wish.subject.expose_secret();
        if access_token::is_ours(text) {
            if wish.kind == Some(TokenType::IdToken) {
                return Err(unlike("this is a token of this gateway, and no id_token"));
            }
            return self.narrow(context, &wish, held, seen).await;
        }
        let kind = match wish.kind {
            Some(TokenType::IdToken) => Some(AssertionKind::IdToken),
            Some(TokenType::AccessToken) => Some(AssertionKind::AccessToken),
            Some(TokenType::Jwt) | None => None,
        };
        let assertion = self.issuers.verify(text, Use::Exchange(kind)).await?;
        self.give_to_person(context, &wish, assertion, held, seen).await
    }

    async fn refuse_exchange(&self, context: &RequestContext, seen: &Seen, refusal: Refusal) -> Refusal {
        if let Some(who) = &seen.workflow {
            return self.refuse(context, Refused::Principal(who), AuditAction::ExchangeToken, None, refusal).await;
        }
        let Some(person) = &seen.person else {
            return self.refuse(context, Refused::Nobody, AuditAction::ExchangeToken, None, refusal).await;
        };
        let now = self.clock.now();
        let entry = context.entry(now, AuditAction::ExchangeToken, Outcome::Refused, refusal.reason.status());
        let mut entry = audit::refused(entry, &refusal).for_subject(&person.subject);
        if let Some((app, workflow, owner)) = &person.app {
            (entry.app, entry.workflow, entry.owner) = (Some(app.clone()), Some(workflow.clone()), Some(owner.clone()));
        }
        let detail = entry.detail.take().unwrap_or_default();
        entry.detail = Some(format!("{}: {detail}", person.voucher()));
        metrics::counter!("vestibule_refused_total", "code" => refusal.reason.code()).increment(1);
        if refusal.reason == Reason::DatabaseUnavailable {
            // The answer says so already.
            return refusal;
        }
        // Nothing has counted the request yet.
        if person.app.is_none()
            && !self.anonymous.deserves_a_row(context, AuditAction::ExchangeToken, refusal.reason, now)
        {
            return refusal;
        }
        match self.store.audit(entry).await {
            Ok(()) => refusal,
            Err(error) => error.into(),
        }
    }
}

impl Person {
    /// Who vouches for the person, and towards whom.
    fn voucher(&self) -> String {
        match &self.client {
            Some(client) => format!("issuer {}, client {client}", self.issuer),
            None => format!("issuer {}", self.issuer),
        }
    }
}

fn unlike(what: &str) -> Refusal {
    Refusal::new(Reason::TokenTypeUnsupported, format!("subject_token_type does not fit: {what}."))
        .allowed([TokenType::AccessToken.as_str()])
}

/// The request as it is counted: the same body of two askers is no loop.
fn counted_as(context: &RequestContext, asker: &str) -> RequestContext {
    let body = context.body.map(|body| Sha256Digest::of(format!("{body} {asker}").as_bytes()));
    RequestContext { body, ..context.clone() }
}

/// How whoever holds this key proves it.
fn possession(proven: Option<&Binding>) -> Option<Possession> {
    proven.map(Binding::possession)
}
