//! The life of an object.
//!
//! ```text
//! issued ──▶ uploaded ──▶ scanning ──clean──▶ promoting ──▶ visible ──▶ deleted
//!    │           │            ├─ infected ─────────▶ quarantined ──review──▶ promoting | deleted
//!    │           │            ├─ cannot be judged ─▶ unscannable ──review──▶ promoting | deleted
//!    └▶ expired  └─▶ rejected ◀── wrong size, digest, type or content
//! ```
//!
//! Every transition consumes the state and returns the next one or a typed error; the store writes it by
//! compare-and-set, so that a late worker cannot move an object back. Only `promoting` leads to `visible`, and only a
//! clean verdict or a reviewer's release leads to `promoting`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::bytes::StoredBytes;
use super::refusal::Reason;
use super::verdict::{Finding, Verdict};

/// Where an object stands, with what is known about its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Life {
    /// The URL was handed out; nothing has arrived.
    Issued,
    /// The bytes are in staging and wait for inspection.
    Uploaded {
        /// What lies in staging.
        staged: StoredBytes,
    },
    /// A worker holds the lease and reads the bytes.
    Scanning {
        /// What lies in staging.
        staged: StoredBytes,
    },
    /// Judged clean or released; the copy to the served key is under way.
    Promoting {
        /// What lies in staging.
        staged: StoredBytes,
        /// What inspection found.
        verdict: Option<Verdict>,
        /// Who released it, where inspection did not find it clean.
        review: Option<Review>,
    },
    /// May be downloaded.
    Visible {
        /// The served copy.
        served: StoredBytes,
        /// What inspection found.
        verdict: Option<Verdict>,
        /// Who released it, where inspection did not find it clean.
        review: Option<Review>,
        /// Before when the storage lets nobody delete the served copy, as it said after the copy.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retained_until: Option<Timestamp>,
    },
    /// Malware was found; held in staging for review.
    Quarantined {
        /// What lies in staging.
        staged: StoredBytes,
        /// What inspection found.
        verdict: Verdict,
    },
    /// Could not be judged; held in staging for review.
    Unscannable {
        /// What lies in staging.
        staged: StoredBytes,
        /// The last verdict, where the scanner answered at all.
        verdict: Option<Verdict>,
        /// Why nobody could judge it.
        detail: String,
    },
    /// Not what was declared or not allowed; the bytes are removed.
    Rejected {
        /// Which rule it broke.
        reason: Reason,
        /// A sentence for the person who reads it.
        detail: String,
        /// What inspection found, where it came that far.
        verdict: Option<Verdict>,
    },
    /// Nothing arrived in time.
    Expired,
    /// Deleted by its app or a reviewer; the bytes are removed.
    Deleted {
        /// Why, in the words of who deleted it.
        detail: String,
    },
}

/// A reviewer's decision on a held object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Review {
    /// The operator's name.
    pub by: String,
    /// The written reason.
    pub reason: String,
}

/// The name of a state, without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "documented at the variants of `Life`")]
pub enum State {
    Issued,
    Uploaded,
    Scanning,
    Promoting,
    Visible,
    Quarantined,
    Unscannable,
    Rejected,
    Expired,
    Deleted,
}

impl State {
    /// Every state, in the order of an object's life.
    pub const ALL: [State; 10] = [
        State::Issued,
        State::Uploaded,
        State::Scanning,
        State::Promoting,
        State::Visible,
        State::Quarantined,
        State::Unscannable,
        State::Rejected,
        State::Expired,
        State::Deleted,
    ];

    /// The state's name as clients, the database and metrics see it.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Issued => "issued",
            State::Uploaded => "uploaded",
            State::Scanning => "scanning",
            State::Promoting => "promoting",
            State::Visible => "visible",
            State::Quarantined => "quarantined",
            State::Unscannable => "unscannable",
            State::Rejected => "rejected",
            State::Expired => "expired",
            State::Deleted => "deleted",
        }
    }

    /// The state with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// True where the object counts against its app's quota.
    pub fn holds_quota(self) -> bool {
        !matches!(self, State::Rejected | State::Expired | State::Deleted)
    }
}

/// A transition that the diagram does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an object that is {} cannot be {transition}", from.as_str())]
pub struct InvalidTransition {
    /// The state that it is in.
    pub from: State,
    /// What was attempted, as a participle.
    pub transition: &'static str,
}

type Next = Result<Life, InvalidTransition>;

