//! A request for access: asked, decided, and claimed once.
//!
//! `Pending → Approved → Claimed`; `Denied` ends what is pending or approved, and an approval that nobody claims in time
//! is `Lapsed`. Each transition consumes the request, so that nothing is claimed that was not approved, and nothing twice.
//! Absent on purpose: the token and the secret of the claim; the one is made when the other is spent, and only hashes of
//! both are kept.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::binding::Binding;
use super::bytes::Sha256Digest;
use super::ids::{AccessRequestId, AppName, OwnerName, TokenId, WorkflowName};
use super::principal::{Environment, Subject};
use super::revocation::RevocationTarget;
use super::scope::Scope;

/// A request for access, with everything that became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRequest {
    /// Its id.
    pub id: AccessRequestId,
    /// What is asked for.
    pub asked: AskedAccess,
    /// Which operator asked, for example `ada` or `cli:root`.
    pub by: String,
    /// Why, in the words of whoever asked.
    pub reason: String,
    /// When it was asked.
    pub created_at: Timestamp,
    /// How it stands.
    pub state: AccessState,
}

impl AccessRequest {
    /// When somebody decided; when it was asked, while nobody has.
    pub fn decided_at(&self) -> Timestamp {
        self.state.decision().map_or(self.created_at, |decision| decision.at)
    }

    /// What a revocation may name to void its approval: what the token would be for, and whoever has approved it.
    pub fn targets(&self) -> Vec<RevocationTarget> {
        let asked = &self.asked;
        let mut targets = vec![
            RevocationTarget::Workflow(asked.app.clone(), asked.workflow.clone()),
            RevocationTarget::App(asked.app.clone()),
            RevocationTarget::Owner(asked.owner.clone()),
        ];
        targets.extend(asked.changes.clone().map(RevocationTarget::Token));
        if let Some(subject) = asked.before.as_ref().and_then(|before| before.subject.as_ref()) {
            targets.push(RevocationTarget::User(subject.user.clone()));
            targets.extend(subject.device.clone().map(RevocationTarget::Device));
        }
        targets.extend(self.state.decision().into_iter().flat_map(|decision| decision.targets.clone()));
        targets
    }
}

/// The access that somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AskedAccess {
    /// The app; has a manifest.
    pub app: AppName,
    /// The workflow that will hold the token.
    pub workflow: WorkflowName,
    /// The business unit that answers for it.
    pub owner: OwnerName,
    /// Real or for trying things out.
    pub environment: Environment,
    /// What it will allow; never empty.
    pub scopes: Vec<Scope>,
    /// When the token will stop working; the longest life that `access.toml` allows where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The token whose scopes it changes: it ends once the new one is claimed and a window has passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<TokenId>,
    /// What of that token whoever decides must know besides; absent where nothing is changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<ChangedToken>,
    /// The key that whoever sends the token will have to prove to hold; of a change that of the token where it names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,
}

/// The token that a request changes, as it was when that was asked. None of this ever changes of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangedToken {
    /// For whom it acts; the new one will too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// The key that it is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,
}

/// Who decided, when and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// The operator, or `access.toml` where a rule decided.
    pub by: String,
    /// What a revocation may name to shut that operator out; where a rule decided, whoever asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<RevocationTarget>,
    /// When.
    pub at: Timestamp,
    /// The written reason.
    pub reason: String,
    /// The rule that allowed it in advance, or that allowed the requester to decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

/// A claim link as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// SHA-256 of its secret.
    pub hash: Sha256Digest,
    /// From when on it does not work any more.
    pub ends_at: Timestamp,
}

/// How a request stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "camelCase")]
pub enum AccessState {
    /// Nobody has decided.
    Pending,
    /// Somebody may claim the token.
    Approved {
        /// Who allowed it.
        decision: Decision,
        /// How it is claimed.
        claim: Claim,
    },
    /// The token was made and shown.
    Claimed {
        /// Who allowed it.
        decision: Decision,
        /// The token.
        token: TokenId,
        /// When it was claimed.
        at: Timestamp,
    },
    /// Refused, or withdrawn before anybody claimed it.
    Denied {
        /// Who refused it.
        decision: Decision,
    },
    /// Nobody claimed it in time.
    Lapsed {
        /// Who had allowed it.
        decision: Decision,
        /// Since when.
        at: Timestamp,
    },
}

/// The name of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AccessStateName {
    /// See [`AccessState::Pending`].
    Pending,
    /// See [`AccessState::Approved`].
    Approved,
    /// See [`AccessState::Claimed`].
    Claimed,
    /// See [`AccessState::Denied`].
    Denied,
    /// See [`AccessState::Lapsed`].
    Lapsed,
}

impl AccessStateName {
    /// Every state.
    pub const ALL: [AccessStateName; 5] = [Self::Pending, Self::Approved, Self::Claimed, Self::Denied, Self::Lapsed];

    /// The name in the database and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Claimed => "claimed",
            Self::Denied => "denied",
            Self::Lapsed => "lapsed",
        }
    }

    /// The state with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// A transition that the state does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request is {} and cannot be {to}", from.as_str())]
pub struct InvalidAccess {
    from: AccessStateName,
    to: &'static str,
}

