//! What an app's manifest says about content, in the form in which inspection needs it.

use serde::{Deserialize, Serialize};

use super::media::MediaType;

/// What to do with content that a manifest has an opinion on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Handling {
    /// Reject the upload and remove its bytes.
    #[default]
    Reject,
    /// Hold it for review: it cannot be judged by a machine.
    Hold,
    /// Let it pass, if the scanner finds nothing.
    Allow,
}

/// The content rules of one app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentRules {
    /// The types that the app may upload.
    pub types: Vec<MediaType>,
    /// Office documents with macros, SVG and HTML with scripts.
    pub active_content: Handling,
    /// Archives and documents that are encrypted.
    pub encrypted: Handling,
    /// Most bytes that an archive may unpack to.
    pub max_unpacked_bytes: u64,
    /// Most entries that an archive may hold.
    pub max_entries: u64,
    /// Largest ratio of unpacked to packed bytes.
    pub max_ratio: u64,
}