impl Life {
    /// The state's name.
    pub fn state(&self) -> State {
        match self {
            Life::Issued => State::Issued,
            Life::Uploaded { .. } => State::Uploaded,
            Life::Scanning { .. } => State::Scanning,
            Life::Promoting { .. } => State::Promoting,
            Life::Visible { .. } => State::Visible,
            Life::Quarantined { .. } => State::Quarantined,
            Life::Unscannable { .. } => State::Unscannable,
            Life::Rejected { .. } => State::Rejected,
            Life::Expired => State::Expired,
            Life::Deleted { .. } => State::Deleted,
        }
    }

    /// The bytes in staging, where the object's life says that there are any.
    pub fn staged(&self) -> Option<&StoredBytes> {
        match self {
            Life::Uploaded { staged }
            | Life::Scanning { staged }
            | Life::Promoting { staged, .. }
            | Life::Quarantined { staged, .. }
            | Life::Unscannable { staged, .. } => Some(staged),
            _ => None,
        }
    }

    /// What inspection found, where it came that far.
    pub fn verdict(&self) -> Option<&Verdict> {
        match self {
            Life::Quarantined { verdict, .. } => Some(verdict),
            Life::Promoting { verdict, .. }
            | Life::Visible { verdict, .. }
            | Life::Unscannable { verdict, .. }
            | Life::Rejected { verdict, .. } => verdict.as_ref(),
            _ => None,
        }
    }

    /// Before when the storage lets nobody delete the served copy, where such a date was recorded.
    pub fn retained_until(&self) -> Option<Timestamp> {
        match self {
            Life::Visible { retained_until, .. } => *retained_until,
            _ => None,
        }
    }

    fn refuse(&self, transition: &'static str) -> InvalidTransition {
        InvalidTransition { from: self.state(), transition }
    }

    /// The bytes have arrived in staging.
    pub fn arrived(self, staged: StoredBytes) -> Next {
        match self {
            Life::Issued => Ok(Life::Uploaded { staged }),
            other => Err(other.refuse("uploaded")),
        }
    }

    /// Nothing arrived in time.
    pub fn expire(self) -> Next {
        match self {
            Life::Issued => Ok(Life::Expired),
            other => Err(other.refuse("expired")),
        }
    }

    /// A worker begins, or begins again after another one died.
    pub fn claim(self) -> Next {
        match self {
            Life::Uploaded { staged } | Life::Scanning { staged } => Ok(Life::Scanning { staged }),
            other => Err(other.refuse("scanned")),
        }
    }

    /// Inspection has ended with a verdict about the staged bytes.
    pub fn judge(self, verdict: Verdict) -> Next {
        match self {
            Life::Scanning { staged } if verdict.bytes == staged => Ok(match verdict.finding.clone() {
                Finding::Clean => Life::Promoting { staged, verdict: Some(verdict), review: None },
                Finding::Infected { .. } => Life::Quarantined { staged, verdict },
                Finding::Rejected { reason, detail } => Life::Rejected { reason, detail, verdict: Some(verdict) },
                Finding::CannotBeJudged { detail } => Life::Unscannable { staged, verdict: Some(verdict), detail },
            }),
            other => Err(other.refuse("judged")),
        }
    }

    /// The bounded tries are used up: nobody could judge the bytes, or nobody could copy them.
    pub fn give_up(self, detail: String) -> Next {
        match self {
            Life::Uploaded { staged } | Life::Scanning { staged } => {
                Ok(Life::Unscannable { staged, verdict: None, detail })
            }
            Life::Promoting { staged, verdict, .. } => Ok(Life::Unscannable { staged, verdict, detail }),
            other => Err(other.refuse("held")),
        }
    }

    /// The upload broke a rule that could be seen without reading it, or changed under the inspection.
    pub fn reject(self, reason: Reason, detail: String) -> Next {
        match self {
            Life::Issued | Life::Uploaded { .. } | Life::Scanning { .. } => {
                Ok(Life::Rejected { reason, detail, verdict: None })
            }
            Life::Promoting { verdict, .. } => Ok(Life::Rejected { reason, detail, verdict }),
            other => Err(other.refuse("rejected")),
        }
    }

    /// The copy to the served key is done, and kept by its storage until `retained_until` where there is such a date.
    pub fn promoted(self, served: StoredBytes, retained_until: Option<Timestamp>) -> Next {
        match self {
            Life::Promoting { verdict, review, .. } => Ok(Life::Visible { served, verdict, review, retained_until }),
            other => Err(other.refuse("made visible")),
        }
    }

