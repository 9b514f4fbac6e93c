//! Somebody decides on a request, with a written reason: not whoever asked, unless a rule says so.

use crate::domain::access::{AccessRequest, Decision};
use crate::domain::audit::{AuditAction, Outcome};
use crate::domain::ids::AccessRequestId;
use crate::domain::principal::Operator;
use crate::domain::refusal::{Reason, Refusal};
use crate::store::DecideAccessRequest;

use super::super::failure::{Refused, of};
use super::super::review::written_reason;
use super::super::{App, RequestContext};
use super::{ClaimLink, Requested, about, after, decided, no_request};

/// What somebody decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessDecision {
    /// The token may be claimed.
    Approve,
    /// It may not; takes an approval back too, as long as nobody has claimed.
    Deny,
}

impl AccessDecision {
    /// How the audit trail names it.
    pub fn action(self) -> AuditAction {
        match self {
            Self::Approve => AuditAction::ApproveAccess,
            Self::Deny => AuditAction::DenyAccess,
        }
    }
}

impl App {
    /// Decides on a request. The request as it stands then, with the claim link where it was approved.
    ///
    /// # Errors
    /// The refusal, recorded.
    pub async fn decide_access(
        &self,
        context: &RequestContext,
        who: &Operator,
        id: Result<AccessRequestId, Refusal>,
        reason: Result<String, Refusal>,
        decision: AccessDecision,
    ) -> Result<Requested, Refusal> {
        let (mut seen, named) = (None, id.as_ref().ok().copied());
        match self.try_decide_access(context, who, id, reason, decision, &mut seen).await {
            Ok(requested) => Ok(requested),
            Err(refusal) => {
                let complete = |entry| {
                    let entry = seen.iter().fold(entry, |entry, seen: &AccessRequest| about(&seen.asked, entry));
                    named.iter().fold(entry, |entry, id| of(format!("access request {id}"), entry))
                };
                Err(self.refuse_about(context, Refused::Operator(who), decision.action(), complete, refusal).await)
            }
        }
    }

    async fn try_decide_access(
        &self,
        context: &RequestContext,
        who: &Operator,
        id: Result<AccessRequestId, Refusal>,
        why: Result<String, Refusal>,
        act: AccessDecision,
        seen: &mut Option<AccessRequest>,
    ) -> Result<Requested, Refusal> {
        let (id, now) = (id?, self.clock.now());
        let mut request = self.store.access_request(id).await?.ok_or_else(no_request)?;
        request.state = request.state.as_of(now);
        let request = seen.insert(request);
        let why = written_reason(why, "A decision on access")?;
        let policies = self.policies.current();
        let entry = context.entry(now, act.action(), Outcome::Allowed, 200).by_operator(who);
        let mut audit = about(&request.asked, entry);
        let mut decision =
            Decision { by: who.name.clone(), targets: who.targets.clone(), at: now, reason: why, rule: None };
        let (state, link) = match act {
            AccessDecision::Deny => (request.state.clone().deny(decision.clone()).map_err(|_| decided(request))?, None),
            AccessDecision::Approve => {
                if request.by == who.name {
                    let Some(rule) = policies.access().self_approval(request.asked.environment) else {
                        return Err(own_request(who));
                    };
                    decision.rule = Some(rule);
                }
                if request.asked.expires_at.is_some_and(|at| at <= now) {
                    let detail = "The token would have expired by now. Deny the request, and have it asked for anew.";
                    return Err(Refusal::new(Reason::AccessRequestDecided, detail));
                }
                let (link, claim) = ClaimLink::generate(&self.clock, after(now, policies.access().claim_ttl));
                let next = request.state.clone().approve(decision.clone(), claim);
                (next.map_err(|_| decided(request))?, Some(link))
            }
        };
        audit.rule = decision.rule.as_deref().map(Into::into);
        audit.detail = Some(format!("access request {id} of {}: {}", request.by, decision.reason));
        if !self.store.decide_access_request(DecideAccessRequest { id, to: state.clone(), audit }).await? {
            return Err(decided(request));
        }
        Ok(Requested { request: AccessRequest { state, ..request.clone() }, claim: link })
    }
}

fn own_request(who: &Operator) -> Refusal {
    let detail = format!(
        "'{}' asked for this access and may not approve it too; somebody else decides. 'self_approval' in access.toml \
         says where it is different.",
        who.name
    );
    Refusal::new(Reason::SelfApproval, detail).rule("access.toml self_approval")
}
