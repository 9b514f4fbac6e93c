//! A question to Cedar, as the decisions put it: who asks, what for, about what, and under which circumstances.
//!
//! Facts borrow from the request, the token and the policy set; whether they are copied depends on whether a policy can
//! see them.

use std::net::IpAddr;

use jiff::Timestamp;

use crate::domain::ids::{AppName, ClassName, ObjectId, OwnerName};
use crate::domain::principal::{Environment, Operator, Principal, Subject};
use crate::domain::target::Target;

/// The actions of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::policy) enum Act {
    Upload,
    Download,
    List,
    Delete,
    Exchange,
    Release,
}

impl Act {
    pub(in crate::policy) const ALL: [Act; 6] =
        [Act::Upload, Act::Download, Act::List, Act::Delete, Act::Exchange, Act::Release];

    /// Its name in the schema.
    pub(in crate::policy) fn as_str(self) -> &'static str {
        match self {
            Act::Upload => "upload",
            Act::Download => "download",
            Act::List => "list",
            Act::Delete => "delete",
            Act::Exchange => "exchange",
            Act::Release => "release",
        }
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) enum Asker<'a> {
    Workflow(&'a Principal),
    Operator(&'a Operator),
    Person(&'a Subject),
}

/// What it is about.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) enum Asked<'a> {
    /// The app itself.
    App,
    /// An object; without an id where it is only asked for.
    Object {
        id: Option<ObjectId>,
        /// Whose quota it is charged to.
        owner: &'a OwnerName,
        /// That team's region.
        owner_region: Option<&'a str>,
        /// Where it lies; `None` where the target is no longer configured.
        target: Option<&'a Target>,
        environment: Environment,
        region: &'a str,
        classification: &'a ClassName,
        path: &'a str,
    },
}

/// A value of the context.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) enum Fact<'a> {
    Text(&'a str),
    Number(u64),
    Flag(bool),
    Words(&'a [&'a str]),
    Address(IpAddr),
    /// In whole seconds: what is decided once holds for as long.
    Moment(Timestamp),
}

/// One question.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct Question<'a> {
    pub(in crate::policy) act: Act,
    pub(in crate::policy) who: Asker<'a>,
    /// The app that it concerns …
    pub(in crate::policy) app: &'a AppName,
    /// … the team that answers for it …
    pub(in crate::policy) owner: &'a OwnerName,
    /// … and that team's region.
    pub(in crate::policy) region: Option<&'a str>,
    pub(in crate::policy) asked: Asked<'a>,
    /// What the schema's context holds; attributes that are absent are left out.
    pub(in crate::policy) context: &'a [(&'static str, Fact<'a>)],
}

impl<'a> Question<'a> {
    /// The person behind the request, where one is known.
    pub(super) fn person(&self) -> Option<&'a Subject> {
        match self.who {
            Asker::Workflow(principal) => principal.subject.as_ref(),
            Asker::Person(subject) => Some(subject),
            Asker::Operator(_) => None,
        }
    }
}
