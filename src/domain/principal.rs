//! Who asks.
//!
//! A principal exists only after authentication; its fields come from the stored token, never from the request.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::admin::AdminRoles;
use super::ids::{AppName, OwnerName, RoleName, TargetName, TokenId, WorkflowName};
use super::revocation::RevocationTarget;
use super::scope::{Action, Scopes};
use super::text::without_tokens;

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

/// Most characters of a person's id, a project and a device.
const LONGEST: usize = 200;

/// A subject whose texts cannot be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} has 1 to {LONGEST} characters, none of them a control character, and is no token")]
pub struct SubjectError(&'static str);

impl SubjectError {
    /// The text that cannot be kept: `user`, `project` or `device`.
    pub fn what(self) -> &'static str {
        self.0
    }
}

impl Subject {
    /// Whether every text can stand in a record: each goes into the audit trail with every act of the token.
    ///
    /// # Errors
    /// Names the first text that cannot.
    pub fn check(&self) -> Result<(), SubjectError> {
        let texts = [("user", Some(&self.user)), ("project", self.project.as_ref()), ("device", self.device.as_ref())];
        let good = |text: &String| {
            (1..=LONGEST).contains(&text.chars().count())
                && !text.chars().any(char::is_control)
                && without_tokens(text) == *text
        };
        match texts.into_iter().find(|(_, text)| text.is_some_and(|text| !good(text))) {
            Some((name, _)) => Err(SubjectError(name)),
            None => Ok(()),
        }
    }
}

/// How a request proved that its sender holds the key that the token is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Possession {
    /// By a signed proof of its own (RFC 9449).
    Dpop,
    /// By the certificate of its connection (RFC 8705).
    MutualTls,
}

impl Possession {
    /// The name in manifests, cases and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Possession::Dpop => "dpop",
            Possession::MutualTls => "mtls",
        }
    }
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
    /// How it was proven that whoever asks holds the key that the token is bound to; none where it is bound to none.
    pub possession: Option<Possession>,
    /// What whoever asks has to be told, where the token was rotated.
    pub sunset: Option<Sunset>,
}

/// The end of a token that another one has followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sunset {
    /// When the other one was made.
    pub since: Timestamp,
    /// When this one stops working.
    pub ends_at: Timestamp,
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
            possession: None,
            sunset: None,
        }
    }
}

/// An authenticated operator of the admin listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// The admin token that was presented; absent on the command line, and for who logged in at an identity provider.
    pub token: Option<TokenId>,
    /// The name that the token was made for, `cli:<user>` on the command line, or `<issuer>:<sub>`.
    pub name: String,
    /// What a revocation may name to shut the operator out: the token, or the person and the device; nothing on the command
    /// line.
    pub targets: Vec<RevocationTarget>,
    /// What the operator may do.
    pub roles: AdminRoles,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(user: &str) -> Subject {
        Subject { user: user.to_owned(), role: None, project: None, device: None, device_attested: false }
    }

    #[test]
    fn a_subjects_texts_can_stand_in_a_record() {
        for user in ["anna", "auth0|5f7c8ec7c33c6c004bbafe82", "https://idp.example.com/4711", "Zo\u{eb}"] {
            assert_eq!(subject(user).check(), Ok(()), "{user}");
        }
        for user in ["", "a\nb", "a\0", "vst_live_0123456789abcdef_secret", &"a".repeat(201)] {
            assert_eq!(subject(user).check(), Err(SubjectError("user")), "{user}");
        }
        let device = Subject { device: Some(String::new()), ..subject("anna") };
        assert!(device.check().unwrap_err().to_string().starts_with("device has 1 to 200 characters"));
    }
}
