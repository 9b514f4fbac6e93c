//! An operator makes and lists tokens.

use jiff::Timestamp;

use crate::domain::admin::{AdminAct, AdminRoles};
use crate::domain::audit::{AuditAction, AuditEntry, Outcome};
use crate::domain::binding::Binding;
use crate::domain::ids::{AppName, OwnerName, TokenId, WorkflowName};
use crate::domain::principal::{Environment, Operator, Subject};
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::scope::Scope;
use crate::domain::text::without_tokens;
use crate::identity::{Token, TokenKind};
use crate::store::{CreateOutcome, RevocationRecord, TokenHolder, TokenQuery, TokenRecord};

use super::access::{RULES, after, check_life};
use super::authenticate::may;
use super::failure::Refused;
use super::{App, RequestContext};

/// What to make a token for.
#[derive(Clone, Debug)]
pub enum NewToken {
    /// A workflow of an app.
    Workflow {
        /// The app; must have a manifest.
        app: AppName,
        /// The workflow.
        workflow: WorkflowName,
        /// Who answers for it; the manifest's owner where absent.
        owner: Option<OwnerName>,
        /// Real or for trying things out.
        environment: Environment,
        /// What it allows; everything of the app where empty.
        scopes: Vec<Scope>,
        /// The person on whose behalf it acts, as whoever makes the token vouches for them.
        subject: Option<Subject>,
        /// The key that whoever sends it must prove to hold.
        binding: Option<Binding>,
        /// When it stops working.
        expires_at: Option<Timestamp>,
    },
    /// An operator of the admin listener.
    Operator {
        /// The operator's name.
        name: String,
        /// What the operator may do; never empty.
        roles: AdminRoles,
        /// When it stops working.
        expires_at: Option<Timestamp>,
    },
}

/// A token that was just made. The secret is shown once and never again.
pub struct CreatedToken {
    /// The whole token; a credential.
    pub token: Token,
    /// What was saved.
    pub record: TokenRecord,
}

impl App {
    /// Makes a token.
    ///
    /// # Errors
    /// The refusal, recorded.
    pub async fn create_token(
        &self,
        context: &RequestContext,
        who: &Operator,
        new: Result<NewToken, Refusal>,
    ) -> Result<CreatedToken, Refusal> {
        match self.try_create_token(context, who, new).await {
            Ok(created) => Ok(created),
            Err(refusal) => {
                Err(self.refuse(context, Refused::Operator(who), AuditAction::CreateToken, None, refusal).await)
            }
        }
    }

    async fn try_create_token(
        &self,
        context: &RequestContext,
        who: &Operator,
        new: Result<NewToken, Refusal>,
    ) -> Result<CreatedToken, Refusal> {
        let now = self.clock.now();
        let (kind, holder, binding, expires_at) = match new? {
            NewToken::Workflow { app, workflow, owner, environment, scopes, subject, binding, expires_at } => {
                let policies = self.policies.current();
                let Some(manifest) = policies.app(&app) else {
                    return Err(Refusal::new(
                        Reason::AppUnknown,
                        format!("No manifest registers the app '{app}'. Add policies/apps/{app}.toml first."),
                    )
                    .allowed(policies.apps().map(|known| known.app.to_string())));
                };
                if let Some(foreign) = scopes.iter().find(|scope| scope.app != app) {
                    return Err(Refusal::new(
                        Reason::InvalidField,
                        format!("The scope '{foreign}' is for another app; a token belongs to one app."),
                    ));
                }
                if let Some(Err(error)) = subject.as_ref().map(Subject::check) {
                    return Err(Refusal::new(Reason::InvalidField, format!("subject: {error}.")));
                }
                let owner = owner.unwrap_or_else(|| manifest.owner.clone());
                let scopes = if scopes.is_empty() { vec![Scope::whole_app(app.clone())] } else { scopes };
                let holder = TokenHolder::Workflow { app, workflow, owner, environment, scopes, subject };
                let most = after(now, policies.access().max_token_ttl);
                let ends = expires_at.unwrap_or(most);
                check_life(ends, now, most)?;
                (TokenKind::Workflow(environment), holder, binding, Some(ends))
            }
            NewToken::Operator { name, roles, expires_at } => {
                may(who, AdminAct::Administer)?;
                let name = name_of_operator(&name)?;
                (TokenKind::Operator, TokenHolder::Operator { name, roles }, None, expires_at)
            }
        };
        if expires_at.is_some_and(|at| at <= now) {
            return Err(Refusal::new(Reason::InvalidField, "expiresAt lies in the past."));
        }
        let (token, id, hash) = Token::generate(kind, &self.clock);
        let record = TokenRecord { binding, ..TokenRecord::new(id, hash, holder, now, expires_at) };
        let audit = context.entry(now, AuditAction::CreateToken, Outcome::Allowed, 201).by_operator(who);
        let audit = describe(&record, audit);
        match self.store.create_token(record.clone(), audit).await? {
            CreateOutcome::Created => Ok(CreatedToken { token, record }),
            CreateOutcome::Blocked(block) => Err(blocked(&block)),
            // It has none.
            CreateOutcome::ParentEnded => Err(Refusal::new(Reason::TokenRevoked, "The token's parent has ended.")),
        }
    }

