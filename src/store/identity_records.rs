//! Tokens and their revocations, as plain data.

use jiff::Timestamp;

use crate::domain::admin::AdminRoles;
use crate::domain::audit::AuditEntry;
use crate::domain::binding::Binding;
use crate::domain::bytes::Sha256Digest;
use crate::domain::ids::{AccessRequestId, AppName, KeyId, ObjectId, OwnerName, RevocationId, TokenId, WorkflowName};
use crate::domain::principal::{Environment, Subject};
use crate::domain::revocation::RevocationTarget;
use crate::domain::scope::Scope;

/// What a stored token is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenHolder {
    /// A workflow of an app.
    Workflow {
        /// The app.
        app: AppName,
        /// The workflow.
        workflow: WorkflowName,
        /// Who answers for it.
        owner: OwnerName,
        /// Real or for trying things out.
        environment: Environment,
        /// What it allows.
        scopes: Vec<Scope>,
        /// The person on whose behalf the workflow acts, where somebody vouched for one.
        subject: Option<Subject>,
    },
    /// An operator of the admin listener.
    Operator {
        /// The operator's name.
        name: String,
        /// What the operator may do.
        roles: AdminRoles,
    },
}

/// How a token came to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TokenOrigin {
    /// An operator made it for a workflow, or for an operator.
    #[default]
    Provisioned,
    /// For the assertion of an identity provider (RFC 8693).
    Exchanged,
    /// A workflow narrowed its own.
    Derived,
}

impl TokenOrigin {
    /// Every origin.
    pub const ALL: [TokenOrigin; 3] = [Self::Provisioned, Self::Exchanged, Self::Derived];

    /// The origin's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provisioned => "provisioned",
            Self::Exchanged => "exchanged",
            Self::Derived => "derived",
        }
    }

    /// The origin with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|origin| origin.as_str() == name)
    }
}

/// A token as it is stored: a hash and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    /// The public half; of a JWT its `jti`.
    pub id: TokenId,
    /// SHA-256 of the whole token.
    pub hash: Sha256Digest,
    /// Whose it is.
    pub holder: TokenHolder,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// How it came to be.
    pub origin: TokenOrigin,
    /// The trusted issuer by its name, where it was made for an assertion.
    pub issuer: Option<String>,
    /// The token that it was derived from; it never outlives that one.
    pub parent: Option<TokenId>,
    /// The key that whoever presents it must prove to hold.
    pub binding: Option<Binding>,
    /// The key of the gateway that has signed it, where it is a JWT.
    pub key: Option<KeyId>,
    /// When it was last accepted; written now and then, so that it may be some minutes behind.
    pub last_used_at: Option<Timestamp>,
    /// The token that replaces it.
    pub successor: Option<TokenId>,
    /// The request for access that it was made for.
    pub request: Option<AccessRequestId>,
}

impl TokenRecord {
    /// A provisioned token, bound to nothing and not yet used.
    pub fn new(
        id: TokenId,
        hash: Sha256Digest,
        holder: TokenHolder,
        created_at: Timestamp,
        expires_at: Option<Timestamp>,
    ) -> Self {
        Self {
            id,
            hash,
            holder,
            created_at,
            expires_at,
            revoked_at: None,
            origin: TokenOrigin::Provisioned,
            issuer: None,
            parent: None,
            binding: None,
            key: None,
            last_used_at: None,
            successor: None,
            request: None,
        }
    }

    /// Whether it is neither revoked nor past its end.
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|expires_at| expires_at > now)
    }

    /// Whether this one may be derived from it: it is in force, and lives no shorter.
    pub(super) fn may_have(&self, child: &TokenRecord) -> bool {
        let long_enough = self.expires_at.is_none_or(|own| child.expires_at.is_some_and(|end| end <= own));
        self.is_in_force(child.created_at) && long_enough
    }

    /// Everything but the token itself that a revocation may name to kill it.
    pub fn targets(&self) -> Vec<RevocationTarget> {
        let mut targets = Vec::with_capacity(6);
        if let TokenHolder::Workflow { app, workflow, owner, subject, .. } = &self.holder {
            targets.push(RevocationTarget::Workflow(app.clone(), workflow.clone()));
            targets.push(RevocationTarget::App(app.clone()));
            targets.push(RevocationTarget::Owner(owner.clone()));
            if let Some(subject) = subject {
                targets.push(RevocationTarget::User(subject.user.clone()));
                targets.extend(subject.device.clone().map(RevocationTarget::Device));
            }
        }
        targets.extend(self.key.clone().map(RevocationTarget::Key));
        targets
    }
}

