//! Which of the requests on record would be answered otherwise by another policy set: a dry run before a change goes live.
//!
//! Reads the audit trail page by page, newest first, and asks both sets each question once more. What is counted (quotas,
//! rate limits) and what has a state (an object that is not visible yet) is not asked: both sets would be asked about a
//! moment that is gone. Reads only; bounded memory however long the trail is.

mod replay;

use std::collections::{BTreeMap, HashMap};

use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use serde::Serialize;

use crate::domain::audit::{AuditAction, AuditEntry, Outcome};
use crate::domain::ids::ObjectId;
use crate::domain::object::Object;
use crate::domain::refusal::Refusal;
use crate::policy::PolicySet;
use crate::policy::cases::{Methods, Permitted};
use crate::store::{AuditQuery, Store, StoreError};

pub use replay::NotReplayed;
use replay::{Tokens, is_decision, question};

/// Entries of one page.
const PAGE: usize = 500;
/// Objects that are asked for at the same time.
const AT_ONCE: usize = 32;

/// Which part of the trail.
#[derive(Clone, Copy, Debug)]
pub struct DiffWindow {
    /// Only at or after.
    pub since: Option<Timestamp>,
    /// At most so many requests, the newest.
    pub limit: u64,
}

/// What differs.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyDiff {
    /// Requests that both sets were asked about.
    pub replayed: u64,
    /// Of these, those that both answer alike.
    pub same: u64,
    /// Those that were allowed then and that the old set refuses now: it is not the set that was in force.
    pub drifted: u64,
    /// Kinds of changes, the most frequent first.
    pub changes: Vec<Change>,
    /// Why others could not be asked again, and how many.
    pub not_replayed: BTreeMap<&'static str, u64>,
}

/// Requests of one workflow whose answer changes in the same way.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Whose requests.
    pub app: String,
    /// Which workflow's.
    pub workflow: String,
    /// upload, download, list, delete or release.
    pub action: &'static str,
    /// What the old set answers, for example `allowed`, or the code of a refusal.
    pub old: String,
    /// What the new set answers.
    pub new: String,
    /// How many.
    pub count: u64,
    /// The newest of them.
    pub example: Example,
}

/// One request.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Example {
    /// When it was made.
    pub time: Timestamp,
    /// Its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The object that it was about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_id: Option<String>,
    /// What its client would hear from whichever set refuses it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The rule behind that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

/// Asks both sets about the requests on record.
///
/// # Errors
/// [`StoreError`] where the trail cannot be read.
pub async fn policy_diff(
    store: &dyn Store,
    (old, new): (&PolicySet, &PolicySet),
    methods: Methods,
    window: DiffWindow,
) -> Result<PolicyDiff, StoreError> {
    let mut diff = Counting::default();
    let (mut tokens, mut before, mut seen) = (Tokens::default(), None, 0);
    'pages: loop {
        let query = AuditQuery { since: window.since, before, limit: PAGE, ..AuditQuery::default() };
        let page = store.audit_entries(query).await?;
        let Some((last, _)) = page.last() else { break };
        before = Some(*last);
        let objects = objects(store, &page).await?;
        for (_, entry) in page.iter().filter(|(_, entry)| is_decision(entry)) {
            if seen == window.limit {
                break 'pages;
            }
            seen += 1;
            let holder = match &entry.token_id {
                Some(id) if entry.action != AuditAction::ReleaseObject => tokens.holder(store, id).await?,
                _ => None,
            };
            let object = entry.object_id.and_then(|id| objects.get(&id));
            match question(entry, object, holder, old) {
                Err(why) => *diff.not_replayed.entry(why).or_default() += 1,
                Ok(question) => {
                    let answers = (question.ask(old, methods), question.ask(new, methods));
                    let who = (question.app.to_string(), question.workflow.to_string(), question.asked.name());
                    diff.count(entry, who, answers);
                }
            }
        }
    }
    Ok(diff.finish())
}

/// The objects that a page names.
async fn objects(store: &dyn Store, page: &[(i64, AuditEntry)]) -> Result<HashMap<ObjectId, Object>, StoreError> {
    let mut ids: Vec<ObjectId> =
        page.iter().filter(|(_, entry)| is_decision(entry)).filter_map(|(_, entry)| entry.object_id).collect();
    ids.sort_unstable();
    ids.dedup();
    let found = futures::stream::iter(ids.into_iter().map(|id| store.object(id))).buffer_unordered(AT_ONCE);
    found.try_filter_map(async |object| Ok(object.map(|object| (object.id, object)))).try_collect().await
}

/// Who asked for what, and both answers.
type Kind = (String, String, &'static str, String, String);

#[derive(Default)]
struct Counting {
    replayed: u64,
    same: u64,
    drifted: u64,
    changes: BTreeMap<Kind, (u64, Example)>,
    not_replayed: BTreeMap<NotReplayed, u64>,
}

impl Counting {
    fn count(
        &mut self,
        entry: &AuditEntry,
        (app, workflow, action): (String, String, &'static str),
        (old, new): (Result<Permitted, Refusal>, Result<Permitted, Refusal>),
    ) {
        self.replayed += 1;
        self.drifted += u64::from(entry.outcome == Outcome::Allowed && old.is_err());
        let (before, after) = words(&old, &new);
        if before == after {
            self.same += 1;
            return;
        }
        let refusal = new.err().or(old.err());
        let (count, _) = self.changes.entry((app, workflow, action, before, after)).or_insert_with(|| {
            let (rule, detail) = refusal.map(|refusal| (refusal.rule, refusal.detail)).unzip();
            let example = Example {
                time: entry.time,
                request_id: entry.request_id.as_deref().map(str::to_owned),
                object_id: entry.object_id.map(|id| id.to_string()),
                detail,
                rule: rule.flatten().map(Into::into),
            };
            (0, example)
        });
        *count += 1;
    }

    fn finish(self) -> PolicyDiff {
        let change = |((app, workflow, action, old, new), (count, example)): (Kind, (u64, Example))| Change {
            app,
            workflow,
            action,
            old,
            new,
            count,
            example,
        };
        let mut changes: Vec<Change> = self.changes.into_iter().map(change).collect();
        changes.sort_by_key(|change| std::cmp::Reverse(change.count));
        let not_replayed = self.not_replayed.into_iter().map(|(why, count)| (why.as_str(), count)).collect();
        PolicyDiff { replayed: self.replayed, same: self.same, drifted: self.drifted, changes, not_replayed }
    }
}

/// Both answers as a client would notice the difference: allowed or the code, and the terms that differ.
fn words(old: &Result<Permitted, Refusal>, new: &Result<Permitted, Refusal>) -> (String, String) {
    match (old, new) {
        (Ok(old), Ok(new)) => {
            let (old, new) = (old.terms(), new.terms());
            let (old, new): (Vec<String>, Vec<String>) = old
                .into_iter()
                .zip(new)
                .filter(|(old, new)| old != new)
                .map(|((name, old), (_, new))| (format!("{name} {old}"), format!("{name} {new}")))
                .unzip();
            (allowed(&old), allowed(&new))
        }
        (old, new) => (word(old), word(new)),
    }
}

fn allowed(terms: &[String]) -> String {
    if terms.is_empty() { "allowed".to_owned() } else { format!("allowed, {}", terms.join(", ")) }
}

fn word(answer: &Result<Permitted, Refusal>) -> String {
    answer.as_ref().map_or_else(|refusal| refusal.reason.code().to_owned(), |_| "allowed".to_owned())
}
