//! Who asks.
//!
//! A principal exists only after authentication; its fields come from the stored token, never from the request.

use serde::{Deserialize, Serialize};

use super::ids::{AppName, OwnerName, RoleName, TargetName, TokenId, WorkflowName};
use super::scope::{Action, Scopes};

/// Whether a token, an app or a target is real or for trying things out. A `test` token never reaches a `live` target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// Production.
    Live,
    /// Everything else.
    Test,
}

impl Environment {
    /// The name in a token, a manifest and the audit trail.
    pub fn as_str(self) -> &'static str {
        match self {
            Environment::Live => "live",
            Environment::Test => "test",
        }
    }
}

/// The person on whose behalf a workflow acts, and the device, as whoever made the token vouched for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Subject {
    /// The person's stable id at the identity provider.
    pub user: String,
    /// What the person is to the organisation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    /// The project that the person works in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The device that the person acts from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Whether somebody has attested that the device is one of the organisation's.
    #[serde(default)]
    pub device_attested: bool,
}

/// An authenticated workflow, with the person on whose behalf it acts where one is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The token that was presented.
    pub token: TokenId,
    /// The app that the workflow belongs to.
    pub app: AppName,
    /// The workflow that the token was made for.
    pub workflow: WorkflowName,
    /// Who answers for the workflow.
    pub owner: OwnerName,
    /// Real or for trying things out.
    pub environment: Environment,
    /// What the token allows; an empty list allows nothing.
    pub scopes: Scopes,
    /// The person on whose behalf the workflow acts, where somebody vouched for one.
    pub subject: Option<Subject>,
    /// Whether the request proved that its sender holds a key that the token is bound to (RFC 9449, RFC 8705).
    pub proof_of_possession: bool,
}

impl Principal {
    /// Whether any scope allows `action` on `path`.
    pub fn may(&self, target: &TargetName, action: Action, path: &str) -> bool {
        self.scopes.iter().any(|scope| scope.allows(target, &self.app, action, path))
    }

    /// The person's id, where one is known.
    pub fn user(&self) -> Option<&str> {
        self.subject.as_ref().map(|subject| subject.user.as_str())
    }

    #[cfg(test)]
    pub(crate) fn example() -> Self {
        Self {
            token: "AAAAAAAAAAAAAAAA".parse().expect("a valid id"),
            app: "where2eat".parse().expect("a valid name"),
            workflow: "nightly".parse().expect("a valid name"),
            owner: "marketing".parse().expect("a valid name"),
            environment: Environment::Live,
            scopes: vec![super::scope::Scope::whole_app("where2eat".parse().expect("a valid name"))].into(),
            subject: None,
            proof_of_possession: false,
        }
    }
}

/// An authenticated operator of the admin listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// The admin token that was presented.
    pub token: TokenId,
    /// The name that the token was made for.
    pub name: String,
}