/// How [`super::IdentityStore::create_token`] ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreateOutcome {
    /// Saved.
    Created,
    /// A revocation forbids tokens for its workflow, app, owner, person, device or key. Nothing was written.
    Blocked(Box<RevocationRecord>),
    /// The token that it was derived from is not there, revoked, or past its end. Nothing was written.
    ParentEnded,
}

/// A page of tokens.
#[derive(Clone, Debug)]
pub struct TokenQuery {
    /// Only of this app.
    pub app: Option<AppName>,
    /// Only of this owner.
    pub owner: Option<OwnerName>,
    /// Only with this origin: those that were exchanged are many.
    pub origin: Option<TokenOrigin>,
    /// Only those that are neither revoked nor past their end at this time.
    pub in_force_at: Option<Timestamp>,
    /// Only those that come after this one, the last of the page before: its creation and its id.
    pub before: Option<(Timestamp, TokenId)>,
    /// How many at most.
    pub limit: usize,
}

impl Default for TokenQuery {
    fn default() -> Self {
        Self { app: None, owner: None, origin: None, in_force_at: None, before: None, limit: usize::MAX }
    }
}

/// A token to take the place of another, which goes on working for a while.
#[derive(Clone, Debug)]
pub struct RotateToken {
    /// The token to be replaced …
    pub old: TokenId,
    /// … which ends then, or when it would have ended anyhow.
    pub old_ends_at: Timestamp,
    /// The token that replaces it.
    pub new: TokenRecord,
    /// The entry of the rotation.
    pub audit: AuditEntry,
}

/// How [`super::IdentityStore::rotate_token`] ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RotateOutcome {
    /// The new one is saved, and the old one's end is set.
    Rotated,
    /// The old one is not there, revoked, or past its end. Nothing was written.
    NotInForce,
    /// The old one was rotated before, and this one, which is in force, replaces it. Nothing was written.
    HasSuccessor(TokenId),
    /// A revocation forbids the new one. Nothing was written.
    Blocked(Box<RevocationRecord>),
}

/// A revocation to be made.
#[derive(Clone, Debug)]
pub struct Revoke {
    /// Its id, a fresh one.
    pub id: RevocationId,
    /// What is revoked.
    pub target: RevocationTarget,
    /// When.
    pub at: Timestamp,
    /// Which operator revokes.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Whether new tokens for the target are forbidden from now on.
    pub blocks: bool,
    /// Whether what was uploaded under it is to be contained.
    pub contain: bool,
    /// The entry of the revocation.
    pub audit: AuditEntry,
}

/// What a revocation has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revoked {
    /// How many tokens it ended that were in force.
    pub killed: u64,
    /// The first of them, a hundred at most.
    pub tokens: Vec<TokenId>,
}

/// The end of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifted {
    /// When.
    pub at: Timestamp,
    /// By which operator.
    pub by: String,
}

/// A revocation that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationRecord {
    /// Its id.
    pub id: RevocationId,
    /// What was revoked.
    pub target: RevocationTarget,
    /// When.
    pub at: Timestamp,
    /// By which operator.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Whether new tokens for the target were forbidden; they are until [`RevocationRecord::lifted`].
    pub blocks: bool,
    /// The end of the block.
    pub lifted: Option<Lifted>,
    /// Whether what was uploaded under it is to be contained.
    pub contain: bool,
    /// When all of that was contained.
    pub contained_at: Option<Timestamp>,
    /// How many tokens it ended.
    pub killed: u64,
}

impl RevocationRecord {
    /// Whether new tokens for the target are forbidden.
    pub fn is_blocking(&self) -> bool {
        self.blocks && self.lifted.is_none()
    }
}

/// A page of revocations.
#[derive(Clone, Debug, Default)]
pub struct RevocationQuery {
    /// Only those that block.
    pub blocking: bool,
    /// Only of this target.
    pub target: Option<RevocationTarget>,
    /// Only older than this one: the last of the page before.
    pub before: Option<RevocationId>,
    /// How many at most.
    pub limit: usize,
}

/// A page of what was uploaded under a target.
#[derive(Clone, Debug)]
pub struct ObjectsOf {
    /// The target: for a token also what those derived from it have uploaded.
    pub target: RevocationTarget,
    /// Only after this one: the last of the page before.
    pub after: Option<ObjectId>,
    /// How many at most.
    pub limit: usize,
    /// Whether it may take minutes, on a connection of its own; otherwise it ends at the deadline of every other list.
    pub patient: bool,
}
