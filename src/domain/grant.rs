//! Grants: authority as a value.
//!
//! A permit says that the rules allow something and which rule did; only `policy::decide` makes one. A grant is a permit
//! bound to one object, one key and one moment; only a grant can be signed, and a signer that cannot enforce part of it
//! must leave that part to the check after the upload (the table in `storage::enforcement`), never drop it silently.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::bytes::{Sha256Digest, StoredBytes};
use super::filename::Filename;
use super::ids::{ClassName, GrantId, ObjectId, OwnerName, TargetName};
use super::key::{ObjectKey, Prefix};
use super::media::MediaType;
use super::quota::QuotaLimits;

/// How the client will send the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum UploadMethod {
    /// One HTTP PUT with the headers that are handed out.
    Put,
    /// One HTML form, an S3 POST policy.
    Post,
}

impl UploadMethod {
    /// The HTTP method.
    pub fn as_str(self) -> &'static str {
        match self {
            UploadMethod::Put => "PUT",
            UploadMethod::Post => "POST",
        }
    }
}

/// How a browser should treat a download.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Disposition {
    /// Save it (the default: a stored script cannot run from a saved file).
    #[default]
    Attachment,
    /// Show it; only for types that the manifest lists as safe to show.
    Inline,
}

impl Disposition {
    /// The token of RFC 6266.
    pub fn as_str(self) -> &'static str {
        match self {
            Disposition::Attachment => "attachment",
            Disposition::Inline => "inline",
        }
    }
}

/// An allowing decision on an upload, with everything that it decided.
#[derive(Clone, Debug)]
pub struct UploadPermit {
    /// Where the object will lie.
    pub target: TargetName,
    /// The rendered prefix of the served copy.
    pub prefix: Prefix,
    /// The target's staging prefix.
    pub staging: Prefix,
    /// The class that applies, after defaults.
    pub classification: ClassName,
    /// Where the target's data resides, for example `eu`.
    pub residency: Arc<str>,
    /// How long the URL may live.
    pub ttl: Duration,
    /// Who answers for the app; charged with it.
    pub owner: OwnerName,
    /// The quotas of both, to be reserved with the grant.
    pub quota: QuotaLimits,
    /// The rule that allowed it, for example `apps/where2eat.toml`.
    pub rule: Arc<str>,
}

/// An allowing decision on a download.
#[derive(Clone, Debug)]
pub struct DownloadPermit {
    /// How long the URL may live.
    pub ttl: Duration,
    /// Whether the URL must be a one-time link of the gateway.
    pub one_time: bool,
    /// How a browser should treat the bytes.
    pub disposition: Disposition,
    /// Who answers for the app; charged with it.
    pub owner: OwnerName,
    /// The quotas of both.
    pub quota: QuotaLimits,
    /// The lawful basis of the access, where one is known.
    pub lawful_basis: Option<String>,
    /// The rule that allowed it.
    pub rule: Arc<str>,
}

/// What one upload URL may do.
#[derive(Clone, Debug)]
pub struct UploadGrant {
    /// Written into the URL, so that the storage's access log leads back here.
    pub id: GrantId,
    /// The object that the bytes will become.
    pub object: ObjectId,
    /// The staging key: the only key that may be written.
    pub key: ObjectKey,
    /// PUT or form.
    pub method: UploadMethod,
    /// Exact length in bytes.
    pub size: u64,
    /// Exact content type.
    pub content_type: MediaType,
    /// The digest of the bytes, where the client gave it.
    pub sha256: Option<Sha256Digest>,
    /// The URL works from here …
    pub issued_at: Timestamp,
    /// … to here; a signer may shorten it to the life of its credentials, never lengthen it.
    pub expires_at: Timestamp,
}

/// What one download URL may do.
#[derive(Clone, Debug)]
pub struct DownloadGrant {
    /// Written into the URL, so that the storage's access log leads back here.
    pub id: GrantId,
    /// The object that is read.
    pub object: ObjectId,
    /// The served key: the only key that may be read.
    pub key: ObjectKey,
    /// The bytes that were judged clean; the version is pinned where the store keeps versions.
    pub bytes: StoredBytes,
    /// Forced as `Content-Disposition`.
    pub disposition: Disposition,
    /// The name in `Content-Disposition`.
    pub filename: Filename,
    /// Forced as `Content-Type`: the verified type.
    pub content_type: MediaType,
    /// The URL works from here …
    pub issued_at: Timestamp,
    /// … to here.
    pub expires_at: Timestamp,
}
