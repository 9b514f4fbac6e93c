//! Somebody asks for access: for a new token, or for other scopes than a token has.
//!
//! What `access.toml` allows in advance is approved in the same commit, and the audit entry names the rule.

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::access::{AccessRequest, AccessState, AskedAccess, ChangedToken, Decision};
use crate::domain::audit::{AuditAction, Outcome};
use crate::domain::binding::Binding;
use crate::domain::ids::{AccessRequestId, AppName, OwnerName, TokenId, WorkflowName};
use crate::domain::principal::{Environment, Operator};
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::scope::Scope;
use crate::policy::{PolicySet, bound_as_demanded};
use crate::store::{TokenHolder, TokenOrigin, TokenRecord};

use super::super::failure::Refused;
use super::super::review::written_reason;
use super::super::{App, RequestContext};
use super::{ClaimLink, RULES, Requested, about, after};

/// What somebody asks for.
#[derive(Clone, Debug)]
pub struct NewAccessRequest {
    /// The app; that of the token where it changes one.
    pub app: Option<AppName>,
    /// The workflow; that of the token where it changes one.
    pub workflow: Option<WorkflowName>,
    /// Who answers for it; the token's or the manifest's owner where absent.
    pub owner: Option<OwnerName>,
    /// Real or for trying things out; as the token where it changes one, else live where absent.
    pub environment: Option<Environment>,
    /// What it should allow.
    pub scopes: Vec<Scope>,
    /// Why; only what is allowed in advance may go without.
    pub reason: Option<String>,
    /// When the token should stop working; the longest life allowed where absent.
    pub expires_at: Option<Timestamp>,
    /// The token whose scopes should change.
    pub changes: Option<TokenId>,
    /// The key that whoever sends the token must prove to hold; where it changes a token and this is absent, that one's.
    pub binding: Option<Binding>,
}

impl App {
    /// Asks for access. The request, with a claim link where it was allowed in advance.
    ///
    /// # Errors
    /// The refusal, recorded.
    pub async fn request_access(
        &self,
        context: &RequestContext,
        who: &Operator,
        new: Result<NewAccessRequest, Refusal>,
    ) -> Result<Requested, Refusal> {
        match self.try_request_access(context, who, new).await {
            Ok(requested) => Ok(requested),
            Err(refusal) => {
                Err(self.refuse(context, Refused::Operator(who), AuditAction::RequestAccess, None, refusal).await)
            }
        }
    }

    async fn try_request_access(
        &self,
        context: &RequestContext,
        who: &Operator,
        new: Result<NewAccessRequest, Refusal>,
    ) -> Result<Requested, Refusal> {
        let new = new?;
        let (policies, now) = (self.policies.current(), self.clock.now());
        let mut asked = self.asked(&policies, &new, now).await?;
        let rules = policies.access();
        let most = after(now, rules.max_token_ttl);
        if let Some(at) = asked.expires_at {
            check_life(at, now, most)?;
        }
        let life = asked.expires_at.map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default());
        let rule = rules.automatic(&asked, life, new.reason.is_some());
        let why = match (&new.reason, rule) {
            (None, Some(_)) => String::new(),
            (why, _) => written_reason(Ok(why.clone().unwrap_or_default()), "A request for access")?,
        };
        asked.expires_at.get_or_insert(rule.map_or(most, |rule| after(now, rule.max_ttl)));

