//! Retention: until when nobody, the gateway included, may delete or change a served copy.
//!
//! A target's [`Retention`] says how long; a [`Lock`] is what the storage is told for one copy, and [`Kept`] what the
//! storage says about it. A lock is only ever made longer or stricter here. Absent on purpose: lifting a lock, shortening
//! it, and placing or lifting a legal hold. The gateway has no verb for any of them and asks for no right to it.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How strictly a storage keeps to a date. The later one is the stricter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RetentionMode {
    /// Whoever holds a special right of the provider may lift it; Azure calls it `unlocked`.
    Governance,
    /// Nobody may lift it, not even the account's owner; Azure calls it `locked`.
    Compliance,
}

impl RetentionMode {
    /// Its name in `targets.toml`.
    pub fn as_str(self) -> &'static str {
        match self {
            RetentionMode::Governance => "governance",
            RetentionMode::Compliance => "compliance",
        }
    }
}

/// What a target demands of every served copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How strictly.
    pub mode: RetentionMode,
    /// For how many days from the promotion on: 1 to [`Retention::LONGEST`].
    pub days: u32,
}

impl Retention {
    /// A hundred years of 365 days: the longest that Amazon S3 takes ("Object Lock considerations"). Azure takes 400 years.
    pub const LONGEST: u32 = 36_500;

    /// The lock of a copy that is promoted at `at`; it ends with a whole second, because Azure writes no fractions.
    pub fn lock(self, at: Timestamp) -> Lock {
        let whole = at.as_second() + i64::from(at.subsec_nanosecond() > 0);
        let at = Timestamp::from_second(whole).unwrap_or(at);
        let until = at.checked_add(SignedDuration::from_hours(24 * i64::from(self.days))).unwrap_or(Timestamp::MAX);
        Lock { mode: self.mode, until }
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} days in {} mode", self.days, self.mode.as_str())
    }
}

/// A date before which bytes may not be deleted, and how strictly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// How strictly.
    pub mode: RetentionMode,
    /// Until when.
    pub until: Timestamp,
}

impl Lock {
    /// Whether this is at least as long and as strict as the other.
    pub fn covers(&self, other: &Lock) -> bool {
        self.until >= other.until && self.mode >= other.mode
    }

    /// What must be set where `found` is in force: never shorter, never laxer. `None` where it covers this already.
    pub fn over(self, found: Option<Lock>) -> Option<Lock> {
        match found {
            Some(found) if found.covers(&self) => None,
            Some(found) => Some(Lock { mode: self.mode.max(found.mode), until: self.until.max(found.until) }),
            None => Some(self),
        }
    }
}

/// What keeps bytes from being deleted, as their storage says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The date, where there is one; it may be past.
    pub lock: Option<Lock>,
    /// A hold without a date, which only its owner lifts.
    pub legal_hold: bool,
}

impl Kept {
    /// Whether the bytes may not be deleted at `now`.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.legal_hold || self.lock.is_some_and(|lock| lock.until > now)
    }

    /// Whether what is in force covers this lock.
    pub fn covers(&self, lock: &Lock) -> bool {
        self.lock.is_some_and(|found| found.covers(lock))
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.lock, self.legal_hold) {
            (Some(lock), false) => write!(f, "until {}", lock.until),
            (Some(lock), true) => write!(f, "until {}, and as long as a legal hold is on them", lock.until),
            (None, true) => f.write_str("as long as a legal hold is on them"),
            (None, false) => f.write_str("for a reason that it does not tell"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(mode: RetentionMode, until: &str) -> Lock {
        Lock { mode, until: until.parse().unwrap() }
    }

    #[test]
    fn a_period_ends_with_a_whole_second_and_never_early() {
        let retention = Retention { mode: RetentionMode::Governance, days: 90 };
        let until = |at: &str| retention.lock(at.parse().unwrap()).until.to_string();
        assert_eq!(until("2026-11-22T14:00:00Z"), "2027-02-20T14:00:00Z");
        assert_eq!(until("2026-11-22T14:00:00.000000001Z"), "2027-02-20T14:00:01Z");
        let longest = Retention { days: Retention::LONGEST, ..retention };
        assert!(longest.lock("2026-11-22T14:00:00Z".parse().unwrap()).until < Timestamp::MAX);
    }

    #[test]
    fn a_lock_is_never_made_shorter_or_laxer() {
        use RetentionMode::{Compliance, Governance};
        let wanted = lock(Governance, "2027-01-01T00:00:00Z");
        assert_eq!(wanted.over(None), Some(wanted));
        assert_eq!(wanted.over(Some(wanted)), None);
        assert_eq!(wanted.over(Some(lock(Compliance, "2028-01-01T00:00:00Z"))), None);
        let shorter = lock(Compliance, "2026-12-01T00:00:00Z");
        assert_eq!(wanted.over(Some(shorter)), Some(lock(Compliance, "2027-01-01T00:00:00Z")));
        let longer = lock(Governance, "2028-01-01T00:00:00Z");
        let strict = lock(Compliance, "2027-01-01T00:00:00Z");
        assert_eq!(strict.over(Some(longer)), Some(lock(Compliance, "2028-01-01T00:00:00Z")));
    }

    #[test]
    fn a_hold_has_no_date_and_a_date_ends() {
        let now = "2026-11-22T14:00:00Z".parse().unwrap();
        assert!(!Kept::default().is_active(now));
        assert!(Kept { lock: None, legal_hold: true }.is_active(now));
        let until = |text| Kept { lock: Some(lock(RetentionMode::Governance, text)), legal_hold: false };
        assert!(until("2026-11-22T14:00:01Z").is_active(now) && !until("2026-11-22T14:00:00Z").is_active(now));
    }
}
