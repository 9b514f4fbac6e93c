//! Who asks.
//!
//! A principal exists only after authentication; its fields come from the stored token, never from the request.

use serde::{Deserialize, Serialize};

use super::ids::{AppName, OwnerName, TargetName, TokenId, WorkflowName};
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

/// An authenticated workflow, with the user and device on whose behalf it acts where they are known.
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
    /// The user on whose behalf the workflow acts, where an identity provider vouched for one.
    pub user: Option<String>,
    /// The device that the user acts from, where it is known.
    pub device: Option<String>,
}

impl Principal {
    /// Whether any scope allows `action` on `path`.
    pub fn may(&self, target: &TargetName, action: Action, path: &str) -> bool {
        self.scopes.iter().any(|scope| scope.allows(target, &self.app, action, path))
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
            user: None,
            device: None,
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
