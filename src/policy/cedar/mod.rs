//! Cedar: rules that compare attributes, and the last word on every decision (<https://docs.cedarpolicy.com>).
//!
//! The manifests decide first, as plain data; what they allow is asked here once more, and Cedar's own semantics hold: a
//! `forbid` that applies denies, and without a `permit` that applies nothing is allowed. A policy that cannot be evaluated
//! denies too, where Cedar alone would skip it (P6). Only the policies that concern the app and the action are asked
//! ([`slices`]), and answers are remembered on exactly what those policies can see ([`sight`]). Absent on purpose:
//! templates, and any fact that comes from outside the request, the token, the object and the policy files.

mod ask;
mod entities;
mod read;
mod sight;
mod slices;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use cedar_policy::{AuthorizationError, Authorizer, Decision, PolicyId};
use moka::sync::Cache;

use crate::domain::ids::{AppName, OwnerName};
use crate::domain::refusal::{Reason, Refusal};

use entities::View;
use slices::{Slice, Slices};

pub(super) use ask::{Act, Asked, Asker, Fact, Question};
pub(super) use read::{Named, read};

/// What policies can see: the schema that they are validated against.
pub const SCHEMA: &str = include_str!("../../../policies/vestibule.cedarschema");
/// The schema's file in a policy directory.
pub(super) const SCHEMA_FILE: &str = "vestibule.cedarschema";

/// Answers that are remembered at most, of all apps together.
const REMEMBERED: u64 = 20_000;

/// Every policy of a set, in slices, and the answers that they gave.
#[derive(Clone)]
pub(super) struct Rules {
    policies: usize,
    slices: Arc<Slices>,
    /// Lives and dies with the set: a reload begins with none.
    answers: Cache<Box<[u8]>, Answer>,
}

/// What Cedar said.
#[derive(Clone, Debug)]
enum Answer {
    /// The policies that permitted it.
    Permitted(Arc<str>),
    /// A policy forbids it; its `@message`, where it has one.
    Forbidden(Arc<str>, Option<Arc<str>>),
    /// No policy permits it.
    NotPermitted,
    /// A policy could not be evaluated.
    Failed(Arc<str>),
}

impl Rules {
    fn new(policies: usize, slices: Slices) -> Self {
        Self { policies, slices: Arc::new(slices), answers: Cache::new(REMEMBERED) }
    }

    /// Asks the policies that concern the app and the action. `manifest` is the rule that allowed it so far; the answer
    /// is that and the policies that permit.
    ///
    /// # Errors
    /// `denied_by_policy` with the policy that forbids or could not be evaluated, or none where none permits.
    pub(super) fn decide(&self, question: &Question<'_>, manifest: Option<&str>) -> Result<Arc<str>, Refusal> {
        let slice = self.slices.of(question.app, question.act);
        let answer = match slice.sight.key(slice.number, question) {
            None => evaluate(slice, question, manifest),
            Some(key) => match self.answers.get(&key[..]) {
                Some(answer) => answer,
                None => {
                    let answer = evaluate(slice, question, manifest);
                    self.answers.insert(key.into(), answer.clone());
                    answer
                }
            },
        };
        answer.into_result(question.act)
    }

    /// How many policies there are.
    pub(super) fn len(&self) -> usize {
        self.policies
    }

    /// How many policies are asked about an app's action.
    #[cfg(test)]
    fn count(&self, app: &AppName, act: Act) -> usize {
        self.slices.of(app, act).policies.num_of_policies()
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules").field("answers", &self.answers.entry_count()).finish_non_exhaustive()
    }
}

fn evaluate(slice: &Slice, question: &Question<'_>, manifest: Option<&str>) -> Answer {
    let Ok((request, entities)) = entities::build(question, &View::of(&slice.sight)) else {
        // The facts of a request always fit the schema; where they do not, nobody can say what the policies mean.
        return Answer::Failed("vestibule.cedarschema".into());
    };
    let response = Authorizer::new().is_authorized(&request, &slice.policies, &entities);
    let diagnostics = response.diagnostics();
    let failed = diagnostics
        .errors()
        .map(|AuthorizationError::PolicyEvaluationError(error)| error.policy_id().to_string())
        .min();
    let mut reasons: Vec<&PolicyId> = diagnostics.reason().collect();
    reasons.sort();
    match (failed, response.decision()) {
        (Some(failed), _) => Answer::Failed(failed.into()),
        (None, Decision::Allow) => {
            let rules = manifest.map(str::to_owned).into_iter().chain(reasons.iter().map(ToString::to_string));
            Answer::Permitted(rules.collect::<Vec<_>>().join(", ").into())
        }
        (None, Decision::Deny) => reasons.first().map_or(Answer::NotPermitted, |id| {
            let message = slice.policies.annotation(id, "message").filter(|message| !message.is_empty());
            Answer::Forbidden(id.to_string().into(), message.map(Into::into))
        }),
    }
}

impl Answer {
    fn into_result(self, act: Act) -> Result<Arc<str>, Refusal> {
        let (detail, rule) = match self {
            Answer::Permitted(rules) => return Ok(rules),
            Answer::Forbidden(rule, Some(message)) => (message.to_string(), rule.to_string()),
            Answer::Forbidden(rule, None) => {
                let detail = format!(
                    "the policy '{}' of your platform team forbids this {}; ask them what it asks for",
                    name_of(&rule),
                    act.as_str()
                );
                (detail, rule.to_string())
            }
            Answer::NotPermitted => {
                let detail = format!("no policy of your platform team permits this {}; ask them for one", act.as_str());
                (detail, format!("no policy permits {}", act.as_str()))
            }
            Answer::Failed(rule) => {
                let detail = format!(
                    "the policy '{}' could not be evaluated for this {}, so it is refused; ask your platform team to \
                     correct it",
                    name_of(&rule),
                    act.as_str()
                );
                (detail, format!("{rule} (could not be evaluated)"))
            }
        };
        Err(Refusal::new(Reason::DeniedByPolicy, detail).rule(rule))
    }
}

/// `forbid-unattested` from `guards.cedar:12 forbid-unattested`.
fn name_of(rule: &str) -> &str {
    rule.split_once(' ').map_or(rule, |(_, name)| name)
}

/// Which apps there are, and whose they are.
pub(super) type Owners<'a> = [(&'a AppName, &'a OwnerName)];
