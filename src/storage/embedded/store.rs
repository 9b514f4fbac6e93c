//! The gateway's own way to the data directory.
//!
//! URLs come from the same presigner as for Amazon S3; everything else works on the files. What the gateway does itself is
//! not notified: it knows.

use std::fmt;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use futures::TryStreamExt;

use super::disk::{About, Disk, DiskError, Draft};
use super::s3::read;
use crate::domain::bytes::StoredBytes;
use crate::domain::grant::{DownloadGrant, UploadGrant};
use crate::domain::key::{Area, ObjectKey, Prefix};
use crate::domain::retention::{Kept, Lock};
use crate::storage::s3::Presigner;
use crate::storage::{
    ByteStream, CheckItem, CheckStatus, Listing, MintError, MintedDownload, MintedUpload, ObjectStore, Provider,
    ServedAttributes, StorageError, StoredObject,
};

/// A bucket of the embedded store, and the one that clients write into.
pub struct EmbeddedStore {
    disk: Arc<Disk>,
    presigner: Presigner,
    served: String,
    staging: String,
}

impl EmbeddedStore {
    pub(super) fn new(disk: Arc<Disk>, presigner: Presigner, served: &str, staging: &str) -> Self {
        Self { disk, presigner, served: served.to_owned(), staging: staging.to_owned() }
    }

    fn bucket(&self, area: Area) -> String {
        match area {
            Area::Staging => self.staging.clone(),
            Area::Served => self.served.clone(),
        }
    }

    /// The bucket and path of a key, to be moved to where blocking is allowed.
    fn place(&self, key: &ObjectKey) -> (String, String) {
        (self.bucket(key.area()), key.path().to_owned())
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Disk) -> Result<T, DiskError> + Send + 'static,
    ) -> Result<T, StorageError> {
        self.disk.run(work).await.map_err(StorageError::from)
    }
}

impl From<DiskError> for StorageError {
    fn from(error: DiskError) -> Self {
        match error {
            DiskError::Missing => Self::NotFound,
            DiskError::Exists => Self::PreconditionFailed,
            DiskError::Locked(lock) => Self::Retained(Kept { lock: Some(lock), legal_hold: false }),
            DiskError::NoBucket => Self::Unexpected("the bucket's directory is gone".into()),
            DiskError::Full => Self::Unavailable("the disk is full".into()),
            DiskError::Io(error) if error.kind() == io::ErrorKind::InvalidData => Self::Unexpected(error.to_string()),
            DiskError::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => Self::Denied(error.to_string()),
            DiskError::Io(error) => Self::Unavailable(error.to_string()),
        }
    }
}

/// Whether a record is of the bytes that the caller names. There are no versions here, so a version names none.
fn is(found: &StoredBytes, named: &StoredBytes) -> bool {
    found.etag == named.etag && named.version.is_none()
}

#[async_trait]
impl ObjectStore for EmbeddedStore {
    fn provider(&self) -> Provider {
        Provider::S3
    }

    fn mint_upload(&self, grant: &UploadGrant) -> Result<MintedUpload, MintError> {
        self.presigner.mint_upload(grant)
    }

