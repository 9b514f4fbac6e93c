//! Scopes: `storage:<target>:<app>:<action>:prefix=/invoices/2026/`.
//!
//! A token carries a list of them, and a request needs one that allows its target, app, action and path. `*` stands for
//! every target or every action; the prefix is compared by whole segments. A scope can only ever allow; there are no
//! negative ones. A list of scopes travels in OAuth separated by spaces (RFC 6749 section 3.3), see [`Scopes::to_list`].

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
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

/// A text that is no list of scopes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseScopesError {
    /// A word of it is no scope.
    #[error(transparent)]
    Scope(#[from] ParseScopeError),
    /// It has too many words.
    #[error("at most {MOST} scopes")]
    TooMany,
}

/// Most scopes in a list that is asked for: each is compared with each.
const MOST: usize = 50;

impl Scope {
    /// Whether this scope allows `action` on `path` (a key or prefix without a leading `/`).
    pub fn allows(&self, target: &TargetName, app: &AppName, action: Action, path: &str) -> bool {
        self.target.as_ref().is_none_or(|own| own == target)
            && self.app == *app
            && self.action.is_none_or(|own| own == action)
            && self.prefix.contains_path(path)
    }

    /// Whether everything that `other` allows is allowed by this one.
    pub fn covers(&self, other: &Scope) -> bool {
        self.target.as_ref().is_none_or(|own| other.target.as_ref() == Some(own))
            && self.app == other.app
            && self.action.is_none_or(|own| other.action == Some(own))
            && self.prefix.contains(&other.prefix)
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

/// What a scope may not hold as it is in a list of them (RFC 6749 appendix A.4: visible ASCII without `"` and `\`).
const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'\\').add(b'%');

impl Scopes {
    /// The scopes as one text, separated by spaces. What a path holds beyond visible ASCII is percent-encoded.
    pub fn to_list(&self) -> String {
        let mut list = String::new();
        for text in self.texts.iter() {
            if !list.is_empty() {
                list.push(' ');
            }
            list.extend(utf8_percent_encode(text, ESCAPED));
        }
        list
    }

    /// Reads what [`Scopes::to_list`] writes, up to 50 of them.
    ///
    /// # Errors
    /// The first word that is no scope; before that, that there are too many.
    pub fn parse_list(text: &str) -> Result<Vec<Scope>, ParseScopesError> {
        let words = || text.split(' ').filter(|word| !word.is_empty());
        if words().count() > MOST {
            return Err(ParseScopesError::TooMany);
        }
        let mut scopes: Vec<Scope> = Vec::new();
        for word in words() {
            let error = || ParseScopeError(word.chars().take(200).collect());
            let scope = percent_decode_str(word).decode_utf8().map_err(|_| error())?.parse()?;
            if !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
        Ok(scopes)
    }

    /// Whether everything that `asked` allows is allowed by these together.
    pub fn cover(&self, asked: &Scope) -> bool {
        let one = |action| {
            let single = Scope { action, ..asked.clone() };
            self.scopes.iter().any(|own| own.covers(&single))
        };
        one(asked.action) || (asked.action.is_none() && Action::ALL.into_iter().all(|action| one(Some(action))))
    }

    /// The scopes that were asked for, where these allow all of them. Narrower is all that they can be.
    ///
    /// # Errors
    /// The first that allows something that these do not.
    pub fn narrowed_to(&self, asked: Vec<Scope>) -> Result<Scopes, Scope> {
        match asked.iter().find(|scope| !self.cover(scope)) {
            Some(wider) => Err(wider.clone()),
            None => Ok(asked.into()),
        }
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
    fn a_list_has_at_most_fifty_scopes_the_same_ones_counted_too() {
        let list = |count: usize| Scopes::parse_list(&"storage:a:b:read ".repeat(count)).map(|scopes| scopes.len());
        assert_eq!((list(0), list(50), list(51)), (Ok(0), Ok(1), Err(ParseScopesError::TooMany)));
        assert_eq!(Scopes::parse_list(&"x ".repeat(51)), Err(ParseScopesError::TooMany), "before any is read");
        assert!(matches!(Scopes::parse_list("storage:a:b:read x"), Err(ParseScopesError::Scope(_))));
    }

    #[test]
    fn malformed_scopes_are_refused() {
        for text in
            ["", "storage", "storage:a:b", "storage:a:*:read", "storage:a:b:own", "s3:a:b:read", "storage:a:b:read:/x"]
        {
            assert!(text.parse::<Scope>().is_err(), "{text}");
        }
    }

    use proptest::prelude::*;

    fn scope() -> impl Strategy<Value = Scope> {
        let target = prop::option::of(prop::sample::select(vec!["images", "finance"]));
        let app = prop::sample::select(vec!["where2eat", "where2eat-2"]);
        let action = prop::option::of(prop::sample::select(Action::ALL.to_vec()));
        (target, app, action, prefix()).prop_map(|(target, app, action, prefix)| Scope {
            target: target.map(|name| name.parse().unwrap()),
            app: app.parse().unwrap(),
            action,
            prefix,
        })
    }

    /// Segments that begin with each other, that look like climbing or like escapes, and that are equal to the eye only.
    fn segment() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "a", "a.", ".a", "a..", "...", "aa", "a a", "a b", "A", "\u{e4}", "a\u{308}", "=", "a=b", "(a)", "@,",
            "2026", "2",
        ])
    }

