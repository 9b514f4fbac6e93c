//! Who has what, and what of it should go: every provisioned token that is in force, with what is remarkable about it.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use crate::domain::audit::AuditAction;
use crate::domain::ids::TokenId;
use crate::domain::principal::Operator;
use crate::domain::refusal::Refusal;
use crate::policy::PolicySet;
use crate::store::{TokenHolder, TokenOrigin, TokenQuery, TokenRecord};

use super::super::{App, RequestContext};

/// Tokens that one read fetches.
const PAGE: usize = 500;

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReviewQuery {
    /// Days without use after which a token counts as unused.
    pub unused_days: u16,
    /// Days before its end from which on a token counts as expiring.
    pub expiring_days: u16,
}

impl Default for ReviewQuery {
    fn default() -> Self {
        Self { unused_days: 90, expiring_days: 30 }
    }
}

/// Something remarkable about a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Finding {
    /// Nobody has ever used it, and it is older than the days without use.
    NeverUsed,
    /// Nobody has used it for the days without use.
    Unused,
    /// No manifest names its owner: nobody answers for it.
    OwnerGone,
    /// Its app has no manifest any more.
    AppGone,
    /// It ends soon.
    Expiring,
    /// It never ends.
    NoExpiry,
    /// It was rotated, and somebody has used it after that.
    RotatedInUse,
}

impl Finding {
    /// Every finding.
    pub const ALL: [Finding; 7] = [
        Self::NeverUsed,
        Self::Unused,
        Self::OwnerGone,
        Self::AppGone,
        Self::Expiring,
        Self::NoExpiry,
        Self::RotatedInUse,
    ];

    /// The name in the report.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NeverUsed => "neverUsed",
            Self::Unused => "unused",
            Self::OwnerGone => "ownerGone",
            Self::AppGone => "appGone",
            Self::Expiring => "expiring",
            Self::NoExpiry => "noExpiry",
            Self::RotatedInUse => "rotatedInUse",
        }
    }
}

/// One token with what is remarkable about it.
#[derive(Clone, Debug)]
pub struct ReviewedToken {
    /// The token.
    pub record: TokenRecord,
    /// What is remarkable; often nothing.
    pub findings: Vec<Finding>,
}

/// The report.
#[derive(Clone, Debug)]
pub struct AccessReview {
    /// As of when.
    pub at: Timestamp,
    /// What was looked for.
    pub query: ReviewQuery,
    /// Every provisioned token in force, newest first.
    pub tokens: Vec<ReviewedToken>,
}

impl AccessReview {
    /// How many tokens have this finding.
    pub fn count(&self, finding: Finding) -> usize {
        self.tokens.iter().filter(|token| token.findings.contains(&finding)).count()
    }
}

impl App {
    /// Looks at every provisioned token that is in force.
    ///
    /// # Errors
    /// The refusal, recorded.
    pub async fn review_access(
        &self,
        context: &RequestContext,
        who: &Operator,
        query: Result<ReviewQuery, Refusal>,
    ) -> Result<AccessReview, Refusal> {
        let query = self.looked(context, who, AuditAction::ReviewAccess, query).await?;
        let (policies, at) = (self.policies.current(), self.clock.now());
        let mut records: Vec<TokenRecord> = Vec::new();
        let mut before = None;
        loop {
            let page = TokenQuery {
                app: None,
                owner: None,
                origin: Some(TokenOrigin::Provisioned),
                in_force_at: Some(at),
                before,
                limit: PAGE,
            };
            let page = self.store.tokens(page).await?;
            let whole = page.len() == PAGE;
            before = page.last().map(|record| (record.created_at, record.id.clone()));
            records.extend(page);
            if !whole {
                break;
            }
        }
        let made: HashMap<&TokenId, Timestamp> = records.iter().map(|record| (&record.id, record.created_at)).collect();
        let tokens = records.iter().map(|record| {
            let rotated_at = record.successor.as_ref().and_then(|successor| made.get(successor).copied());
            ReviewedToken { findings: findings(&policies, record, rotated_at, query, at), record: record.clone() }
        });
        let tokens = tokens.collect();
        Ok(AccessReview { at, query, tokens })
    }
}

/// What is remarkable about a token that is in force. `rotated_at` is when its successor was made, where that is in force.
fn findings(
    policies: &PolicySet,
    record: &TokenRecord,
    rotated_at: Option<Timestamp>,
    query: ReviewQuery,
    now: Timestamp,
) -> Vec<Finding> {
    let days = |days: u16| SignedDuration::from_hours(24 * i64::from(days));
    let mut found = Vec::new();
    let used = record.last_used_at.unwrap_or(record.created_at);
    if now.duration_since(used) >= days(query.unused_days) {
        found.push(if record.last_used_at.is_none() { Finding::NeverUsed } else { Finding::Unused });
    }
    if let TokenHolder::Workflow { app, owner, .. } = &record.holder {
        if !policies.knows_owner(owner) {
            found.push(Finding::OwnerGone);
        }
        if policies.app(app).is_none() {
            found.push(Finding::AppGone);
        }
    }
    match record.expires_at {
        None => found.push(Finding::NoExpiry),
        Some(end) if end.duration_since(now) <= days(query.expiring_days) => found.push(Finding::Expiring),
        Some(_) => {}
    }
    if rotated_at.is_some_and(|at| record.last_used_at.is_some_and(|used| used > at)) {
        found.push(Finding::RotatedInUse);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::bytes::Sha256Digest;
    use crate::domain::principal::Environment;

    /// What is remarkable about a token, made and last used so many hours before now.
    fn of(made: i64, used: Option<i64>, query: ReviewQuery) -> Vec<Finding> {
        let policies = concat!(env!("CARGO_MANIFEST_DIR"), "/policies");
        let policies = PolicySet::load(std::path::Path::new(policies)).unwrap();
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let before = |hours| now - SignedDuration::from_hours(hours);
        let holder = TokenHolder::Workflow {
            app: "where2eat".parse().unwrap(),
            workflow: "menu-import".parse().unwrap(),
            owner: "marketing".parse().unwrap(),
            environment: Environment::Live,
            scopes: Vec::new(),
            subject: None,
        };
        let (id, hash) = ("AAAAAAAAAAAAAAAA".parse().unwrap(), Sha256Digest::of(b"token"));
        let end = now + SignedDuration::from_hours(24 * 300);
        let record = TokenRecord {
            last_used_at: used.map(before),
            ..TokenRecord::new(id, hash, holder, before(made), Some(end))
        };
        findings(&policies, &record, None, query, now)
    }

    #[test]
    fn a_token_is_unused_from_the_last_of_the_days_on_and_not_before() {
        let (day, old, usual) = (24, 24 * 200, ReviewQuery::default());
        assert_eq!(usual.unused_days, 90);
        assert_eq!(of(old, Some(89 * day), usual), []);
        assert_eq!(of(old, Some(90 * day - 1), usual), []);
        assert_eq!(of(old, Some(90 * day), usual), [Finding::Unused]);
        assert_eq!(of(old, Some(0), usual), [], "its age alone is nothing");
        assert_eq!(of(89 * day, None, usual), []);
        assert_eq!(of(90 * day - 1, None, usual), []);
        assert_eq!(of(90 * day, None, usual), [Finding::NeverUsed]);
        let week = ReviewQuery { unused_days: 7, ..usual };
        assert_eq!((of(old, Some(6 * day), week), of(old, Some(7 * day), week)), (vec![], vec![Finding::Unused]));
    }
}