    fn mint_download(&self, grant: &DownloadGrant) -> Result<MintedDownload, MintError> {
        self.presigner.mint_download(grant)
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<StoredObject>, StorageError> {
        let (bucket, key) = self.place(key);
        self.run(move |disk| match disk.find(&bucket, &key) {
            Ok(found) => Ok(Some(found.record.stored_object())),
            Err(DiskError::Missing) => Ok(None),
            Err(error) => Err(error),
        })
        .await
    }

    async fn get(&self, key: &ObjectKey, bytes: &StoredBytes) -> Result<ByteStream, StorageError> {
        let (bucket, key) = self.place(key);
        let found = self.run(move |disk| disk.find(&bucket, &key)).await?;
        if !is(&found.record.stored_bytes(), bytes) {
            return Err(StorageError::PreconditionFailed);
        }
        let stream = read(found.file, 0, found.record.size).await.map_err(DiskError::from)?;
        Ok(Box::pin(stream.map_err(|error| DiskError::from(error).into())))
    }

    async fn copy(
        &self,
        from: &ObjectKey,
        bytes: &StoredBytes,
        to: &ObjectKey,
        attributes: &ServedAttributes,
    ) -> Result<StoredBytes, StorageError> {
        let ((from_bucket, from), (to_bucket, to), named) = (self.place(from), self.place(to), bytes.clone());
        let about = About {
            key: to,
            content_type: Some(attributes.content_type.as_str().to_owned()),
            metadata: attributes.metadata.clone(),
            tags: attributes.tags.clone(),
        };
        let copied = self.run(move |disk| {
            let found = disk.find(&from_bucket, &from)?;
            if !is(&found.record.stored_bytes(), &named) {
                return Ok(None);
            }
            let written = Draft::copy(disk.draft()?, &found)?;
            disk.publish(&to_bucket, written, about, false).map(|record| Some(record.stored_bytes()))
        });
        copied.await?.ok_or(StorageError::PreconditionFailed)
    }

    async fn delete(&self, key: &ObjectKey, version: Option<&str>) -> Result<(), StorageError> {
        if version.is_some() {
            // No such version is there, and nothing there is success; the current bytes were not meant.
            return Ok(());
        }
        let (bucket, key) = self.place(key);
        self.run(move |disk| match disk.remove(&bucket, &key) {
            Err(DiskError::Missing) => Ok(()),
            removed => removed,
        })
        .await
    }

    async fn lock(&self, key: &ObjectKey, bytes: &StoredBytes, lock: &Lock) -> Result<(), StorageError> {
        let ((bucket, key), named, lock) = (self.place(key), bytes.clone(), *lock);
        let locked = self.run(move |disk| {
            let found = disk.find(&bucket, &key)?.record;
            if !is(&found.stored_bytes(), &named) {
                return Ok(None);
            }
            disk.lock(&bucket, &found, lock).map(Some)
        });
        locked.await?.ok_or(StorageError::PreconditionFailed)
    }

    async fn kept(&self, key: &ObjectKey, bytes: &StoredBytes) -> Result<Kept, StorageError> {
        let ((bucket, key), named) = (self.place(key), bytes.clone());
        let kept = self.run(move |disk| {
            let found = disk.find(&bucket, &key)?.record;
            if !is(&found.stored_bytes(), &named) {
                return Ok(None);
            }
            Ok(Some(Kept { lock: disk.lock_of(&bucket, &found)?, legal_hold: false }))
        });
        kept.await?.ok_or(StorageError::NotFound)
    }

    async fn list(
        &self,
        area: Area,
        prefix: &Prefix,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Listing, StorageError> {
        let (bucket, prefix) = (self.bucket(area), prefix.as_str().to_owned());
        let (cursor, limit) = (cursor.map(str::to_owned), limit.clamp(1, 1000));
        self.run(move |disk| {
            let mut records = disk.list(&bucket, &prefix, cursor.as_deref(), limit + 1)?;
            let more = records.len() > limit;
            records.truncate(limit);
            let next = records.last().filter(|_| more).map(|record| record.key.clone());
            let objects = records.into_iter().map(|record| (record.key.clone(), record.stored_object())).collect();
            Ok(Listing { objects, next })
        })
        .await
    }

    async fn set_tags(&self, key: &ObjectKey, tags: &[(String, String)]) -> Result<(), StorageError> {
        let ((bucket, key), tags) = (self.place(key), tags.to_vec());
        self.run(move |disk| disk.set_tags(&bucket, &key, tags)).await
    }

    async fn tags(&self, key: &ObjectKey) -> Result<Vec<(String, String)>, StorageError> {
        let (bucket, key) = self.place(key);
        self.run(move |disk| disk.tags(&bucket, &key)).await
    }

    async fn probe(&self) -> Result<(), StorageError> {
        let buckets = [self.served.clone(), self.staging.clone()];
        self.run(move |disk| {
            for bucket in &buckets {
                disk.bucket(bucket)?;
            }
            // A draft that is dropped: the directory takes writes.
            disk.draft()?.write(&[bytes::Bytes::from_static(b"probe")])
        })
        .await
    }

    async fn check(&self) -> Vec<CheckItem> {
        let directory = match self.probe().await {
            Ok(()) => (CheckStatus::Good, "it takes writes".to_owned()),
            Err(error) => (CheckStatus::Missing, format!("{error}; free space or repair the data directory")),
        };
        let item = |name: &str, status, detail: &str| CheckItem { name: name.into(), status, detail: detail.into() };
        vec![
            item("data directory", directory.0, &directory.1),
            item("public access", CheckStatus::Good, "every request must be signed"),
            item("notifications", CheckStatus::Good, "uploads are told to the gateway inside the process"),
            item("retention", CheckStatus::Good, "kept by this program; whoever has the machine can remove the files"),
            item("versioning", CheckStatus::Advice, "not kept; exact ETags guard every copy and read"),
            item("redundancy", CheckStatus::Advice, "one directory on one node; back it up, or use a cloud target"),
        ]
    }
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedStore").field("served", &self.served).field("staging", &self.staging).finish()
    }
}