impl AccessState {
    /// The state's name.
    pub fn name(&self) -> AccessStateName {
        match self {
            Self::Pending => AccessStateName::Pending,
            Self::Approved { .. } => AccessStateName::Approved,
            Self::Claimed { .. } => AccessStateName::Claimed,
            Self::Denied { .. } => AccessStateName::Denied,
            Self::Lapsed { .. } => AccessStateName::Lapsed,
        }
    }

    /// The decision, where there is one.
    pub fn decision(&self) -> Option<&Decision> {
        match self {
            Self::Pending => None,
            Self::Approved { decision, .. }
            | Self::Claimed { decision, .. }
            | Self::Denied { decision }
            | Self::Lapsed { decision, .. } => Some(decision),
        }
    }

    /// The claim that is still to be spent.
    pub fn claim(&self) -> Option<&Claim> {
        match self {
            Self::Approved { claim, .. } => Some(claim),
            _ => None,
        }
    }

    /// Somebody, or a rule, allows what is pending.
    ///
    /// # Errors
    /// [`InvalidAccess`] where it is not pending.
    pub fn approve(self, decision: Decision, claim: Claim) -> Result<Self, InvalidAccess> {
        match self {
            Self::Pending => Ok(Self::Approved { decision, claim }),
            other => Err(other.refuse("approved")),
        }
    }

    /// Somebody refuses what is pending, or takes back what nobody has claimed; a claim link dies with it.
    ///
    /// # Errors
    /// [`InvalidAccess`] where it has ended.
    pub fn deny(self, decision: Decision) -> Result<Self, InvalidAccess> {
        match self {
            Self::Pending | Self::Approved { .. } => Ok(Self::Denied { decision }),
            other => Err(other.refuse("denied")),
        }
    }

    /// The token was made and shown.
    ///
    /// # Errors
    /// [`InvalidAccess`] where it is not approved.
    pub fn claimed(self, token: TokenId, at: Timestamp) -> Result<Self, InvalidAccess> {
        match self {
            Self::Approved { decision, .. } => Ok(Self::Claimed { decision, token, at }),
            other => Err(other.refuse("claimed")),
        }
    }

    /// As it stands now: what was approved and not claimed in time has lapsed, whether or not anybody wrote that down.
    #[must_use]
    pub fn as_of(self, now: Timestamp) -> Self {
        match self {
            Self::Approved { decision, claim } if claim.ends_at <= now => Self::Lapsed { decision, at: claim.ends_at },
            other => other,
        }
    }

    fn refuse(&self, to: &'static str) -> InvalidAccess {
        InvalidAccess { from: self.name(), to }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-11-21T{text}Z").parse().unwrap()
    }

    fn decision() -> Decision {
        Decision { by: "ada".into(), targets: vec![], at: at("10:00:00"), reason: "agreed".into(), rule: None }
    }

    fn approved() -> AccessState {
        let claim = Claim { hash: Sha256Digest([7; 32]), ends_at: at("11:00:00") };
        AccessState::Pending.approve(decision(), claim).unwrap()
    }

    fn token() -> TokenId {
        "AAAAAAAAAAAAAAAA".parse().unwrap()
    }

    #[test]
    fn only_what_was_approved_is_claimed_and_only_once() {
        assert!(AccessState::Pending.claimed(token(), at("10:01:00")).is_err());
        let claimed = approved().claimed(token(), at("10:01:00")).unwrap();
        assert_eq!((claimed.name(), claimed.claim()), (AccessStateName::Claimed, None));
        let again = claimed.clone().claimed(token(), at("10:02:00")).unwrap_err();
        assert_eq!(again.to_string(), "the request is claimed and cannot be claimed");
        assert!(
            claimed.clone().deny(decision()).is_err()
                && claimed.approve(decision(), *approved().claim().unwrap()).is_err()
        );
    }

    #[test]
    fn a_denial_ends_what_is_pending_or_approved() {
        for state in [AccessState::Pending, approved()] {
            let denied = state.deny(decision()).unwrap();
            assert_eq!((denied.name(), denied.claim()), (AccessStateName::Denied, None));
            assert!(denied.claimed(token(), at("10:01:00")).is_err());
        }
    }

    #[test]
    fn what_nobody_claims_in_time_lapses() {
        assert_eq!(approved().as_of(at("10:59:59")).name(), AccessStateName::Approved);
        let lapsed = approved().as_of(at("11:00:00"));
        assert_eq!((lapsed.name(), lapsed.decision()), (AccessStateName::Lapsed, Some(&decision())));
        assert!(lapsed.clone().claimed(token(), at("11:00:00")).is_err() && lapsed.deny(decision()).is_err());
        assert_eq!(AccessState::Pending.as_of(at("23:00:00")), AccessState::Pending);
    }

    #[test]
    fn a_state_reads_back_what_it_writes() {
        for state in [AccessState::Pending, approved(), approved().claimed(token(), at("10:01:00")).unwrap()] {
            let text = serde_json::to_string(&state).unwrap();
            assert_eq!(serde_json::from_str::<AccessState>(&text).unwrap(), state);
            assert!(text.contains(&format!(r#""state":"{}""#, state.name().as_str())), "{text}");
        }
        assert!(AccessStateName::ALL.iter().all(|name| AccessStateName::from_name(name.as_str()) == Some(*name)));
    }
}
