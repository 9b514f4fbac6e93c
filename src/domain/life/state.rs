//! The names of the states: what indexes, metrics and clients see of an object's life.

use serde::{Deserialize, Serialize};

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

    /// True where the object waits for a reviewer.
    pub fn is_held(self) -> bool {
        matches!(self, State::Quarantined | State::Unscannable)
    }

    /// True where the object counts against its app's quota.
    pub fn holds_quota(self) -> bool {
        !matches!(self, State::Rejected | State::Expired | State::Deleted)
    }
}
