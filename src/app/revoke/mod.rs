//! An operator revokes: a token, or everything of a workflow, an app, a person, a device, an owner or a signing key.
//!
//! The store marks every token, writes the block and the entry in one commit; from then on each node learns of it within half
//! a second (`identity/changes.rs`). What follows slowly (the objects that are held) is begun by the worker and survives any
//! node. The answer tells what the tokens did, so that whoever revokes a stolen one knows at once what to look at; it is
//! never late for that: where the trail is long, the telling is cut short and says so.

mod contain;
mod deeds;

use crate::domain::admin::AdminAct;
use crate::domain::audit::{AuditAction, AuditEntry, Outcome};
use crate::domain::ids::{RevocationId, TokenId};
use crate::domain::principal::Operator;
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::revocation::RevocationTarget;
use crate::store::{RevocationQuery, RevocationRecord, Revoke, TokenHolder};

use super::authenticate::may;
use super::failure::{Refused, of};
use super::review::written_reason;
use super::tokens::describe;
use super::{App, RequestContext};

pub use contain::Containing;
pub use deeds::{Deed, Deeds, Holdings};

/// How many rotations are followed to the token that works in the place of a revoked one.
const ROTATIONS: usize = 10;

/// What is to be revoked, and how.
#[derive(Clone, Debug)]
pub struct NewRevocation {
    /// Whose tokens die.
    pub target: RevocationTarget,
    /// Why, in 3 to 1,000 characters.
    pub reason: String,
    /// Whether no new token is made for it until the revocation is lifted. Of a single token there is nothing to block.
    pub block: bool,
    /// Whether what was uploaded under it is held for review, and what is still awaited ends.
    pub contain: bool,
}

/// A revocation with what is known about it now.
#[derive(Clone, Debug)]
pub struct RevocationNow {
    /// What was recorded.
    pub record: RevocationRecord,
    /// The first tokens that died by it.
    pub tokens: Vec<TokenId>,
    /// Of a single token that was rotated: the one that goes on working in its place.
    pub successor: Option<TokenId>,
    /// What they did; absent where the trail could not be read in time.
    pub deeds: Option<Deeds>,
    /// What was uploaded under it; absent where the records could not be read in time.
    pub holdings: Option<Holdings>,
}

impl App {
    /// Revokes: on this node at once, on every other within a second (P7).
    ///
    /// # Errors
    /// The refusal, recorded.
    pub async fn revoke(
        &self,
        context: &RequestContext,
        who: &Operator,
        new: Result<NewRevocation, Refusal>,
    ) -> Result<RevocationNow, Refusal> {
        let target = new.as_ref().ok().map(|new| new.target.clone());
        let action = target.as_ref().map_or(AuditAction::Revoke, action);
        match self.try_revoke(context, who, new).await {
            Ok(now) => Ok(now),
            Err(refusal) => {
                let complete = |entry| target.iter().fold(entry, |entry, target| of(target, about(target, entry)));
                Err(self.refuse_about(context, Refused::Operator(who), action, complete, refusal).await)
            }
        }
    }

    async fn try_revoke(
        &self,
        context: &RequestContext,
        who: &Operator,
        new: Result<NewRevocation, Refusal>,
    ) -> Result<RevocationNow, Refusal> {
        let NewRevocation { target, reason, block, contain } = new?;
        let reason = written_reason(Ok(reason), "A revocation")?;
        let now = self.clock.now();
        let entry = context.entry(now, action(&target), Outcome::Allowed, 201).by_operator(who);
        let mut audit = about(&target, entry);
        let blocks = block && !matches!(target, RevocationTarget::Token(_));
        if let RevocationTarget::Token(id) = &target {
            let record = self.store.token(id).await?.ok_or_else(no_such_token)?;
            if matches!(record.holder, TokenHolder::Operator { .. }) {
                may(who, AdminAct::Administer)?;
            }
            audit = describe(&record, audit);
        }
        // The gateway's keys are an admin's, and whoever may shut an operator out must be able to let them in again.
        if matches!(target, RevocationTarget::Key(_)) || (blocks && self.keeps_operators_out(&target)) {
            may(who, AdminAct::Administer)?;
        }
        let id = RevocationId::from_uuid(self.clock.uuid());
        let with = [(blocks, ", blocked"), (contain, ", contained")].map(|(with, text)| if with { text } else { "" });
        audit.detail = Some(format!("{id}: {target}{}: {reason}", with.concat()));
        let (by, at) = (who.name.clone(), now);
        let mut record = RevocationRecord {
            id,
            target: target.clone(),
            at,
            by: by.clone(),
            reason: reason.clone(),
            blocks,
            lifted: None,
            contain,
            contained_at: None,
            killed: 0,
        };
        let revoked = self.store.revoke(Revoke { id, target, at, by, reason, blocks, contain, audit }).await?;
        record.killed = revoked.killed;
        self.authenticator.forget_everything();
        if contain {
            self.work.containment().notify_one();
        }
        metrics::counter!("vestibule_revoked_tokens_total").increment(revoked.killed);
        tracing::warn!(revocation = %id, by = %who.name, tokens = revoked.killed, blocks, contain, "revoked");
        Ok(self.told(record, revoked.tokens).await)
    }

    /// Revokes one token. Revoking twice is success.
    ///
    /// # Errors
    /// The refusal, recorded.
    pub async fn revoke_token(
        &self,
        context: &RequestContext,
        who: &Operator,
        id: &TokenId,
        reason: Option<String>,
    ) -> Result<RevocationNow, Refusal> {
        let reason = reason.unwrap_or_else(|| "no reason was given".to_owned());
        let target = RevocationTarget::Token(id.clone());
        self.revoke(context, who, Ok(NewRevocation { target, reason, block: false, contain: false })).await
    }

