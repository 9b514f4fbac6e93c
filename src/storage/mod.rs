//! Object storage: one trait, three implementations (S3, Azure Blob, embedded), one conformance suite.
//!
//! Minting is synchronous and touches no network; everything else is a call with a deadline. A store never drops a
//! constraint that it cannot sign: [`enforcement`] says, cell by cell, what each provider puts into the URL and what is
//! checked after the upload. Cloud SDKs are used only below this module and in `worker::events`.

pub mod azure;
pub mod credentials;
pub mod embedded;
pub mod enforcement;
pub mod key_file;
pub mod s3;
pub mod signed_url;

use std::fmt;
use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;
use jiff::Timestamp;

use crate::domain::bytes::StoredBytes;
use crate::domain::grant::{DownloadGrant, UploadGrant};
use crate::domain::key::{Area, ObjectKey, Prefix};
use crate::domain::media::MediaType;
use crate::domain::retention::{Kept, Lock};

pub use enforcement::Provider;
pub use signed_url::{MintedDownload, MintedUpload, SignedUrl};

/// The bytes of an object, in order, in chunks of the transport's choice.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, StorageError>> + Send>>;

/// A bucket or container.
#[async_trait]
pub trait ObjectStore: Send + Sync + fmt::Debug {
    /// Which column of the enforcement table applies.
    fn provider(&self) -> Provider;

    /// A URL (or form) that writes exactly what the grant says. No I/O; about a microsecond.
    ///
    /// # Errors
    /// [`MintError`] where no valid credentials are at hand or the method is not supported.
    fn mint_upload(&self, grant: &UploadGrant) -> Result<MintedUpload, MintError>;

    /// A URL that reads exactly what the grant says. No I/O; about a microsecond.
    ///
    /// # Errors
    /// [`MintError`] where no valid credentials are at hand.
    fn mint_download(&self, grant: &DownloadGrant) -> Result<MintedDownload, MintError>;

    /// What lies under the key now; `None` where nothing does.
    async fn head(&self, key: &ObjectKey) -> Result<Option<StoredObject>, StorageError>;

    /// Reads exactly `bytes` (ETag, and version where there is one) from first to last, with memory bounded by a few
    /// chunks.
    ///
    /// # Errors
    /// [`StorageError::PreconditionFailed`] where other bytes lie there by now, [`StorageError::NotFound`] where none do.
    async fn get(&self, key: &ObjectKey, bytes: &StoredBytes) -> Result<ByteStream, StorageError>;

    /// Copies exactly `bytes` server-side, and sets the attributes of the copy. Repeating it is harmless.
    ///
    /// # Errors
    /// As [`ObjectStore::get`].
    async fn copy(
        &self,
        from: &ObjectKey,
        bytes: &StoredBytes,
        to: &ObjectKey,
        attributes: &ServedAttributes,
    ) -> Result<StoredBytes, StorageError>;

    /// Deletes what lies under the key: that version for good where one is given, else the current bytes.
    /// Nothing there is success.
    ///
    /// # Errors
    /// [`StorageError::Retained`] where retention or a legal hold forbids it; then nothing was changed.
    async fn delete(&self, key: &ObjectKey, version: Option<&str>) -> Result<(), StorageError>;

    /// Keeps anybody from deleting or changing exactly these bytes before the lock's date. A lock that is there is made
    /// longer or stricter, never shorter or laxer; repeating it is harmless.
    ///
    /// # Errors
    /// [`StorageError::CannotRetain`] where the bucket or container is not set up for it, or the gateway may not do it.
    async fn lock(&self, key: &ObjectKey, bytes: &StoredBytes, lock: &Lock) -> Result<(), StorageError>;

    /// What keeps exactly these bytes from being deleted, as the storage says now.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] where they are gone.
    async fn kept(&self, key: &ObjectKey, bytes: &StoredBytes) -> Result<Kept, StorageError>;

    /// Up to `limit` (at most 1,000) objects under the prefix in key order, after `cursor`.
    async fn list(
        &self,
        area: Area,
        prefix: &Prefix,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Listing, StorageError>;

    /// Replaces the object's tags. Tags mirror the gateway's record for people and bucket policies; they decide nothing.
    async fn set_tags(&self, key: &ObjectKey, tags: &[(String, String)]) -> Result<(), StorageError>;

    /// The object's tags.
    async fn tags(&self, key: &ObjectKey) -> Result<Vec<(String, String)>, StorageError>;

    /// Whether the bucket answers; for `/readyz`.
    async fn probe(&self) -> Result<(), StorageError>;

    /// Compares the bucket or container with what the gateway needs; for `vestibule target check`.
    async fn check(&self) -> Vec<CheckItem>;
}

/// An object as a store describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredObject {
    /// What identifies the bytes.
    pub bytes: StoredBytes,
    /// The `Content-Type` that the store keeps.
    pub content_type: Option<String>,
    /// When the bytes were written.
    pub modified_at: Option<Timestamp>,
}

/// What the served copy carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedAttributes {
    /// The verified type.
    pub content_type: MediaType,
    /// Key-value pairs: the app's own, and `vestibule-object`, `vestibule-sha256`.
    pub metadata: Vec<(String, String)>,
    /// Tags, where the provider has them, for example `vestibule-verdict=clean`.
    pub tags: Vec<(String, String)>,
}

/// A page of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Full path inside the bucket and the bytes under it.
    pub objects: Vec<(String, StoredObject)>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<String>,
}

/// One line of `vestibule target check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckItem {
    /// What was looked at, for example `public access`.
    pub name: String,
    /// How it stands.
    pub status: CheckStatus,
    /// What was found, and what to do where it is not enough.
    pub detail: String,
}

/// How one checked setting stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckStatus {
    /// As it should be.
    Good,
    /// Works, but a second net is missing.
    Advice,
    /// The gateway cannot keep its promises like this.
    Missing,
    /// Could not be read, usually for want of a permission.
    Unknown,
}

/// Why no URL could be minted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// The credentials are absent, expired, or expire before a URL would be of use.
    #[error("no storage credentials that live long enough")]
    Credentials,
    /// The provider has no such method.
    #[error("the provider cannot sign this method")]
    Unsupported,
    /// A write to a served key, a read of a staged one, or a grant whose time is over.
    #[error("the grant is none that may be signed")]
    Grant,
}

/// Why a call to the store failed. Messages hold no signature and no credential.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Nothing lies under the key.
    #[error("no such object")]
    NotFound,
    /// Other bytes lie under the key than the call named.
    #[error("the bytes under the key have changed")]
    PreconditionFailed,
    /// The gateway's own credentials do not allow the call.
    #[error("the storage refused the gateway: {0}")]
    Denied(String),
    /// The store did not answer, answered late, or asked to slow down. A retry may help.
    #[error("the storage is away: {0}")]
    Unavailable(String),
    /// Retention or a legal hold keeps the bytes.
    #[error("the storage keeps the bytes {0}")]
    Retained(Kept),
    /// The target demands retention, and its bucket or container cannot or may not be made to keep anything.
    #[error("the storage cannot retain: {0}")]
    CannotRetain(String),
    /// An answer that the gateway does not understand.
    #[error("unexpected answer of the storage: {0}")]
    Unexpected(String),
}

impl StorageError {
    /// Whether trying again may help.
    pub fn is_transient(&self) -> bool {
        matches!(self, StorageError::Unavailable(_))
    }
}
