//! What an event says: something may have happened to a key.
//!
//! A hint is never believed. Whoever receives one looks into the storage; a lost, doubled, late or forged hint changes
//! only when that happens.

use jiff::Timestamp;

/// A storage event, whatever its source and envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// The bucket or container that the event names.
    pub bucket: String,
    /// The key, decoded.
    pub key: String,
    /// What is said to have happened.
    pub kind: HintKind,
    /// The version id, where the event names one.
    pub version: Option<String>,
    /// The source's ordering value, for logs; the state machine needs none.
    pub sequencer: Option<String>,
    /// When it is said to have happened.
    pub at: Option<Timestamp>,
}

/// What is said to have happened to the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HintKind {
    /// An object was created or overwritten.
    Created,
    /// An object was removed.
    Removed,
}
