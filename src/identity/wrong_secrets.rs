//! Secrets that somebody tries for a token's public id.
//!
//! They are counted only once the id is known to be a token's: a flood of invented ids fills nothing. Nothing here refuses
//! anybody, so that nobody can lock out another's token by failing in its name; 256 bits are not found by trying. What
//! the counts are for is that operators hear of it: a token's id is public, a checksum that fits beside a wrong secret is no
//! slip of the hand.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::domain::ids::TokenId;
use crate::store::TokenRecord;

/// Tokens that are told apart at most; beyond it attempts on further ones are only in the metric.
const MOST: usize = 10_000;

/// What was tried in vain for one token since it was last reported.
#[derive(Clone, Debug)]
pub struct WrongSecrets {
    /// Whose secret it was not.
    pub record: TokenRecord,
    /// How many wrong secrets, at least 1.
    pub count: u64,
}

/// Counts them. The first of a token is to be reported at once, further ones once a minute.
#[derive(Debug, Default)]
pub(super) struct WrongSecretCounter {
    // A std Mutex, because nothing awaits while it is held.
    counted: Mutex<HashMap<TokenId, Counted>>,
}

#[derive(Debug)]
struct Counted {
    record: TokenRecord,
    count: u64,
    reported: Option<i64>,
}

impl WrongSecretCounter {
    pub(super) fn count(&self, record: &TokenRecord) {
        metrics::counter!("vestibule_wrong_secrets_total").increment(1);
        let mut counted = self.lock();
        if let Some(counted) = counted.get_mut(&record.id) {
            counted.count += 1;
        } else if counted.len() < MOST {
            counted.insert(record.id.clone(), Counted { record: record.clone(), count: 1, reported: None });
        }
    }

    /// What is to be reported now; with `everything`, also of tokens that were reported in this minute already.
    pub(super) fn take(&self, now: Timestamp, everything: bool) -> Vec<WrongSecrets> {
        let minute = now.as_second().div_euclid(60);
        let mut counted = self.lock();
        counted.retain(|_, counted| counted.count > 0 || counted.reported == Some(minute));
        let due = counted
            .values_mut()
            .filter(|counted| counted.count > 0 && (everything || counted.reported != Some(minute)));
        due.map(|counted| {
            counted.reported = Some(minute);
            WrongSecrets { record: counted.record.clone(), count: std::mem::take(&mut counted.count) }
        })
        .collect()
    }

    /// Keeps what could not be written for the next time.
    pub(super) fn put_back(&self, wrong: WrongSecrets) {
        let mut counted = self.lock();
        let entry = counted.entry(wrong.record.id.clone());
        let counted = entry.or_insert(Counted { record: wrong.record, count: 0, reported: None });
        counted.count += wrong.count;
        counted.reported = None;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TokenId, Counted>> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::admin::AdminRoles;
    use crate::domain::bytes::Sha256Digest;
    use crate::identity::{Token, TokenKind};
    use crate::store::TokenHolder;

    fn record() -> TokenRecord {
        let clock = crate::clock::Clock::system();
        let (_, id, _) = Token::generate(TokenKind::Operator, &clock);
        let holder = TokenHolder::Operator { name: "tests".into(), roles: AdminRoles::admin() };
        TokenRecord::new(id, Sha256Digest::of(b""), holder, clock.now(), None)
    }

    #[test]
    fn the_first_is_told_at_once_and_others_once_a_minute() {
        let counter = WrongSecretCounter::default();
        let (one, other) = (record(), record());
        let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();
        let counts =
            |now, everything| counter.take(now, everything).iter().map(|wrong| wrong.count).collect::<Vec<_>>();
        counter.count(&one);
        assert_eq!(counts(at(0), false), [1]);
        counter.count(&one);
        counter.count(&one);
        assert_eq!(counts(at(59), false), [0_u64; 0]);
        counter.count(&other);
        assert_eq!(counts(at(59), false), [1], "the other one for the first time");
        assert_eq!(counts(at(60), false), [2]);
        counter.count(&one);
        assert_eq!(counts(at(61), true), [1], "at the end everything");
        let kept = WrongSecrets { record: one, count: 7 };
        counter.put_back(kept);
        assert_eq!(counts(at(62), false), [7]);
        assert!(counts(at(180), true).is_empty() && counter.lock().is_empty(), "and then it is forgotten");
    }

    #[test]
    fn no_flood_fills_the_memory() {
        let counter = WrongSecretCounter::default();
        (0..MOST + 10).for_each(|_| counter.count(&record()));
        assert_eq!(counter.lock().len(), MOST);
    }
}
