//! When tokens were last used: noted in memory at most once a minute for each, and written in one go by housekeeping.
//!
//! On the hot path this is one atomic ([`Minute`]); the map behind it is touched once a minute for each token. A crash
//! loses what was noted since the last writing, some seconds. Uses of a token that was rotated are told apart, so that
//! somebody hears of them before it dies.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::domain::ids::TokenId;
use crate::store::TokenRecord;

/// Time between two reports about one rotated token by one node.
const BETWEEN_REPORTS: SignedDuration = SignedDuration::from_hours(1);

/// The minute in which a use was noted last.
#[derive(Debug)]
pub(super) struct Minute(AtomicI64);

impl Default for Minute {
    fn default() -> Self {
        Self(AtomicI64::new(i64::MIN))
    }
}

impl Minute {
    /// Whether a use at `now` is the first of its minute.
    pub(super) fn is_new(&self, now: Timestamp) -> bool {
        let minute = now.as_second().div_euclid(60);
        // Two that see the old minute at once both note it, which is harmless.
        self.0.load(Ordering::Relaxed) != minute && self.0.swap(minute, Ordering::Relaxed) != minute
    }
}

/// What was noted and is not yet written.
#[derive(Debug, Default)]
pub(super) struct Uses {
    // A std Mutex, because nothing awaits while it is held.
    noted: Mutex<Noted>,
}

#[derive(Debug, Default)]
struct Noted {
    used: HashMap<TokenId, Timestamp>,
    /// Tokens that were used after their rotation.
    rotated: HashMap<TokenId, TokenRecord>,
    /// When each of them was reported last.
    reported: HashMap<TokenId, Timestamp>,
}

/// What housekeeping has to write.
#[derive(Debug, Default)]
pub struct NotedUses {
    /// When each token was used last.
    pub used: Vec<(TokenId, Timestamp)>,
    /// Rotated tokens that somebody still uses, each at most once an hour.
    pub rotated: Vec<TokenRecord>,
}

impl Uses {
    /// Notes that a token was used, where it is the first time in this minute.
    pub(super) fn note(&self, minute: &Minute, record: &TokenRecord, now: Timestamp) {
        if !minute.is_new(now) {
            return;
        }
        let mut noted = self.lock();
        noted.used.insert(record.id.clone(), now);
        if record.successor.is_some() {
            noted.rotated.insert(record.id.clone(), record.clone());
        }
    }

    /// Takes what was noted.
    pub(super) fn take(&self, now: Timestamp) -> NotedUses {
        let mut noted = self.lock();
        noted.reported.retain(|_, at| now.duration_since(*at) < BETWEEN_REPORTS);
        let used = std::mem::take(&mut noted.used).into_iter().collect();
        let rotated = std::mem::take(&mut noted.rotated);
        let rotated: Vec<TokenRecord> =
            rotated.into_values().filter(|record| !noted.reported.contains_key(&record.id)).collect();
        noted.reported.extend(rotated.iter().map(|record| (record.id.clone(), now)));
        NotedUses { used, rotated }
    }

    /// Keeps what could not be written for the next time.
    pub(super) fn put_back(&self, uses: NotedUses) {
        let mut noted = self.lock();
        for (id, at) in uses.used {
            let latest = noted.used.entry(id).or_insert(at);
            *latest = at.max(*latest);
        }
        for record in uses.rotated {
            noted.reported.remove(&record.id);
            noted.rotated.insert(record.id.clone(), record);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::admin::AdminRoles;
    use crate::domain::bytes::Sha256Digest;
    use crate::store::TokenHolder;

    fn at(time: &str) -> Timestamp {
        format!("2026-11-21T{time}Z").parse().unwrap()
    }

    fn token(successor: Option<&str>) -> TokenRecord {
        let holder = TokenHolder::Operator { name: "ana".into(), roles: AdminRoles::admin() };
        let id = "AAAAAAAAAAAAAAAA".parse().unwrap();
        let mut record = TokenRecord::new(id, Sha256Digest([0; 32]), holder, at("09:00:00"), None);
        record.successor = successor.map(|id| id.parse().unwrap());
        record
    }

    #[test]
    fn a_use_is_noted_once_a_minute() {
        let minute = Minute::default();
        let news = ["10:00:00", "10:00:59", "10:01:00", "10:01:30", "10:03:00"].map(|time| minute.is_new(at(time)));
        assert_eq!(news, [true, false, true, false, true]);
    }

    #[test]
    fn what_was_noted_is_taken_once_and_put_back_where_it_could_not_be_written() {
        let uses = Uses::default();
        uses.note(&Minute::default(), &token(None), at("10:00:00"));
        uses.note(&Minute::default(), &token(None), at("10:01:00"));
        let taken = uses.take(at("10:01:01"));
        assert_eq!((taken.used.len(), taken.used[0].1, taken.rotated.len()), (1, at("10:01:00"), 0));
        assert!(uses.take(at("10:01:02")).used.is_empty());
        uses.note(&Minute::default(), &token(None), at("10:02:00"));
        uses.put_back(taken);
        assert_eq!(uses.take(at("10:02:01")).used[0].1, at("10:02:00"), "the later one stays");
    }

    #[test]
    fn a_rotated_token_is_reported_once_an_hour() {
        let uses = Uses::default();
        let old = token(Some("BBBBBBBBBBBBBBBB"));
        let mut reports = Vec::new();
        for time in ["10:00:00", "10:01:00", "10:59:00", "11:00:00", "11:30:00"] {
            uses.note(&Minute::default(), &old, at(time));
            reports.push(uses.take(at(time)).rotated.len());
        }
        assert_eq!(reports, [1, 0, 0, 1, 0]);
        uses.note(&Minute::default(), &old, at("12:00:00"));
        let lost = uses.take(at("12:00:00"));
        assert_eq!(lost.rotated.len(), 1);
        uses.put_back(lost);
        assert_eq!(uses.take(at("12:00:01")).rotated.len(), 1, "what could not be written is not reported yet");
    }
}