    /// A revocation, how far its containment is, and what its tokens did.
    ///
    /// # Errors
    /// The refusal, recorded.
    pub async fn revocation(
        &self,
        context: &RequestContext,
        who: &Operator,
        id: Result<RevocationId, Refusal>,
    ) -> Result<RevocationNow, Refusal> {
        let found = match id {
            Ok(id) => match self.store.revocation(id).await {
                Ok(found) => found.ok_or_else(no_such_revocation),
                Err(error) => Err(error.into()),
            },
            Err(refusal) => Err(refusal),
        };
        let record = self.looked(context, who, AuditAction::ReadRevocations, found).await?;
        let tokens = self.store.tokens_revoked_by(&record).await.unwrap_or_default();
        Ok(self.told(record, tokens).await)
    }

    /// A page of revocations, newest first, and the last one where there are more.
    ///
    /// # Errors
    /// The refusal, recorded.
    pub async fn revocations(
        &self,
        context: &RequestContext,
        who: &Operator,
        query: Result<RevocationQuery, Refusal>,
    ) -> Result<(Vec<RevocationRecord>, Option<RevocationId>), Refusal> {
        let mut query = self.looked(context, who, AuditAction::ReadRevocations, query).await?;
        query.limit += 1;
        let mut found = self.store.revocations(query.clone()).await?;
        let more = found.len() == query.limit;
        found.truncate(query.limit - 1);
        let next = found.last().filter(|_| more).map(|last| last.id);
        Ok((found, next))
    }

    /// Ends the block of a revocation: new tokens may be made again. What is dead stays dead, and what is held stays held.
    ///
    /// # Errors
    /// The refusal, recorded.
    pub async fn lift_revocation(
        &self,
        context: &RequestContext,
        who: &Operator,
        id: Result<RevocationId, Refusal>,
        reason: Result<String, Refusal>,
    ) -> Result<RevocationRecord, Refusal> {
        let named = id.as_ref().ok().copied();
        match self.try_lift(context, who, id, reason).await {
            Ok(record) => Ok(record),
            Err(refusal) => {
                let action = AuditAction::LiftRevocation;
                let complete = |entry| named.iter().fold(entry, |entry, id| of(id, entry));
                Err(self.refuse_about(context, Refused::Operator(who), action, complete, refusal).await)
            }
        }
    }

    async fn try_lift(
        &self,
        context: &RequestContext,
        who: &Operator,
        id: Result<RevocationId, Refusal>,
        reason: Result<String, Refusal>,
    ) -> Result<RevocationRecord, Refusal> {
        let id = id?;
        let reason = written_reason(reason, "Lifting a revocation")?;
        let now = self.clock.now();
        let mut audit = context.entry(now, AuditAction::LiftRevocation, Outcome::Allowed, 200).by_operator(who);
        audit.detail = Some(format!("{id}: {reason}"));
        let lifted = self.store.lift_revocation(id, now, &who.name, audit.clone()).await?;
        let record = self.store.revocation(id).await?.ok_or_else(no_such_revocation)?;
        if !lifted {
            audit.detail = Some(format!("{id} blocked nothing any more: {reason}"));
            self.store.audit(audit).await?;
        }
        Ok(record)
    }

    /// The record with what can be told of it in time.
    async fn told(&self, record: RevocationRecord, tokens: Vec<TokenId>) -> RevocationNow {
        let own = match &record.target {
            // It may have been dead before, and did what it did all the same.
            RevocationTarget::Token(id) if tokens.is_empty() => std::slice::from_ref(id),
            _ => &tokens,
        };
        let (deeds, holdings, successor) =
            tokio::join!(self.deeds(own), self.holdings(&record.target), self.successor(&record.target));
        RevocationNow { record, tokens, successor, deeds, holdings }
    }

    async fn successor(&self, target: &RevocationTarget) -> Option<TokenId> {
        let RevocationTarget::Token(id) = target else { return None };
        let now = self.clock.now();
        let mut record = self.store.token(id).await.ok()??;
        for _ in 0..ROTATIONS {
            let next = record.successor?;
            record = self.store.token(&next).await.ok()??;
            if record.is_in_force(now) {
                return Some(record.id);
            }
        }
        None
    }
}

/// A token by itself is revoked as it always was; whoever watches the trail for that goes on seeing it.
fn action(target: &RevocationTarget) -> AuditAction {
    match target {
        RevocationTarget::Token(_) => AuditAction::RevokeToken,
        _ => AuditAction::Revoke,
    }
}

/// Says in an entry what is revoked.
fn about(target: &RevocationTarget, mut entry: AuditEntry) -> AuditEntry {
    match target {
        RevocationTarget::Workflow(app, workflow) => {
            (entry.app, entry.workflow) = (Some(app.clone()), Some(workflow.clone()));
        }
        RevocationTarget::App(app) => entry.app = Some(app.clone()),
        RevocationTarget::User(user) => entry.user = Some(user.clone()),
        RevocationTarget::Device(device) => entry.device = Some(device.clone()),
        RevocationTarget::Owner(owner) => entry.owner = Some(owner.clone()),
        RevocationTarget::Token(_) | RevocationTarget::Key(_) => {}
    }
    entry
}

fn no_such_token() -> Refusal {
    Refusal::new(Reason::NotFound, "There is no token with this id.")
}

fn no_such_revocation() -> Refusal {
    Refusal::new(Reason::NotFound, "There is no revocation with this id.")
}
