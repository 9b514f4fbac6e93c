//! Scopes: `storage:<target>:<app>:<action>:prefix=/invoices/2026/`.
//!
//! A token carries a list of them, and a request needs one that allows its target, app, action and path. `*` stands for
//! every target or every action; the prefix is compared by whole segments. A scope can only ever allow; there are no
//! negative ones.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ids::{AppName, TargetName};
use super::key::Prefix;
use super::text::written_as_text;

/// What a principal may do with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Request an upload.
    Write,
    /// Request a download, see an object's state.
    Read,
    /// List objects.
    List,
    /// Delete an object.
    Delete,
}

impl Action {
    /// Every action, in the order in which they are documented.
    pub const ALL: [Action; 4] = [Action::Write, Action::Read, Action::List, Action::Delete];

    /// The action's name in a scope.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Write => "write",
            Action::Read => "read",
            Action::List => "list",
            Action::Delete => "delete",
        }
    }
}

/// One scope of a token.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    /// The target, or `None` for every target.
    pub target: Option<TargetName>,
    /// The app; a scope always names one.
    pub app: AppName,
    /// The action, or `None` for every action.
    pub action: Option<Action>,
    /// Everything under this prefix; the root where the scope names none.
    pub prefix: Prefix,
}

/// A string that is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a scope is written storage:<target>:<app>:<write|read|list|delete|*>[:prefix=/path/], not '{0}'")]
pub struct ParseScopeError(pub String);

impl Scope {
    /// Whether this scope allows `action` on `path` (a key or prefix without a leading `/`).
    pub fn allows(&self, target: &TargetName, app: &AppName, action: Action, path: &str) -> bool {
        self.target.as_ref().is_none_or(|own| own == target)
            && self.app == *app
            && self.action.is_none_or(|own| own == action)
            && self.prefix.contains_path(path)
    }

    /// Every action on everything of one app.
    pub fn whole_app(app: AppName) -> Self {
        Self { target: None, app, action: None, prefix: Prefix::root() }
    }
}

impl FromStr for Scope {
    type Err = ParseScopeError;

    fn from_str(text: &str) -> Result<Self, ParseScopeError> {
        let error = || ParseScopeError(text.chars().take(200).collect());
        let mut parts = text.splitn(5, ':');
        if parts.next() != Some("storage") {
            return Err(error());
        }
        let target = match parts.next().ok_or_else(error)? {
            "*" => None,
            name => Some(name.parse().map_err(|_| error())?),
        };
        let app = parts.next().ok_or_else(error)?.parse().map_err(|_| error())?;
        let action = match parts.next().ok_or_else(error)? {
            "*" => None,
            name => Some(Action::ALL.into_iter().find(|action| action.as_str() == name).ok_or_else(error)?),
        };
        let prefix = match parts.next() {
            None => Prefix::root(),
            Some(rest) => rest.strip_prefix("prefix=").ok_or_else(error)?.parse().map_err(|_| error())?,
        };
        Ok(Self { target, app, action, prefix })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = self.target.as_ref().map_or("*", TargetName::as_str);
        let action = self.action.map_or("*", Action::as_str);
        write!(f, "storage:{target}:{}:{action}", self.app)?;
        if self.prefix != Prefix::root() {
            write!(f, ":prefix=/{}", self.prefix)?;
        }
        Ok(())
    }
}

written_as_text!(Scope);

/// The scopes of a token, with their texts at hand: the audit trail takes them at every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scopes {
    scopes: Arc<[Scope]>,
    texts: Arc<[String]>,
}

impl Scopes {
    /// The scopes as they are written.
    pub fn texts(&self) -> Arc<[String]> {
        Arc::clone(&self.texts)
    }
}

impl From<Vec<Scope>> for Scopes {
    fn from(scopes: Vec<Scope>) -> Self {
        Self { texts: scopes.iter().map(ToString::to_string).collect(), scopes: scopes.into() }
    }
}

impl Deref for Scopes {
    type Target = [Scope];

    fn deref(&self) -> &[Scope] {
        &self.scopes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_reads_back_what_it_writes() {
        for text in ["storage:finance:finance-invoices:write:prefix=/invoices/2026/", "storage:*:where2eat:*"] {
            assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_scope_allows_only_what_it_names() {
        let scope: Scope = "storage:finance:finance-invoices:write:prefix=/invoices/2026/".parse().unwrap();
        let (target, app) = ("finance".parse().unwrap(), "finance-invoices".parse().unwrap());
        assert!(scope.allows(&target, &app, Action::Write, "invoices/2026/11/"));
        assert!(!scope.allows(&target, &app, Action::Read, "invoices/2026/11/"));
        assert!(!scope.allows(&target, &app, Action::Write, "invoices/20261/"));
        assert!(!scope.allows(&"images".parse().unwrap(), &app, Action::Write, "invoices/2026/11/"));
        assert!(!scope.allows(&target, &"where2eat".parse().unwrap(), Action::Write, "invoices/2026/11/"));
    }

    #[test]
    fn malformed_scopes_are_refused() {
        for text in
            ["", "storage", "storage:a:b", "storage:a:*:read", "storage:a:b:own", "s3:a:b:read", "storage:a:b:read:/x"]
        {
            assert!(text.parse::<Scope>().is_err(), "{text}");
        }
    }
}