    /// A page of tokens, newest first, without their secrets, after the token that is named; and the last one where there
    /// are more.
    ///
    /// # Errors
    /// The refusal, recorded.
    pub async fn list_tokens(
        &self,
        context: &RequestContext,
        who: &Operator,
        query: Result<(TokenQuery, Option<TokenId>), Refusal>,
    ) -> Result<(Vec<TokenRecord>, Option<TokenId>), Refusal> {
        let query = match query {
            Ok((query, after)) => self.after(query, after).await,
            Err(refusal) => Err(refusal),
        };
        let mut query = self.looked(context, who, AuditAction::ListTokens, query).await?;
        query.limit = query.limit.saturating_add(1);
        let mut tokens = self.store.tokens(query.clone()).await?;
        let more = tokens.len() == query.limit;
        tokens.truncate(query.limit - 1);
        let next = tokens.last().filter(|_| more).map(|token| token.id.clone());
        Ok((tokens, next))
    }

    async fn after(&self, query: TokenQuery, after: Option<TokenId>) -> Result<TokenQuery, Refusal> {
        let Some(id) = after else { return Ok(query) };
        let Some(token) = self.store.token(&id).await? else {
            return Err(Refusal::new(Reason::InvalidField, "cursor: there is no token with this id."));
        };
        Ok(TokenQuery { before: Some((token.created_at, token.id)), ..query })
    }
}

/// The name of an operator whose token is the gateway's own. The audit trail names them all alike, so that it is none that
/// stands for somebody else there: who logs in at an issuer is `<issuer>:<sub>`, the command line `cli:<user>`.
fn name_of_operator(name: &str) -> Result<String, Refusal> {
    let name = name.trim();
    let text = (1..=100).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    if text && !name.contains(':') && name != RULES && without_tokens(name) == name {
        return Ok(name.to_owned());
    }
    let detail = format!(
        "operator: a name has 1 to 100 characters, no control character, no ':' and no token in it; '{RULES}' is taken."
    );
    Err(Refusal::new(Reason::InvalidField, detail))
}

/// A token that would belong to somebody for whom none may be made.
pub(super) fn blocked(block: &RevocationRecord) -> Refusal {
    let detail = format!(
        "{} revoked {} and blocks new tokens for it until the block is lifted ({}).",
        block.by, block.target, block.id
    );
    Refusal::new(Reason::AccessBlocked, detail)
}

/// [`describe`] for a refusal, whose own detail stays.
pub(super) fn refused_about(record: &TokenRecord, mut entry: AuditEntry) -> AuditEntry {
    let why = entry.detail.take().unwrap_or_default();
    let mut entry = describe(record, entry);
    entry.detail = Some(format!("{}: {why}", entry.detail.unwrap_or_default()));
    entry
}

/// Says in an operator's entry which token it was about.
pub(super) fn describe(record: &TokenRecord, mut entry: AuditEntry) -> AuditEntry {
    let bound = record.binding.map_or_else(String::new, |binding| format!(", bound to {binding}"));
    entry.detail = Some(format!("token {}{bound}", record.id));
    match &record.holder {
        TokenHolder::Workflow { app, workflow, owner, scopes, subject, .. } => {
            entry.app = Some(app.clone());
            entry.workflow = Some(workflow.clone());
            entry.owner = Some(owner.clone());
            entry.scopes = scopes.iter().map(ToString::to_string).collect();
            if let Some(subject) = subject {
                entry = entry.for_subject(subject);
            }
        }
        TokenHolder::Operator { name, roles } => {
            entry.detail = Some(format!("admin token {} of {name} ({roles})", record.id));
        }
    }
    entry
}
