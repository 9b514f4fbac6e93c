//! What the rules look at: requests, parsed at the edge.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;

use crate::domain::asked::AskedFor;
use crate::domain::bytes::Sha256Digest;
use crate::domain::filename::Filename;
use crate::domain::grant::{Disposition, UploadMethod};
use crate::domain::ids::ClassName;
use crate::domain::key::Prefix;
use crate::domain::media::MediaType;
use crate::domain::object::Object;

use super::classes::LAWFUL_BASES;

/// When and from where somebody asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Circumstances {
    /// Now.
    pub now: Timestamp,
    /// The client's address, where it is known.
    pub source: Option<IpAddr>,
}

/// `POST /request-upload`, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadRequest {
    /// The file name as it was sent.
    pub original_filename: String,
    /// The file name made safe.
    pub filename: Filename,
    /// The exact length in bytes.
    pub size: u64,
    /// The declared type.
    pub content_type: MediaType,
    /// Where the object shall lie, from the bucket's root; the app's prefix where absent.
    pub path: Option<Prefix>,
    /// The data class; the manifest's default where absent.
    pub classification: Option<ClassName>,
    /// The digest of the bytes.
    pub sha256: Option<Sha256Digest>,
    /// How the bytes will be sent.
    pub method: UploadMethod,
    /// The app's own key-value pairs.
    pub metadata: BTreeMap<String, String>,
    /// The lawful basis (GDPR Article 6(1)).
    pub lawful_basis: Option<String>,
}

/// `POST /request-download`, parsed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DownloadRequest {
    /// How a browser shall treat the bytes; attachment where absent.
    pub disposition: Option<Disposition>,
    /// Whether a one-time link is asked for.
    pub one_time: bool,
    /// The lawful basis of this access, one of [`LAWFUL_BASES`]; the object's own where absent.
    pub lawful_basis: Option<&'static str>,
}

impl UploadRequest {
    /// What the audit trail keeps of it.
    pub fn asked_for(&self) -> AskedFor {
        let basis = self.lawful_basis.as_deref();
        AskedFor {
            content_type: Some(self.content_type.clone()),
            size: Some(self.size),
            extension: plain_extension(&self.filename),
            path: self.path.clone(),
            classification: self.classification.clone(),
            method: Some(self.method),
            lawful_basis: basis.map(|basis| known_basis(basis).unwrap_or("other").to_owned()),
            ..AskedFor::default()
        }
    }
}

/// What the audit trail keeps of an upload that was allowed: what its object tells.
pub fn asked_for(object: &Object) -> AskedFor {
    let path = object.keys.served.path();
    let directory = path.rsplitn(3, '/').nth(2).unwrap_or_default();
    AskedFor {
        content_type: Some(object.content_type.clone()),
        size: Some(object.size),
        extension: plain_extension(&object.filename),
        path: directory.parse().ok(),
        classification: Some(object.classification.clone()),
        method: Some(object.method),
        lawful_basis: object.lawful_basis.clone(),
        ..AskedFor::default()
    }
}

impl DownloadRequest {
    /// What the audit trail keeps of it; nothing of the usual download.
    pub fn asked_for(&self) -> Option<AskedFor> {
        let unusual = self.one_time
            || self.lawful_basis.is_some()
            || self.disposition.is_some_and(|asked| asked != Disposition::default());
        let one_time = self.one_time.then_some(true);
        let lawful_basis = self.lawful_basis.map(str::to_owned);
        unusual.then(|| AskedFor { disposition: self.disposition, one_time, lawful_basis, ..AskedFor::default() })
    }
}

/// A lawful basis of GDPR Article 6(1) by its word.
pub fn known_basis(asked: &str) -> Option<&'static str> {
    LAWFUL_BASES.into_iter().find(|known| *known == asked)
}

/// What stands after the last dot may be any text; an extension is short and plain.
fn plain_extension(name: &Filename) -> Option<String> {
    let plain = |text: &String| (1..=16).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
    name.extension().filter(plain)
}