    fn prefix() -> impl Strategy<Value = Prefix> {
        (prop::collection::vec(segment(), 0..4), any::<bool>(), any::<bool>()).prop_map(|(segments, before, behind)| {
            let slash = |there| if there { "/" } else { "" };
            let text = format!("{}{}{}", slash(before), segments.join("/"), slash(behind && !segments.is_empty()));
            text.parse().unwrap()
        })
    }

    /// A path as decisions see it: a directory, or a key with the name of a file.
    fn path() -> impl Strategy<Value = String> {
        (prefix(), prop::option::of(segment()))
            .prop_map(|(prefix, file)| format!("{prefix}{}", file.unwrap_or_default()))
    }

    fn allow(scopes: &[Scope], target: &str, app: &str, action: Action, path: &str) -> bool {
        let (target, app) = (target.parse().unwrap(), app.parse().unwrap());
        scopes.iter().any(|scope| scope.allows(&target, &app, action, path))
    }

    /// Everything that a question can be about.
    fn questions(path: &str) -> impl Iterator<Item = (&'static str, &'static str, Action, String)> {
        let (targets, apps) = (["images", "finance", "other"], ["where2eat", "where2eat-2", "other"]);
        let all = targets.into_iter().flat_map(move |target| apps.into_iter().map(move |app| (target, app)));
        let path = path.to_owned();
        all.flat_map(move |(target, app)| {
            let path = path.clone();
            Action::ALL.into_iter().map(move |action| (target, app, action, path.clone()))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_derived_scope_never_allows_what_its_parent_does_not(
            parent in prop::collection::vec(scope(), 0..4),
            asked in prop::collection::vec(scope(), 0..3),
            path in path(),
        ) {
            let parent = Scopes::from(parent);
            let Ok(derived) = parent.narrowed_to(asked.clone()) else { return Ok(()) };
            prop_assert_eq!(&*derived, &*asked);
            for (target, app, action, path) in questions(&path) {
                if allow(&derived, target, app, action, &path) {
                    prop_assert!(allow(&parent, target, app, action, &path), "{derived:?} of {parent:?}: {action:?} {path}");
                }
            }
        }

        #[test]
        fn what_is_refused_allows_something_more(parent in prop::collection::vec(scope(), 0..4), asked in scope()) {
            let parent = Scopes::from(parent);
            let Err(wider) = parent.narrowed_to(vec![asked.clone()]) else { return Ok(()) };
            prop_assert_eq!(&wider, &asked);
            // "other" stands for every target that nobody names.
            let more = |path: &str| {
                questions(path).any(|(target, app, action, path)| {
                    allow(std::slice::from_ref(&asked), target, app, action, &path) && !allow(&parent, target, app, action, &path)
                })
            };
            prop_assert!(more(asked.prefix.as_str()), "{asked} of {parent:?}");
        }

        #[test]
        fn every_scope_covers_itself_and_covering_is_transitive(one in scope(), two in scope(), three in scope()) {
            prop_assert!(one.covers(&one));
            prop_assert!(!(one.covers(&two) && two.covers(&three)) || one.covers(&three));
        }

        #[test]
        fn a_list_of_scopes_reads_back_and_is_visible_ascii(scopes in prop::collection::vec(scope(), 0..4)) {
            let list = Scopes::from(scopes.clone()).to_list();
            prop_assert!(list.bytes().all(|b| b == b' ' || (b.is_ascii_graphic() && b != b'"' && b != b'\\')), "{list}");
            let mut once: Vec<Scope> = Vec::new();
            for scope in scopes {
                if !once.contains(&scope) {
                    once.push(scope);
                }
            }
            prop_assert_eq!(Scopes::parse_list(&list).unwrap(), once);
        }
    }
}
