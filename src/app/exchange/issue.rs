//! Makes a token that was decided on, records it, and only then hands it out.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;

use crate::app::tokens::describe;
use crate::app::{Admission, App, NotAdmitted, RequestContext};
use crate::domain::audit::{AuditAction, Outcome};
use crate::domain::binding::Binding;
use crate::domain::bytes::Sha256Digest;
use crate::domain::ids::{KeyId, TokenId};
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::revocation::RevocationTarget;
use crate::domain::scope::Scopes;
use crate::identity::access_token::{AccessTokens, Claims, Confirmation, LONGEST};
use crate::identity::{HeldKey, KeyringError, Token, TokenKind};
use crate::store::{CreateOutcome, TokenHolder, TokenOrigin, TokenRecord};

use super::{IssuedToken, Seen};

/// A token that may be made.
pub(super) struct Plan {
    pub(super) holder: TokenHolder,
    pub(super) ttl: Duration,
    pub(super) origin: TokenOrigin,
    pub(super) issuer: Option<String>,
    pub(super) parent: Option<TokenId>,
    /// The key that it will be bound to; a proof of it is used up.
    pub(super) held: Option<HeldKey>,
    pub(super) rule: Arc<str>,
    /// What it was given for, in words.
    pub(super) what: String,
}

/// A token's text, with what is saved of it.
struct Made {
    text: SecretString,
    id: TokenId,
    hash: Sha256Digest,
    key: Option<KeyId>,
}

impl App {
    /// The standing of an admitted request; a refusal of one is recorded.
    pub(super) fn admitted(
        &self,
        admission: Result<Admission, Box<NotAdmitted>>,
        seen: &mut Seen,
    ) -> Result<(), Refusal> {
        match admission {
            Ok(admission) => {
                seen.standing = Some(admission.standing().clone());
                Ok(())
            }
            Err(refused) => {
                (seen.recorded, seen.standing) = (true, refused.standing);
                Err(refused.refusal)
            }
        }
    }

    /// Makes it and records it.
    pub(super) async fn issue_token(
        &self,
        context: &RequestContext,
        plan: Plan,
        seen: &mut Seen,
    ) -> Result<IssuedToken, Refusal> {
        let now = self.clock.now();
        // Whole seconds, as in the claims, so that both mean the same instant.
        let begun = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let expires_in = plan.ttl.as_secs();
        if expires_in == 0 {
            return Err(Refusal::new(Reason::AssertionExpired, "What was shown ends within a second. Sign in again."));
        }
        let life = SignedDuration::try_from(Duration::from_secs(expires_in)).unwrap_or(SignedDuration::ZERO);
        let expires_at = begun + life;
        let Plan { holder, origin, issuer, parent, mut held, rule, what, .. } = plan;
        let TokenHolder::Workflow { app, workflow, scopes, subject, .. } = &holder else {
            return Err(Refusal::new(Reason::Internal, "An operator's token is never exchanged."));
        };
        let (app, list) = (app.clone(), Scopes::from(scopes.clone()));
        let client = format!("{app}/{workflow}");
        let binding = held.as_ref().map(HeldKey::binding);
        let about = About {
            sub: subject.as_ref().map_or(client.as_str(), |subject| subject.user.as_str()),
            client: &client,
            scope: &list.to_list(),
            issued_at: begun,
            expires_at,
            binding,
        };
        let bound = binding.map_or_else(String::new, |binding| format!(", bound to {binding}"));
        let mut keys_are_old = true;
        let (text, record) = loop {
            let Made { text, id, hash, key } = self.make(&holder, &about).await?;
            let record = TokenRecord::new(id, hash, holder.clone(), now, Some(expires_at));
            let record = TokenRecord { origin, issuer: issuer.clone(), parent: parent.clone(), binding, key, ..record };
            let entry = context.entry(now, AuditAction::ExchangeToken, Outcome::Allowed, 200);
            let mut audit = describe(&record, entry);
            // What was presented is a parent of ours, or nothing of ours.
            audit.token_id = Some(parent.clone().unwrap_or_else(|| record.id.clone()));
            audit.scopes = list.texts();
            audit.rule = Some(Arc::clone(&rule));
            audit.detail = Some(format!("token {} for {expires_in} s, {what}{bound}", record.id));
            if let Some(HeldKey::Dpop(proof)) = held.take() {
                // Not before the token is decided on: anybody can make proofs, and each that is used up is a durable write.
                self.authenticator.proofs().spend(proof).await?;
            }
            match self.store.create_token(record.clone(), audit).await? {
                CreateOutcome::Created => break (text, record),
                // Another node has revoked the key a moment ago, and nobody is blocked: the next key signs.
                CreateOutcome::Blocked(block) if keys_are_old && matches!(block.target, RevocationTarget::Key(_)) => {
                    keys_are_old = false;
                    self.authenticator.keys().forget();
                }
                CreateOutcome::Blocked(block) => {
                    let detail = "Tokens for this person, device, workflow or app are blocked; ask your platform team.";
                    return Err(Refusal::new(Reason::AccessBlocked, detail).rule(block.id.to_string()));
                }
                CreateOutcome::ParentEnded => {
                    return Err(Refusal::new(Reason::TokenRevoked, "The token that was shown has ended meanwhile."));
                }
            }
        };
        let standing =
            seen.standing.clone().ok_or_else(|| Refusal::new(Reason::Internal, "Nobody has counted this."))?;
        Ok(IssuedToken { token: text, record, app, scopes: list, expires_in, standing })
    }

    /// The token's text, by configuration.
    async fn make(&self, holder: &TokenHolder, about: &About<'_>) -> Result<Made, Refusal> {
        if self.settings.access_tokens == AccessTokens::Opaque
            && let TokenHolder::Workflow { environment, .. } = holder
        {
            let (token, id, hash) = Token::generate(TokenKind::Workflow(*environment), &self.clock);
            return Ok(Made { text: token.expose().to_owned().into(), id, hash, key: None });
        }
        let key = self.authenticator.keys().signing().await.map_err(no_key)?;
        let id = Token::fresh_id(&self.clock);
        let claims = Claims {
            iss: &self.settings.public_url,
            sub: about.sub,
            aud: &self.settings.public_url,
            client_id: about.client,
            exp: about.expires_at.as_second(),
            iat: about.issued_at.as_second(),
            jti: &id,
            scope: about.scope,
            cnf: about.binding.map(Confirmation),
        };
        let text = key.sign(&claims).map_err(|error| no_key(error.into()))?;
        if text.len() > LONGEST {
            let detail = format!("the token would be {} bytes long; ask for fewer scopes", text.len());
            return Err(Refusal::new(Reason::ScopeNotGranted, detail).limit(LONGEST as u64).rule("longest token"));
        }
        let hash = Sha256Digest::of(text.as_bytes());
        Ok(Made { text: text.into(), id, hash, key: Some(key.id().clone()) })
    }
}

/// What the claims say.
struct About<'a> {
    sub: &'a str,
    client: &'a str,
    scope: &'a str,
    issued_at: Timestamp,
    expires_at: Timestamp,
    binding: Option<Binding>,
}

/// There is no key to sign with.
pub(in crate::app) fn no_key(error: KeyringError) -> Refusal {
    match error {
        KeyringError::Store(error) => error.into(),
        KeyringError::Key(error) => {
            tracing::error!(%error, "the gateway cannot sign tokens");
            Refusal::new(Reason::Internal, "The gateway cannot sign tokens at the moment.")
        }
    }
}
