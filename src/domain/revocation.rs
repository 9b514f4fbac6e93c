//! What can be revoked: one token, or everything of a workflow, an app, a person, a device, an owner or a signing key.
//!
//! As text a kind and which one, `workflow:where2eat/menu-import`; what people's and devices' ids hold beside that is theirs.

use std::fmt;
use std::str::FromStr;

use super::ids::{AppName, KeyId, OwnerName, ParseIdError, TokenId, WorkflowName};
use super::text::{without_tokens, written_as_text};

/// Whose tokens a revocation kills, and for what no new ones are made while it blocks.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RevocationTarget {
    /// One token, and those that were derived from it.
    Token(TokenId),
    /// A workflow of an app.
    Workflow(AppName, WorkflowName),
    /// An app.
    App(AppName),
    /// A person: the stable id at the identity provider.
    User(String),
    /// A device.
    Device(String),
    /// Every workflow that an owner answers for.
    Owner(OwnerName),
    /// Every token that a key of the gateway has signed.
    Key(KeyId),
}

/// Most characters of a person's or a device's id, as in [`super::principal::Subject`].
const LONGEST: usize = 200;

impl RevocationTarget {
    /// The names of the kinds.
    pub const KINDS: [&'static str; 7] = ["token", "workflow", "app", "user", "device", "owner", "key"];

    /// What kind it is of.
    pub fn kind(&self) -> &'static str {
        match self {
            RevocationTarget::Token(_) => "token",
            RevocationTarget::Workflow(..) => "workflow",
            RevocationTarget::App(_) => "app",
            RevocationTarget::User(_) => "user",
            RevocationTarget::Device(_) => "device",
            RevocationTarget::Owner(_) => "owner",
            RevocationTarget::Key(_) => "key",
        }
    }

    /// Of a workflow its app, and which one it is.
    pub fn parts(&self) -> (Option<String>, String) {
        match self {
            RevocationTarget::Token(id) => (None, id.to_string()),
            RevocationTarget::Workflow(app, workflow) => (Some(app.to_string()), workflow.to_string()),
            RevocationTarget::App(app) => (None, app.to_string()),
            RevocationTarget::User(id) | RevocationTarget::Device(id) => (None, id.clone()),
            RevocationTarget::Owner(owner) => (None, owner.to_string()),
            RevocationTarget::Key(key) => (None, key.to_string()),
        }
    }

    /// Reads a target from its parts; only a workflow has an `app`.
    ///
    /// # Errors
    /// Names the part that is none.
    pub fn parse(kind: &str, app: Option<&str>, id: &str) -> Result<Self, ParseIdError> {
        Ok(match (kind, app) {
            ("token", None) => Self::Token(id.parse()?),
            ("workflow", Some(app)) => Self::Workflow(app.parse()?, id.parse()?),
            ("app", None) => Self::App(id.parse()?),
            ("user", None) => Self::User(subject(id, "user")?),
            ("device", None) => Self::Device(subject(id, "device")?),
            ("owner", None) => Self::Owner(id.parse()?),
            ("key", None) => Self::Key(id.parse()?),
            _ => {
                let rule = "token, workflow (with its app), app, user, device, owner or key";
                return Err(ParseIdError { what: "kind", rule });
            }
        })
    }
}

fn subject(text: &str, what: &'static str) -> Result<String, ParseIdError> {
    let good = (1..=LONGEST).contains(&text.chars().count())
        && !text.chars().any(char::is_control)
        && without_tokens(text) == text;
    let rule = "1 to 200 characters, none of them a control character, and no token";
    good.then(|| text.to_owned()).ok_or(ParseIdError { what, rule })
}

impl fmt::Display for RevocationTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts() {
            (Some(app), id) => write!(f, "{}:{app}/{id}", self.kind()),
            (None, id) => write!(f, "{}:{id}", self.kind()),
        }
    }
}

impl FromStr for RevocationTarget {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        match text.split_once(':').unwrap_or_default() {
            ("workflow", rest) => {
                let (app, workflow) = rest.split_once('/').unwrap_or_default();
                Self::parse("workflow", Some(app), workflow)
            }
            (kind, rest) => Self::parse(kind, None, rest),
        }
    }
}

written_as_text!(RevocationTarget);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_reads_back_as_it_was_written() {
        for text in [
            "token:0123456789abcdef",
            "workflow:where2eat/menu-import",
            "app:where2eat",
            "user:https://idp.example.com/4711:8",
            "device:workflow:a/b",
            "owner:marketing",
            "key:tk-2026-11",
        ] {
            let target: RevocationTarget = text.parse().unwrap();
            assert_eq!((target.to_string().as_str(), text.starts_with(target.kind())), (text, true));
            let (app, id) = target.parts();
            assert_eq!(RevocationTarget::parse(target.kind(), app.as_deref(), &id), Ok(target));
        }
    }

    #[test]
    fn what_is_no_target_is_refused() {
        let secret = "user:vst_live_0123456789abcdef_secret";
        for text in ["", "token", "token:x", "workflow:a", "app:", "user:", "user:a\nb", secret, "planet:earth"] {
            assert!(text.parse::<RevocationTarget>().is_err(), "{text}");
        }
    }
}
