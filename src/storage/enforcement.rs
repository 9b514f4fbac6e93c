//! What a URL enforces, provider by provider: the one table.
//!
//! `docs/enforcement.md` is generated from it and the conformance suite has a case for every cell. A constraint that is
//! not in the URL is checked after the upload, before anything else happens to the bytes.

use crate::domain::grant::UploadMethod;
use crate::domain::target::{ProviderSettings, Target};

/// A storage protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Provider {
    /// Amazon S3 and servers that speak its protocol, the embedded store included.
    S3,
    /// Azure Blob Storage.
    Azure,
}

/// Something that a grant constrains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Constraint {
    /// Which key, which method, until when.
    KeyMethodExpiry,
    /// The exact length.
    Size,
    /// The declared content type.
    ContentType,
    /// The digest, where the client gave one.
    Sha256,
    /// Nothing may be overwritten.
    CreateOnly,
}

/// How the URL enforces a constraint, if it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Enforced {
    /// Part of the signed URL itself.
    Signed,
    /// A header that the signature covers.
    SignedHeader(&'static str),
    /// A condition of the POST policy.
    Policy(&'static str),
    /// A permission of the SAS.
    Permission(&'static str),
    /// Not in the URL; the check after the upload is the only one.
    No,
}

impl Constraint {
    /// Every constraint, in the order of the table.
    pub const ALL: [Constraint; 5] = [
        Constraint::KeyMethodExpiry,
        Constraint::Size,
        Constraint::ContentType,
        Constraint::Sha256,
        Constraint::CreateOnly,
    ];

    /// The row's name.
    pub fn title(self) -> &'static str {
        match self {
            Constraint::KeyMethodExpiry => "key, method, expiry",
            Constraint::Size => "exact size",
            Constraint::ContentType => "content type",
            Constraint::Sha256 => "SHA-256, where the client gives it",
            Constraint::CreateOnly => "create only",
        }
    }

    /// How `provider` enforces this in the URL of an upload by `method`.
    pub fn enforced(self, provider: Provider, method: UploadMethod) -> Enforced {
        use Constraint::{ContentType, CreateOnly, KeyMethodExpiry, Sha256, Size};
        match (provider, method, self) {
            (Provider::S3, UploadMethod::Put, KeyMethodExpiry) => Enforced::Signed,
            (Provider::S3, UploadMethod::Put, Size) => Enforced::SignedHeader("content-length"),
            (Provider::S3, UploadMethod::Put, ContentType) => Enforced::SignedHeader("content-type"),
            (Provider::S3, UploadMethod::Put, Sha256) => Enforced::SignedHeader("x-amz-checksum-sha256"),
            (Provider::S3, UploadMethod::Put, CreateOnly) => Enforced::SignedHeader("if-none-match"),
            (Provider::S3, UploadMethod::Post, KeyMethodExpiry) => Enforced::Policy("key and expiration"),
            (Provider::S3, UploadMethod::Post, Size) => Enforced::Policy("content-length-range"),
            (Provider::S3, UploadMethod::Post, ContentType) => Enforced::Policy("content-type"),
            (Provider::S3, UploadMethod::Post, Sha256) => Enforced::Policy("x-amz-checksum-sha256"),
            (Provider::S3, UploadMethod::Post, CreateOnly) => Enforced::No,
            (Provider::Azure, _, KeyMethodExpiry) => Enforced::Signed,
            (Provider::Azure, _, CreateOnly) => Enforced::Permission("c without w"),
            (Provider::Azure, _, Size | ContentType | Sha256) => Enforced::No,
        }
    }

    /// Whether inspection checks it again. Everything that concerns the bytes is: the table is a first net, never the
    /// only one.
    pub fn checked_after_upload(self) -> bool {
        !matches!(self, Constraint::KeyMethodExpiry)
    }
}

/// Rows of the table about what is no constraint on the bytes: the name, then S3 PUT, S3 POST form, Azure SAS.
pub const CIRCUMSTANCES: [[&str; 4]; 4] = [
    ["https only", "no; the endpoint's scheme", "no; the endpoint's scheme", "`spr=https` where the endpoint is https"],
    ["caller's address", "no", "no", "no"],
    [
        "retention, legal hold, ACL, tags",
        "the signed query names no sub-resource; no `x-amz-*` header but the signed ones",
        "no field but those of the policy",
        "permission `c` or `r` alone: no `i`, no `t`",
    ],
    [
        "trace from issuance to use",
        "signed query parameter `x-grant-id`, in the access log",
        "form field `x-grant-id`; the key holds the object id",
        "`scid` of a user-delegation SAS",
    ],
];

impl Provider {
    /// The column of the table that applies to a target.
    pub fn of(target: &Target) -> Self {
        match target.provider {
            ProviderSettings::S3 { .. } | ProviderSettings::Embedded { .. } => Provider::S3,
            ProviderSettings::Azure { .. } => Provider::Azure,
        }
    }

    /// The upload methods that the provider can sign.
    pub fn methods(self) -> &'static [UploadMethod] {
        match self {
            Provider::S3 => &[UploadMethod::Put, UploadMethod::Post],
            Provider::Azure => &[UploadMethod::Put],
        }
    }
}
