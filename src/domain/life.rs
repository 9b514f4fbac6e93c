//! The life of an object.
//!
//! ```text
//! issued ──▶ uploaded ──▶ scanning ──clean──▶ promoting ──▶ visible ──▶ deleted
//!    │           │            ├─ infected ─────────▶ quarantined ──review──▶ promoting | deleted
//!    │           │            ├─ cannot be judged ─▶ unscannable ──review──▶ promoting | deleted
//!    └▶ expired  └─▶ rejected ◀── wrong size, digest, type or content
//!
//! containment:  uploaded, scanning, promoting, visible ──▶ quarantined ──review──▶ where it was | deleted
//! ```
//!
//! Every transition consumes the state and returns the next one or a typed error; the store writes it by
//! compare-and-set, so that a late worker cannot move an object back. Only `promoting` leads to `visible` for the first
//! time, and only a clean verdict or a reviewer's release leads to `promoting`. What was contained goes back to where it
//! was: what was visible to exactly the same served bytes, what was not inspected yet to its inspection.

mod state;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::bytes::StoredBytes;
use super::ids::RevocationId;
use super::refusal::Reason;
use super::verdict::{Finding, Verdict};

pub use state::State;

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
    /// Whoever uploaded it was revoked, and everything of theirs is held for review. The state is `quarantined`: nobody
    /// may have it, whatever inspection found.
    Contained {
        /// What lies where.
        held: Held,
        /// What inspection found, where it came that far.
        verdict: Option<Verdict>,
        /// Who had released it before.
        review: Option<Review>,
        /// Under which revocation.
        revocation: RevocationId,
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

/// Where the bytes of a contained object lie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Held {
    /// In staging: it was not visible yet.
    Staged(StoredBytes),
    /// Under the served key: it was visible.
    Served {
        /// The served copy.
        bytes: StoredBytes,
        /// Before when the storage lets nobody delete it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retained_until: Option<Timestamp>,
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
            Life::Quarantined { .. } | Life::Contained { .. } => State::Quarantined,
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
            | Life::Contained { held: Held::Staged(staged), .. }
            | Life::Unscannable { staged, .. } => Some(staged),
            _ => None,
        }
    }

    /// The served copy, where there is one that the record stands for: of what is visible, and of what was when it was
    /// contained.
    pub fn served(&self) -> Option<&StoredBytes> {
        match self {
            Life::Visible { served, .. } | Life::Contained { held: Held::Served { bytes: served, .. }, .. } => {
                Some(served)
            }
            _ => None,
        }
    }

    /// What inspection found, where it came that far.
    pub fn verdict(&self) -> Option<&Verdict> {
        match self {
            Life::Quarantined { verdict, .. } => Some(verdict),
            Life::Promoting { verdict, .. }
            | Life::Visible { verdict, .. }
            | Life::Contained { verdict, .. }
            | Life::Unscannable { verdict, .. }
            | Life::Rejected { verdict, .. } => verdict.as_ref(),
            _ => None,
        }
    }

    /// Before when the storage lets nobody delete the served copy, where such a date was recorded.
    pub fn retained_until(&self) -> Option<Timestamp> {
        match self {
            Life::Visible { retained_until, .. }
            | Life::Contained { held: Held::Served { retained_until, .. }, .. } => *retained_until,
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

    /// Whoever uploaded it was revoked: nobody may have it until a reviewer has looked at it. An upload that is still
    /// awaited ends; what is held already stays as it is, for its own reason.
    pub fn contain(self, revocation: RevocationId) -> Next {
        let (held, verdict, review) = match self {
            Life::Issued => {
                return Ok(Life::Deleted { detail: format!("its upload was ended by the revocation {revocation}") });
            }
            Life::Uploaded { staged } | Life::Scanning { staged } => (Held::Staged(staged), None, None),
            Life::Promoting { staged, verdict, review } => (Held::Staged(staged), verdict, review),
            Life::Visible { served, verdict, review, retained_until } => {
                (Held::Served { bytes: served, retained_until }, verdict, review)
            }
            other => return Err(other.refuse("contained")),
        };
        Ok(Life::Contained { held, verdict, review, revocation })
    }

    /// A reviewer lets a held object through. What was contained goes back to where it was: a copy that was served is
    /// served again as it is, and what nobody has judged yet is inspected first.
    pub fn release(self, review: Review) -> Next {
        match self {
            Life::Contained { held: Held::Served { bytes, retained_until }, verdict, .. } => {
                Ok(Life::Visible { served: bytes, verdict, review: Some(review), retained_until })
            }
            Life::Contained { held: Held::Staged(staged), verdict: None, .. } => Ok(Life::Uploaded { staged }),
            Life::Contained { held: Held::Staged(staged), verdict, .. } => {
                Ok(Life::Promoting { staged, verdict, review: Some(review) })
            }
            Life::Quarantined { staged, verdict } => {
                Ok(Life::Promoting { staged, verdict: Some(verdict), review: Some(review) })
            }
            Life::Unscannable { staged, verdict, .. } => Ok(Life::Promoting { staged, verdict, review: Some(review) }),
            other => Err(other.refuse("released")),
        }
    }

    /// A reviewer has an object inspected again that nobody could judge, for example after the scanner was away. What was
    /// contained is held for who uploaded it, which no inspection can judge: it is released, by as many as the policy asks.
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
mod tests;
