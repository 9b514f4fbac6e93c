//! An operator rotates a token: a second one with the same rights, and both work until the window ends.
//!
//! The old token's end is written with the new one, in one commit. Whoever still uses the old one is told so with every
//! answer, and the audit trail says it once an hour. Absent on purpose: any change of what the token may do; that is a
//! request for access.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::domain::admin::AdminAct;
use crate::domain::audit::{AuditAction, Outcome};
use crate::domain::ids::TokenId;
use crate::domain::principal::Operator;
use crate::domain::refusal::{Reason, Refusal};
use crate::identity::{Token, TokenKind};
use crate::store::{RotateOutcome, RotateToken, TokenHolder, TokenOrigin, TokenRecord};

use super::access::{after, check_life};
use super::authenticate::may;
use super::failure::{Refused, of};
use super::tokens::{blocked, describe, refused_about};
use super::{App, CreatedToken, RequestContext};

/// The longest window.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// How a token is rotated.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rotation {
    /// How long both work; as `change_window` in `access.toml` says where absent.
    pub window: Option<Duration>,
    /// When the new one stops working; after as long a life as the old one was given where absent.
    pub expires_at: Option<Timestamp>,
}

/// A token that was just rotated.
pub struct RotatedToken {
    /// The new one.
    pub created: CreatedToken,
    /// When the old one ends.
    pub old_ends_at: Timestamp,
}

impl App {
    /// The token that has taken this one's place, where that one is in force.
    pub(super) async fn living_successor(&self, record: &TokenRecord) -> Result<Option<TokenRecord>, Refusal> {
        let Some(id) = &record.successor else { return Ok(None) };
        let now = self.clock.now();
        Ok(self.store.token(id).await?.filter(|successor| successor.is_in_force(now)))
    }

    /// Rotates a token.
    ///
    /// # Errors
    /// The refusal, recorded.
    pub async fn rotate_token(
        &self,
        context: &RequestContext,
        who: &Operator,
        id: Result<TokenId, Refusal>,
        rotation: Result<Rotation, Refusal>,
    ) -> Result<RotatedToken, Refusal> {
        let (mut seen, named) = (None, id.as_ref().ok().cloned());
        match self.try_rotate_token(context, who, id, rotation, &mut seen).await {
            Ok(rotated) => Ok(rotated),
            Err(refusal) => {
                let complete = |entry| match (&seen, &named) {
                    (Some(old), _) => refused_about(old, entry),
                    (None, Some(id)) => of(format!("token {id}"), entry),
                    (None, None) => entry,
                };
                let action = AuditAction::RotateToken;
                Err(self.refuse_about(context, Refused::Operator(who), action, complete, refusal).await)
            }
        }
    }

    async fn try_rotate_token(
        &self,
        context: &RequestContext,
        who: &Operator,
        id: Result<TokenId, Refusal>,
        rotation: Result<Rotation, Refusal>,
        seen: &mut Option<TokenRecord>,
    ) -> Result<RotatedToken, Refusal> {
        let (id, rotation, now) = (id?, rotation?, self.clock.now());
        let Some(old) = self.store.token(&id).await? else {
            return Err(Refusal::new(Reason::NotFound, "There is no token with this id."));
        };
        let old = &*seen.insert(old);
        let kind = match &old.holder {
            TokenHolder::Operator { .. } => {
                may(who, AdminAct::Administer)?;
                TokenKind::Operator
            }
            TokenHolder::Workflow { environment, .. } => TokenKind::Workflow(*environment),
        };
        if old.origin != TokenOrigin::Provisioned {
            let detail = "This token was exchanged for another one and ends by itself; its client exchanges anew.";
            return Err(Refusal::new(Reason::TokenNotRotatable, detail));
        }
        let policies = self.policies.current();
        let window = rotation.window.unwrap_or(policies.access().change_window);
        if window > LONGEST {
            return Err(Refusal::new(Reason::InvalidField, "window: both tokens may work for 30 days at most."));
        }
        let most = after(now, policies.access().max_token_ttl);
        let expires_at = match rotation.expires_at {
            Some(at) => {
                check_life(at, now, most)?;
                at
            }
            None => {
                let followed = match &old.successor {
                    Some(successor) => self.store.token(successor).await?,
                    None => None,
                };
                most.min(same_life(followed.as_ref().unwrap_or(old), now))
            }
        };
        let old_ends_at = after(now, window);
        let old_ends_at = old.expires_at.map_or(old_ends_at, |own| own.min(old_ends_at));

        let (token, new, hash) = Token::generate(kind, &self.clock);
        let mut record = TokenRecord::new(new.clone(), hash, old.holder.clone(), now, Some(expires_at));
        record.binding = old.binding;
        let entry = context.entry(now, AuditAction::RotateToken, Outcome::Allowed, 201).by_operator(who);
        let mut audit = describe(old, entry);
        audit.detail = Some(format!("token {id} is followed by token {new} and ends at {old_ends_at:.0}"));
        let rotate = RotateToken { old: id.clone(), old_ends_at, new: record.clone(), audit };
        match self.store.rotate_token(rotate).await? {
            RotateOutcome::Rotated => {}
            RotateOutcome::NotInForce => {
                return Err(Refusal::new(Reason::TokenNotRotatable, "The token was revoked or has expired."));
            }
            RotateOutcome::HasSuccessor(successor) => {
                let detail = format!("The token was rotated already; rotate token {successor}, which has followed it.");
                return Err(Refusal::new(Reason::TokenNotRotatable, detail));
            }
            RotateOutcome::Blocked(block) => return Err(blocked(&block)),
        }
        self.authenticator.forget(&id);
        self.authenticator.forget(&new);
        Ok(RotatedToken { created: CreatedToken { token, record }, old_ends_at })
    }
}

/// The end of a life as long as the token was given; the last moment there is where it had none. Of a token that was rotated
/// before, its successor tells, which is dead: its own end was brought forward then.
fn same_life(old: &TokenRecord, now: Timestamp) -> Timestamp {
    let Some(end) = old.expires_at else { return Timestamp::MAX };
    let life: SignedDuration = end.duration_since(old.created_at);
    now.checked_add(life).unwrap_or(Timestamp::MAX)
}
