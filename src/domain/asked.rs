//! What a request asked for, as far as rules look at it, for the audit trail: so that tomorrow's rules can be tried on
//! yesterday's requests.
//!
//! Recorded with refusals, and with downloads whose manner the object cannot tell. Never holds a file name, metadata or a
//! digest: they may be personal data, and no rule looks at them.

use serde::{Deserialize, Serialize};

use super::grant::{Disposition, UploadMethod};
use super::ids::ClassName;
use super::key::Prefix;
use super::media::MediaType;
use super::text::without_tokens;

/// The parts of a request that a rule can look at; what it did not say is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AskedFor {
    /// An upload's declared type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<MediaType>,
    /// An upload's declared length in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The extension of an upload's file name, where it is one of letters and digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension: Option<String>,
    /// The directory of an upload, or the prefix of a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Prefix>,
    /// The data class that an upload named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classification: Option<ClassName>,
    /// How an upload's bytes would have been sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<UploadMethod>,
    /// The lawful basis that was named; `other` for what is none of GDPR Article 6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lawful_basis: Option<String>,
    /// How a browser should have treated a download.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disposition: Option<Disposition>,
    /// Whether a one-time link was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_time: Option<bool>,
}

impl AskedFor {
    /// The same without a path or a type in which somebody wrote a token: tokens reach no record.
    #[must_use]
    pub fn without_tokens(mut self) -> Self {
        let clean = |text: &str| without_tokens(text) == text;
        self.path = self.path.filter(|path| clean(path.as_str()));
        self.content_type = self.content_type.filter(|media| clean(media.as_str()));
        self
    }
}
