//! What inspection found about exact bytes.
//!
//! Never a boolean: *clean*, *infected*, *refused for its content* and *cannot be judged* are different answers, and only
//! the first opens the inner door. A verdict names the bytes (ETag, version, SHA-256) that it is about.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::bytes::{Sha256Digest, StoredBytes};
use super::media::MediaType;
use super::refusal::Reason;

/// The result of one inspection of one state of the bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// What was found.
    pub finding: Finding,
    /// The engine and its version, for example `ClamAV 1.4.6`.
    pub engine: String,
    /// The signature database's version and date, as the engine tells them.
    pub signatures: String,
    /// When the inspection ended.
    pub at: Timestamp,
    /// The bytes that were read.
    pub bytes: StoredBytes,
    /// Their digest, computed in the same pass.
    pub sha256: Sha256Digest,
    /// The type that the content has, whatever was declared.
    pub detected: Option<MediaType>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "camelCase")]
pub enum Finding {
    /// The scanner answered exactly `stream: OK`, and length, digest and type agree with what was declared.
    Clean,
    /// The scanner named a signature.
    Infected {
        /// The signature's name, for example `Win.Test.EICAR_HDB-1`.
        signature: String,
    },
    /// The content is not what was declared or not what the manifest allows.
    Rejected {
        /// The code that the client sees.
        reason: Reason,
        /// A sentence for the person who reads it.
        detail: String,
    },
    /// Nobody could judge the bytes: too large for the scanner, encrypted, nested too deep.
    CannotBeJudged {
        /// What prevented it.
        detail: String,
    },
}

impl Finding {
    /// The finding's name as clients and metrics see it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Finding::Clean => "clean",
            Finding::Infected { .. } => "infected",
            Finding::Rejected { .. } => "rejected",
            Finding::CannotBeJudged { .. } => "cannotBeJudged",
        }
    }
}
