//! Somebody has a claim link: looks at what it is for, or spends it and gets the token.
//!
//! Looking never spends it, or the preview of a chat would. The token is made here, in the commit that spends the link: of
//! two who claim at the same time one gets it, and a crash before the commit leaves the link as it was. The new token of a
//! change of scopes ends the old one after the window.

use jiff::Timestamp;

use crate::domain::access::AccessRequest;
use crate::domain::audit::{AuditAction, AuditEntry, Outcome};
use crate::domain::bytes::Sha256Digest;
use crate::domain::ids::TokenId;
use crate::domain::principal::Operator;
use crate::domain::refusal::{Reason, Refusal};
use crate::fault;
use crate::identity::{Token, TokenKind};
use crate::store::{ClaimOutcome, ClaimToken, RevocationRecord, TokenHolder, TokenRecord};

use super::super::failure::{Refused, of};
use super::super::{App, CreatedToken, RequestContext};
use super::{about, after};

/// What a link is for.
#[derive(Clone, Debug)]
pub struct Claimable {
    /// The request that was approved.
    pub request: AccessRequest,
    /// From when on the link does not work any more.
    pub ends_at: Timestamp,
}

/// A token that was just claimed.
pub struct ClaimedToken {
    /// The token, shown once, and what was saved of it.
    pub created: CreatedToken,
    /// The request that it was made for.
    pub request: AccessRequest,
    /// The token whose scopes it changes, and when that one ends.
    pub replaces: Option<(TokenId, Timestamp)>,
}

impl App {
    /// What a link is for. Spends nothing.
    ///
    /// # Errors
    /// The refusal, recorded. Whatever is wrong with a link, the answer is the same 404; whoever has a right one is told where
    /// what it is for was revoked.
    pub async fn look_at_claim(&self, context: &RequestContext, secret: &str) -> Result<Claimable, Refusal> {
        let found = match self.store.access_request_by_claim(hash(secret), self.clock.now()).await {
            Ok(found) => found.and_then(|request| {
                let ends_at = request.state.claim()?.ends_at;
                Some(Claimable { request, ends_at })
            }),
            Err(error) => return Err(self.refuse_claim(context, error.into()).await),
        };
        let Some(found) = found else { return Err(self.refuse_claim(context, dead_link()).await) };
        let request = &found.request;
        match self.store.revoked_since(&request.targets(), request.decided_at()).await {
            Ok(None) => Ok(found),
            Ok(Some(revocation)) => Err(self.refuse_claim(context, revoked(&revocation)).await),
            Err(error) => Err(self.refuse_claim(context, error.into()).await),
        }
    }

    /// Spends a link: makes the token. Whoever has the link may, so that there is an operator on the command line alone.
    ///
    /// # Errors
    /// The refusal, recorded.
    pub async fn claim_token(
        &self,
        context: &RequestContext,
        who: Option<&Operator>,
        secret: &str,
    ) -> Result<ClaimedToken, Refusal> {
        let mut seen = None;
        match self.try_claim_token(context, who, secret, &mut seen).await {
            Ok(claimed) => {
                fault::point("claim_committed").await;
                Ok(claimed)
            }
            Err(refusal) => {
                let complete = |entry| match &seen {
                    Some(AccessRequest { id, asked, .. }) => of(format!("access request {id}"), about(asked, entry)),
                    None => entry,
                };
                let who = who.map_or(Refused::Nobody, Refused::Operator);
                Err(self.refuse_about(context, who, AuditAction::ClaimToken, complete, refusal).await)
            }
        }
    }