    /// A reviewer lets a held object through.
    pub fn release(self, review: Review) -> Next {
        match self {
            Life::Quarantined { staged, verdict } => {
                Ok(Life::Promoting { staged, verdict: Some(verdict), review: Some(review) })
            }
            Life::Unscannable { staged, verdict, .. } => Ok(Life::Promoting { staged, verdict, review: Some(review) }),
            other => Err(other.refuse("released")),
        }
    }

    /// A reviewer has an object inspected again that nobody could judge, for example after the scanner was away.
    pub fn inspect_again(self) -> Next {
        match self {
            Life::Unscannable { staged, .. } => Ok(Life::Uploaded { staged }),
            other => Err(other.refuse("inspected again")),
        }
    }

    /// The app or a reviewer deletes the object. What is being scanned or promoted must end first.
    pub fn delete(self, detail: String) -> Next {
        match self {
            Life::Scanning { .. }
            | Life::Promoting { .. }
            | Life::Rejected { .. }
            | Life::Expired
            | Life::Deleted { .. } => Err(self.refuse("deleted")),
            _ => Ok(Life::Deleted { detail }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::bytes::Sha256Digest;

    fn staged() -> StoredBytes {
        StoredBytes { etag: "\"a\"".into(), version: None, size: 3 }
    }

    fn verdict(finding: Finding, bytes: StoredBytes) -> Verdict {
        Verdict {
            finding,
            engine: "ClamAV 1.4.6".into(),
            signatures: "27000".into(),
            at: "2026-11-21T10:00:00Z".parse().unwrap(),
            bytes,
            sha256: Sha256Digest::of(b"abc"),
            detected: None,
        }
    }

    #[test]
    fn only_a_clean_verdict_or_a_release_leads_to_visible() {
        let scanning = Life::Issued.arrived(staged()).unwrap().claim().unwrap();
        let clean = scanning.clone().judge(verdict(Finding::Clean, staged())).unwrap();
        assert_eq!(clean.promoted(staged(), None).unwrap().state(), State::Visible);

        let infected = Finding::Infected { signature: "Test.EICAR".into() };
        let held = scanning.clone().judge(verdict(infected, staged())).unwrap();
        assert!(held.clone().promoted(staged(), None).is_err());
        let released = held.release(Review { by: "ana".into(), reason: "false alarm".into() }).unwrap();
        assert_eq!(released.promoted(staged(), None).unwrap().state(), State::Visible);

        let unjudged = scanning.give_up("clamd is away".into()).unwrap();
        assert_eq!(unjudged.state(), State::Unscannable);
        assert!(unjudged.promoted(staged(), None).is_err());
    }

    #[test]
    fn a_verdict_about_other_bytes_is_refused() {
        let scanning = Life::Scanning { staged: staged() };
        let other = StoredBytes { etag: "\"b\"".into(), ..staged() };
        assert!(scanning.judge(verdict(Finding::Clean, other)).is_err());
    }

    #[test]
    fn what_was_recorded_before_there_was_retention_reads_back_as_not_retained() {
        let old = r#"{"state":"visible","served":{"etag":"a","size":3},"verdict":null,"review":null}"#;
        let life: Life = serde_json::from_str(old).unwrap();
        assert_eq!(life.retained_until(), None);
        assert_eq!(serde_json::to_value(&life).unwrap(), serde_json::from_str::<serde_json::Value>(old).unwrap());
        let until = Some("2027-01-01T00:00:00Z".parse().unwrap());
        let Life::Visible { served, verdict, review, .. } = life else { panic!("it is visible") };
        let kept = Life::Visible { served, verdict, review, retained_until: until };
        let read: Life = serde_json::from_value(serde_json::to_value(&kept).unwrap()).unwrap();
        assert_eq!(read.retained_until(), until);
    }

    #[test]
    fn finished_states_go_nowhere_but_deleted() {
        let visible = Life::Visible { served: staged(), verdict: None, review: None, retained_until: None };
        assert!(visible.clone().claim().is_err() && visible.clone().arrived(staged()).is_err());
        assert_eq!(visible.delete("done".into()).unwrap().state(), State::Deleted);
        for life in [Life::Expired, Life::Deleted { detail: String::new() }] {
            assert!(life.clone().arrived(staged()).is_err());
            assert!(life.clone().delete(String::new()).is_err());
            assert!(life.expire().is_err());
        }
    }
}
