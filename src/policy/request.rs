//! What the rules look at: requests, parsed at the edge.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;

use crate::domain::bytes::Sha256Digest;
use crate::domain::filename::Filename;
use crate::domain::grant::{Disposition, UploadMethod};
use crate::domain::ids::ClassName;
use crate::domain::key::Prefix;
use crate::domain::media::MediaType;

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
}
