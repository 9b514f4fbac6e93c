//! One line of the audit trail.
//!
//! Written before the answer leaves the process, for every issuance, refusal, state change and admin act. Holds ids and
//! digests, never a token, a key, a signature or a signed URL.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::asked::AskedFor;
use super::bytes::Sha256Digest;
use super::ids::{AppName, ClassName, GrantId, ObjectId, OwnerName, RoleName, TokenId, WorkflowName};
use super::object::Object;
use super::principal::{Operator, Principal, Subject};
use super::refusal::Reason;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AuditAction {
    /// An upload URL was requested.
    RequestUpload,
    /// A download URL was requested.
    RequestDownload,
    /// A one-time link was followed.
    FollowLink,
    /// An object's record was read.
    ReadObject,
    /// Objects were listed.
    ListObjects,
    /// An app asked what it may do and what is left.
    ReadLimits,
    /// An app deleted its object.
    DeleteObject,
    /// An object changed its state.
    ChangeState,
    /// Bytes appeared under a finished upload and were removed.
    RemoveStray,
    /// A token was exchanged for a narrower one (RFC 8693).
    ExchangeToken,
    /// A workflow asked about a token of its app (RFC 7662), or somebody for the gateway's keys.
    IntrospectToken,
    /// A token was presented and refused.
    Authenticate,
    /// Wrong secrets were presented for a token's id.
    WrongSecret,
    /// An operator created a token.
    CreateToken,
    /// An operator gave a token a successor.
    RotateToken,
    /// A token was used that has a successor.
    UseRotatedToken,
    /// Somebody asked for access.
    RequestAccess,
    /// An operator approved a request for access.
    ApproveAccess,
    /// An operator denied a request for access, or took an approval back.
    DenyAccess,
    /// An operator looked at requests for access.
    ReadAccess,
    /// A claim link was looked at in vain, or spent for a token.
    ClaimToken,
    /// An operator looked at who has what.
    ReviewAccess,
    /// An operator listed tokens.
    ListTokens,
    /// An operator revoked a token.
    RevokeToken,
    /// An operator revoked everything of a workflow, an app, a person, a device, an owner or a signing key.
    Revoke,
    /// An operator lifted the block of a revocation.
    LiftRevocation,
    /// An operator looked at revocations.
    ReadRevocations,
    /// An object was held, or its upload ended, because whoever uploaded it was revoked.
    ContainObject,
    /// Everything that was uploaded under a revocation is held or over.
    FinishContainment,
    /// An operator listed the nodes.
    ListNodes,
    /// An operator listed the apps.
    ListApps,
    /// A reviewer released a held object.
    ReleaseObject,
    /// An operator looked which keys there are.
    ListKeys,
    /// A key of the gateway was made, in place of the one before.
    RotateKey,
    /// A reviewer agreed to a release that needs others too.
    ApproveRelease,
    /// A reviewer had a held object inspected again.
    InspectAgain,
    /// A reviewer deleted an object.
    ReviewDelete,
    /// An operator read the audit trail.
    ReadAudit,
    /// The policy set was reloaded, or a reload was refused.
    ReloadPolicy,
    /// Entries past their retention were removed from the audit trail.
    PruneAudit,
    /// The whole state was copied here from another database.
    CopyStore,
    /// A copy of the whole state was made.
    BackUpStore,
    /// Quotas were compared with what is there.
    AuditQuota,
    /// Counts of quotas were put right.
    RepairQuota,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It was allowed and done.
    Allowed,
    /// It was refused.
    Refused,
}