    async fn try_claim_token(
        &self,
        context: &RequestContext,
        who: Option<&Operator>,
        secret: &str,
        seen: &mut Option<AccessRequest>,
    ) -> Result<ClaimedToken, Refusal> {
        let (claim, now) = (hash(secret), self.clock.now());
        let request = self.store.access_request_by_claim(claim, now).await?.ok_or_else(dead_link)?;
        let request = seen.insert(request).clone();
        let asked = &request.asked;
        let policies = self.policies.current();
        if policies.app(&asked.app).is_none() {
            let detail = format!("No manifest registers the app '{}' any more, so that the link is dead.", asked.app);
            return Err(Refusal::new(Reason::ClaimInvalid, detail));
        }
        if asked.expires_at.is_some_and(|at| at <= now) {
            let detail = "The token would have expired by now. Have it asked for anew.";
            return Err(Refusal::new(Reason::ClaimInvalid, detail));
        }
        let before = match &asked.changes {
            Some(id) => self.store.token(id).await?,
            None => None,
        };
        let followed = match &before {
            Some(before) => before.revoked_at.is_some() || self.living_successor(before).await?.is_some(),
            None => false,
        };
        if followed {
            let detail =
                "The token whose scopes should change was revoked or rotated meanwhile. Have it asked for anew.";
            return Err(Refusal::new(Reason::ClaimInvalid, detail));
        }
        let (token, id, digest) = Token::generate(TokenKind::Workflow(asked.environment), &self.clock);
        let subject = before.as_ref().and_then(|before| match &before.holder {
            TokenHolder::Workflow { subject, .. } => subject.clone(),
            TokenHolder::Operator { .. } => None,
        });
        let holder = TokenHolder::Workflow {
            app: asked.app.clone(),
            workflow: asked.workflow.clone(),
            owner: asked.owner.clone(),
            environment: asked.environment,
            scopes: asked.scopes.clone(),
            subject,
        };
        let mut record = TokenRecord::new(id.clone(), digest, holder, now, asked.expires_at);
        record.request = Some(request.id);
        record.binding = asked.binding;

        let window = policies.access().change_window;
        let replaces = asked.changes.clone().map(|old| (old, after(now, window)));
        let entry = context.entry(now, AuditAction::ClaimToken, Outcome::Allowed, 201);
        let entry = who.into_iter().fold(entry, AuditEntry::by_operator);
        let mut audit = about(asked, entry);
        audit.token_id = Some(id.clone());
        audit.rule = request.state.decision().and_then(|decision| decision.rule.as_deref()).map(Into::into);
        let by = request.state.decision().map_or("", |decision| decision.by.as_str());
        audit.detail = Some(match &replaces {
            Some((old, at)) => format!(
                "token {id} of access request {}, asked for by {} and approved by {by}; token {old} ends at {at:.0}",
                request.id, request.by
            ),
            None => {
                format!("token {id} of access request {}, asked for by {} and approved by {by}", request.id, request.by)
            }
        });
        let spend = ClaimToken { claim, token: record.clone(), replaces: replaces.clone(), now, audit };
        match self.store.claim_token(spend).await? {
            ClaimOutcome::Claimed => {}
            ClaimOutcome::Spent => return Err(dead_link()),
            ClaimOutcome::Revoked(revocation) => return Err(revoked(&revocation)),
        }
        self.authenticator.forget(&id);
        if let Some((old, _)) = &replaces {
            self.authenticator.forget(old);
        }
        Ok(ClaimedToken { created: CreatedToken { token, record }, request, replaces })
    }

    async fn refuse_claim(&self, context: &RequestContext, refusal: Refusal) -> Refusal {
        self.refuse(context, Refused::Nobody, AuditAction::ClaimToken, None, refusal).await
    }
}

fn hash(secret: &str) -> Sha256Digest {
    Sha256Digest::of(secret.as_bytes())
}

/// Whoever holds the link may be anybody: who has revoked what is in the trail, under this id.
fn revoked(revocation: &RevocationRecord) -> Refusal {
    let refusal = if revocation.is_blocking() {
        let detail = "Tokens for whom this one was meant are blocked; ask your platform team.";
        Refusal::new(Reason::AccessBlocked, detail)
    } else {
        let detail = "What the link is for was revoked since it was approved. Have the access asked for anew.";
        Refusal::new(Reason::ClaimInvalid, detail)
    };
    refusal.rule(revocation.id.to_string())
}

fn dead_link() -> Refusal {
    let detail = "The link is unknown, was used already, was withdrawn, or has ended. Have the access asked for anew.";
    Refusal::new(Reason::ClaimInvalid, detail)
}
