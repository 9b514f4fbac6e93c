//! `conditions` of a manifest: what an upload must be like, beyond what single keys can say.
//!
//! ```text
//! conditions = ["size < 10MB and content-type is application/pdf", "size <= 1MiB and content-type is text/csv"]
//! ```
//!
//! An upload must meet at least one of them, and all terms of that one. They come after every other rule of the manifest,
//! so that they can only narrow it. Terms are joined by `and`; `or` is another condition of the list. What a request does
//! not have, a role, meets no term about it. Absent on purpose: brackets, negated terms, arithmetic; whoever needs those
//! writes a Cedar policy.

mod check;
mod parse;

use std::cmp::Reverse;
use std::sync::Arc;

use crate::domain::key::Prefix;
use crate::domain::refusal::{Reason, Refusal};

use super::Manifest;
use super::units::show_size;

pub(super) use check::check;
pub(super) use parse::read;

/// One condition.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    /// As it was written.
    text: Arc<str>,
    terms: Vec<Term>,
    /// Where it stands in the manifest.
    at: usize,
}

/// One part of a condition.
#[derive(Clone, Debug)]
struct Term {
    /// As it was written, for example `size < 10MB`.
    text: String,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    /// The size lies within these, both included. Empty where the first is the larger.
    Size(u64, u64),
    /// The field is one of these words, or none of them.
    Word { field: Field, among: bool, words: Vec<(String, usize)> },
    /// The path lies in this prefix.
    Under(Prefix, usize),
}

/// A field with a closed set of words, or a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    ContentType,
    Extension,
    Classification,
    Method,
    Environment,
    Role,
    Workflow,
}

impl Field {
    const ALL: [Field; 7] = [
        Field::ContentType,
        Field::Extension,
        Field::Classification,
        Field::Method,
        Field::Environment,
        Field::Role,
        Field::Workflow,
    ];

    /// Its name in a condition.
    fn as_str(self) -> &'static str {
        match self {
            Field::ContentType => "content-type",
            Field::Extension => "extension",
            Field::Classification => "classification",
            Field::Method => "method",
            Field::Environment => "environment",
            Field::Role => "role",
            Field::Workflow => "workflow",
        }
    }
}

/// What the terms look at.
pub(super) struct Facts<'a> {
    pub(super) size: u64,
    pub(super) content_type: &'a str,
    pub(super) extension: String,
    pub(super) classification: &'a str,
    pub(super) method: &'a str,
    pub(super) environment: &'a str,
    pub(super) role: Option<&'a str>,
    pub(super) workflow: &'a str,
    pub(super) path: &'a Prefix,
}

impl Facts<'_> {
    fn word(&self, field: Field) -> Option<&str> {
        match field {
            Field::ContentType => Some(self.content_type),
            Field::Extension => Some(&self.extension),
            Field::Classification => Some(self.classification),
            Field::Method => Some(self.method),
            Field::Environment => Some(self.environment),
            Field::Role => self.role,
            Field::Workflow => Some(self.workflow),
        }
    }
}

impl Term {
    fn is_met(&self, facts: &Facts<'_>) -> bool {
        match &self.test {
            Test::Size(least, most) => (*least..=*most).contains(&facts.size),
            Test::Word { field, among, words } => {
                facts.word(*field).is_some_and(|own| words.iter().any(|(word, _)| word == own) == *among)
            }
            Test::Under(prefix, _) => prefix.contains(facts.path),
        }
    }

    /// What about the request does not fit.
    fn explain(&self, facts: &Facts<'_>) -> String {
        let (what, is) = match &self.test {
            Test::Size(..) => ("size", show_size(facts.size)),
            Test::Word { field, .. } => (field.as_str(), facts.word(*field).unwrap_or("not known").to_owned()),
            Test::Under(..) => ("path", format!("/{}", facts.path)),
        };
        format!("{what} is {is}, and not '{}'", self.text)
    }
}

/// The request meets one of the app's conditions, where it has any.
pub(super) fn meet<'a>(app: &Manifest, facts: impl FnOnce() -> Facts<'a>) -> Result<(), Refusal> {
    if app.conditions.is_empty() {
        return Ok(());
    }
    let facts = facts();
    // Misses by the fewest terms, and meets the most.
    let distance = |condition: &&Condition| {
        let met = condition.terms.iter().filter(|term| term.is_met(&facts)).count();
        (condition.terms.len() - met, Reverse(met))
    };
    let Some(nearest) = app.conditions.iter().min_by_key(distance) else { return Ok(()) };
    let reasons: Vec<String> =
        nearest.terms.iter().filter(|term| !term.is_met(&facts)).map(|term| term.explain(&facts)).collect();
    if reasons.is_empty() {
        return Ok(());
    }
    let detail = format!(
        "{}; app '{}' takes an upload that meets one of its conditions, and this is the nearest: '{}'",
        reasons.join("; "),
        app.app,
        nearest.text
    );
    let texts = app.conditions.iter().map(|condition| &*condition.text);
    Err(Refusal::new(Reason::ConditionNotMet, detail).allowed(texts).rule(app.rule("conditions")))
}