        let id = AccessRequestId::from_uuid(self.clock.uuid());
        let entry = context.entry(now, AuditAction::RequestAccess, Outcome::Allowed, 201).by_operator(who);
        let mut audit = about(&asked, entry);
        let (state, claim) = match rule {
            None => (AccessState::Pending, None),
            Some(rule) => {
                audit.rule = Some(rule.rule().into());
                let (link, claim) = ClaimLink::generate(&self.clock, after(now, rules.claim_ttl));
                let reason = "allowed in advance".to_owned();
                let decision = Decision {
                    by: RULES.to_owned(),
                    targets: who.targets.clone(),
                    at: now,
                    reason,
                    rule: Some(rule.rule()),
                };
                (AccessState::Approved { decision, claim }, Some(link))
            }
        };
        let how = if claim.is_some() { "approved in advance" } else { "pending" };
        audit.detail = Some(match &asked.changes {
            Some(token) => format!("access request {id}, {how}, for other scopes than token {token} has: {why}"),
            None => format!("access request {id}, {how}: {why}"),
        });
        let request = AccessRequest { id, asked, by: who.name.clone(), reason: why, created_at: now, state };
        self.store.create_access_request(request.clone(), audit).await?;
        Ok(Requested { request, claim })
    }

    /// What is asked for, whole: every name is known, every scope is the app's.
    async fn asked(
        &self,
        policies: &PolicySet,
        new: &NewAccessRequest,
        now: Timestamp,
    ) -> Result<AskedAccess, Refusal> {
        let before = match &new.changes {
            Some(id) => Some(self.changeable(id, now).await?),
            None => None,
        };
        let (app, workflow, environment, own) = match &before {
            Some(record) => same_holder(record, new)?,
            None => {
                let (Some(app), Some(workflow)) = (new.app.clone(), new.workflow.clone()) else {
                    let detail = "app, workflow: both are needed, for example where2eat and menu-import.";
                    return Err(invalid(detail));
                };
                (app, workflow, new.environment.unwrap_or(Environment::Live), None)
            }
        };
        let Some(manifest) = policies.app(&app) else {
            let detail = format!("No manifest registers the app '{app}'. Add policies/apps/{app}.toml first.");
            let known = policies.apps().map(|known| known.app.to_string());
            return Err(Refusal::new(Reason::AppUnknown, detail).allowed(known));
        };
        if new.scopes.is_empty() {
            let detail = format!("scopes: name at least one, for example storage:*:{app}:read.");
            return Err(invalid(detail));
        }
        if let Some(foreign) = new.scopes.iter().find(|scope| scope.app != app) {
            return Err(invalid(format!("The scope '{foreign}' is for another app; a token belongs to one app.")));
        }
        let owner = new.owner.clone().or(own).unwrap_or_else(|| manifest.owner.clone());
        if !policies.knows_owner(&owner) {
            let mut known: Vec<String> = policies.apps().map(|app| app.owner.to_string()).collect();
            known.sort();
            known.dedup();
            let detail = format!("owner: no app has the owner '{owner}', so that nobody would answer for the token.");
            return Err(invalid(detail).allowed(known));
        }
        let before = before.map(|record| match record.holder {
            TokenHolder::Workflow { subject, .. } => ChangedToken { subject, binding: record.binding },
            TokenHolder::Operator { .. } => ChangedToken { subject: None, binding: record.binding },
        });
        let binding = new.binding.or(before.as_ref().and_then(|before| before.binding));
        bound_as_demanded(manifest, binding.as_ref().map(Binding::possession))?;
        let (scopes, expires_at, changes) = (new.scopes.clone(), new.expires_at, new.changes.clone());
        Ok(AskedAccess { app, workflow, owner, environment, scopes, expires_at, changes, before, binding })
    }

    /// A workflow's own token that is in force.
    async fn changeable(&self, id: &TokenId, now: Timestamp) -> Result<TokenRecord, Refusal> {
        let record = self.store.token(id).await?.filter(|record| record.origin == TokenOrigin::Provisioned);
        let record = record.filter(|record| matches!(record.holder, TokenHolder::Workflow { .. }));
        let record = match record.filter(|record| record.is_in_force(now)) {
            Some(record) if self.living_successor(&record).await?.is_none() => Some(record),
            _ => None,
        };
        record.ok_or_else(|| invalid(format!("changes: '{id}' is no token of a workflow that is in force.")))
    }
}

type Whose = (AppName, WorkflowName, Environment, Option<OwnerName>);

/// Whose token is changed; what the request names besides must be the same.
fn same_holder(record: &TokenRecord, new: &NewAccessRequest) -> Result<Whose, Refusal> {
    let TokenHolder::Workflow { app, workflow, owner, environment, .. } = &record.holder else {
        return Err(invalid("changes: this is an operator's token."));
    };
    let other = new.app.as_ref().is_some_and(|own| own != app)
        || new.workflow.as_ref().is_some_and(|own| own != workflow)
        || new.environment.is_some_and(|own| own != *environment);
    if other {
        let detail = format!(
            "changes: the token is {app}/{workflow}'s ({}), and stays it; ask for a new one for anybody else.",
            environment.as_str()
        );
        return Err(invalid(detail));
    }
    Ok((app.clone(), workflow.clone(), *environment, Some(owner.clone())))
}

/// A token's end lies ahead, and not too far.
pub(in crate::app) fn check_life(at: Timestamp, now: Timestamp, most: Timestamp) -> Result<(), Refusal> {
    if at <= now {
        return Err(invalid("expiresAt lies in the past."));
    }
    if at > most {
        let detail = format!("expiresAt: no token may live beyond {most:.0}; 'max_token_ttl' in access.toml decides.");
        return Err(invalid(detail).rule("access.toml max_token_ttl"));
    }
    Ok(())
}

fn invalid(detail: impl Into<String>) -> Refusal {
    Refusal::new(Reason::InvalidField, detail)
}