/// One record. Absent fields did not apply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// RFC 3339, UTC, microseconds.
    #[serde(with = "micros")]
    pub time: Timestamp,
    /// What happened.
    pub action: AuditAction,
    /// How it ended.
    pub outcome: Outcome,
    /// The refusal's code, or the reason of a rejected object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The rule that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Arc<str>>,
    /// The public half of the token that was presented.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_id: Option<TokenId>,
    /// The workflow that asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<WorkflowName>,
    /// The app that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppName>,
    /// The user on whose behalf it acted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What the user is to the organisation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    /// The project that the user works in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The device that the user acted from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Who answers for the workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<OwnerName>,
    /// The operator, for admin acts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// The token's scopes.
    #[serde(default, skip_serializing_if = "<[String]>::is_empty")]
    pub scopes: Arc<[String]>,
    /// The object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_id: Option<ObjectId>,
    /// The grant that was issued; the URL carries it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant_id: Option<GrantId>,
    /// The state before a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_state: Option<Cow<'static, str>>,
    /// The state after a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_state: Option<Cow<'static, str>>,
    /// The data class.
    #[serde(default, rename = "data_classification", skip_serializing_if = "Option::is_none")]
    pub classification: Option<ClassName>,
    /// The lawful basis that the request named.
    #[serde(default, rename = "lawful_basis", skip_serializing_if = "Option::is_none")]
    pub lawful_basis: Option<String>,
    /// Where the target's data resides.
    #[serde(default, rename = "data_residency_region", skip_serializing_if = "Option::is_none")]
    pub residency: Option<Arc<str>>,
    /// The route's pattern, for example `/objects/{id}`; never the raw address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Cow<'static, str>>,
    /// The HTTP method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Cow<'static, str>>,
    /// The HTTP status of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// From the request's arrival to this record, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_micros: Option<u64>,
    /// The client's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_address: Option<IpAddr>,
    /// The request's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<Arc<str>>,
    /// The SHA-256 of the request body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_sha256: Option<Sha256Digest>,
    /// What was asked for, of a refusal, and of a download whose manner the object cannot tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Box<AskedFor>>,
    /// A sentence: a reviewer's reason, a scanner's finding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl AuditEntry {
    /// A record of which only the time, the action and the outcome are known.
    pub fn new(time: Timestamp, action: AuditAction, outcome: Outcome) -> Self {
        Self {
            time,
            action,
            outcome,
            reason: None,
            rule: None,
            token_id: None,
            workflow: None,
            app: None,
            user: None,
            role: None,
            project: None,
            device: None,
            owner: None,
            operator: None,
            scopes: Arc::default(),
            object_id: None,
            grant_id: None,
            from_state: None,
            to_state: None,
            classification: None,
            lawful_basis: None,
            residency: None,
            route: None,
            method: None,
            status: None,
            duration_micros: None,
            source_address: None,
            request_id: None,
            body_sha256: None,
            request: None,
            detail: None,
        }
    }

    /// Adds who asked.
    #[must_use]
    pub fn by_principal(mut self, who: &Principal) -> Self {
        self.token_id = Some(who.token.clone());
        self.workflow = Some(who.workflow.clone());
        self.app = Some(who.app.clone());
        self.owner = Some(who.owner.clone());
        self.scopes = who.scopes.texts();
        match &who.subject {
            Some(subject) => self.for_subject(subject),
            None => self,
        }
    }

    /// Adds the person on whose behalf somebody acts.
    #[must_use]
    pub fn for_subject(mut self, subject: &Subject) -> Self {
        self.user = Some(subject.user.clone());
        self.role = subject.role.clone();
        self.project = subject.project.clone();
        self.device = subject.device.clone();
        self
    }

    /// Adds which operator acted.
    #[must_use]
    pub fn by_operator(mut self, who: &Operator) -> Self {
        self.token_id = who.token.clone();
        self.operator = Some(who.name.clone());
        self
    }

    /// Adds what it was about; whose object it is only where nobody is named yet.
    #[must_use]
    pub fn about_object(mut self, object: &Object) -> Self {
        self.object_id = Some(object.id);
        self.app.get_or_insert_with(|| object.app.clone());
        self.workflow.get_or_insert_with(|| object.workflow.clone());
        self.owner.get_or_insert_with(|| object.owner.clone());
        self.classification = Some(object.classification.clone());
        self.lawful_basis = object.lawful_basis.clone();
        self.residency = Some(object.residency.clone());
        self
    }
}

/// RFC 3339 with exactly six digits of the second, so that lines sort as text.
mod micros {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{time:.6}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
