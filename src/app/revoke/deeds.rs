//! What revoked tokens did, and what became of what was uploaded under them.
//!
//! For whoever has to deal with a stolen token: counts by act and outcome, when it began and ended, the newest entries, the
//! objects by their state, and until when URLs may still work that were signed before. Bounded in rows and in time; what
//! could not be looked at is told as such and never as nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::domain::audit::{AuditEntry, Outcome};
use crate::domain::ids::TokenId;
use crate::domain::life::State;
use crate::domain::revocation::RevocationTarget;
use crate::policy::TtlBounds;
use crate::store::{AuditQuery, ObjectsOf, StoreError};

use super::super::App;

/// Longest that an answer waits for either.
const PATIENCE: Duration = Duration::from_secs(2);
/// Tokens whose entries are counted at most.
const TOKENS: usize = 50;
/// Entries that are read at a time, and how many times for each token.
const ENTRIES: usize = 1000;
const PAGES: usize = 10;
/// The newest entries that are named.
const NEWEST: usize = 20;
/// Records of objects that are looked at at most, and at a time.
const OBJECTS: u64 = 5000;
const PAGE: usize = 500;

/// One kind of act with one outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed {
    /// The act, as the audit trail names it.
    pub action: String,
    /// Whether it was allowed.
    pub outcome: Outcome,
    /// How often.
    pub count: u64,
    /// The first time.
    pub first: Timestamp,
    /// The last time.
    pub last: Timestamp,
}

/// What tokens did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deeds {
    /// How many tokens were looked at; where it is fewer than died, the newest of them.
    pub tokens: usize,
    /// Whether all that they did was counted; else the newest of it.
    pub complete: bool,
    /// The acts, those that were done most often first.
    pub acts: Vec<Deed>,
    /// Sequence numbers of the newest entries, newest first.
    pub newest: Vec<i64>,
    /// After this nothing works any more that was downloaded by a URL from before; absent where nothing does now.
    pub downloads_end: Option<Timestamp>,
}

/// What was uploaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Objects by their state.
    pub states: BTreeMap<State, u64>,
    /// Whether all of them were looked at.
    pub complete: bool,
    /// After this no upload URL from before works any more; absent where none does now.
    pub uploads_end: Option<Timestamp>,
}

impl App {
    pub(super) async fn deeds(&self, tokens: &[TokenId]) -> Option<Deeds> {
        in_time("what the tokens did", self.count_deeds(tokens)).await
    }

    async fn count_deeds(&self, tokens: &[TokenId]) -> Result<Deeds, StoreError> {
        let mut deeds = Deeds { complete: tokens.len() <= TOKENS, ..Deeds::default() };
        let mut acts: BTreeMap<String, Deed> = BTreeMap::new();
        for token in tokens.iter().take(TOKENS) {
            let mut query = AuditQuery { token: Some(token.clone()), limit: ENTRIES, ..AuditQuery::default() };
            for _ in 0..PAGES {
                let page = self.store.audit_entries(query.clone()).await?;
                for (_, entry) in &page {
                    Deed::count_in(&mut acts, entry);
                }
                deeds.newest.extend(page.iter().take(NEWEST).map(|(number, _)| number));
                query.before = page.last().map(|(number, _)| *number).filter(|_| page.len() == ENTRIES);
                if query.before.is_none() {
                    break;
                }
            }
            deeds.complete &= query.before.is_none();
            deeds.tokens += 1;
        }
        deeds.newest.sort_unstable_by(|a, b| b.cmp(a));
        deeds.newest.truncate(NEWEST);
        deeds.acts = acts.into_values().collect();
        deeds.acts.sort_by_key(|deed| std::cmp::Reverse(deed.count));
        let downloads = deeds.acts.iter().filter(|deed| deed.issues_downloads()).map(|deed| deed.last).max();
        let longest = SignedDuration::try_from(TtlBounds::OUTER.download.max).unwrap_or(SignedDuration::ZERO);
        let now = self.clock.now();
        deeds.downloads_end = downloads.map(|last| last + longest).filter(|end| *end > now);
        Ok(deeds)
    }

    pub(super) async fn holdings(&self, target: &RevocationTarget) -> Option<Holdings> {
        in_time("what was uploaded", self.count_holdings(target)).await
    }

    async fn count_holdings(&self, target: &RevocationTarget) -> Result<Holdings, StoreError> {
        let (mut holdings, now) = (Holdings::default(), self.clock.now());
        let (mut after, mut seen) = (None, 0);
        while seen < OBJECTS {
            let query = ObjectsOf { target: target.clone(), after, limit: PAGE, patient: false };
            let page = self.store.objects_of(query).await?;
            for object in &page {
                *holdings.states.entry(object.life.state()).or_default() += 1;
                let end = Some(object.upload_expires_at).filter(|end| *end > now);
                holdings.uploads_end = holdings.uploads_end.max(end);
            }
            seen += page.len() as u64;
            after = page.last().map(|object| object.id);
            if page.len() < PAGE {
                holdings.complete = true;
                break;
            }
        }
        Ok(holdings)
    }
}

impl Deed {
    fn count_in(acts: &mut BTreeMap<String, Deed>, entry: &AuditEntry) {
        let action = serde_json::to_value(entry.action).ok().and_then(|name| name.as_str().map(str::to_owned));
        let action = action.unwrap_or_default();
        let (outcome, time) = (entry.outcome, entry.time);
        let deed = acts.entry(format!("{action} {outcome:?}")).or_insert(Deed {
            action,
            outcome,
            count: 0,
            first: time,
            last: time,
        });
        (deed.count, deed.first, deed.last) = (deed.count + 1, deed.first.min(time), deed.last.max(time));
    }

    fn issues_downloads(&self) -> bool {
        self.outcome == Outcome::Allowed && matches!(self.action.as_str(), "requestDownload" | "followLink")
    }
}

/// What was revoked is revoked; what is told about it may be missing.
async fn in_time<T>(what: &str, told: impl Future<Output = Result<T, StoreError>>) -> Option<T> {
    match tokio::time::timeout(PATIENCE, told).await {
        Ok(Ok(told)) => Some(told),
        Ok(Err(error)) => {
            tracing::warn!(%error, "cannot tell {what}");
            None
        }
        Err(_) => {
            tracing::warn!("cannot tell {what} in time");
            None
        }
    }
}
