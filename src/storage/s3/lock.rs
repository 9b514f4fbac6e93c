//! Object Lock: keeping a served copy from being deleted.
//!
//! The lock is put on exactly one version, after the copy was found to be what was judged, so that bytes which are not are
//! never kept. Needs `s3:PutObjectRetention`; `s3:GetObjectRetention` and `s3:GetObjectLegalHold` to read it back, without
//! which the answer of HeadObject leaves the headers out. Never asked for: `s3:BypassGovernanceRetention`,
//! `s3:PutObjectLegalHold`. Source: "Object Lock considerations", Amazon S3 user guide.

use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{
    DefaultRetention, ObjectLockLegalHoldStatus, ObjectLockMode, ObjectLockRetention, ObjectLockRetentionMode,
};

use super::S3Store;
use super::client::{code, failure};
use super::objects::moment;
use crate::domain::bytes::StoredBytes;
use crate::domain::key::ObjectKey;
use crate::domain::retention::{Kept, Lock, RetentionMode};
use crate::storage::StorageError;

/// The answer of a bucket that was never made for Object Lock.
pub(super) const NO_OBJECT_LOCK: &str = "ObjectLockConfigurationNotFoundError";

impl S3Store {
    /// Makes the lock of these bytes cover `lock`.
    pub(super) async fn put_lock(&self, key: &ObjectKey, bytes: &StoredBytes, lock: &Lock) -> Result<(), StorageError> {
        let Some(lock) = lock.over(self.kept_bytes(key, bytes).await?.lock) else { return Ok(()) };
        let mode = match lock.mode {
            RetentionMode::Governance => ObjectLockRetentionMode::Governance,
            RetentionMode::Compliance => ObjectLockRetentionMode::Compliance,
        };
        let until = DateTime::from_secs(lock.until.as_second());
        let request = self.client.put_object_retention().bucket(self.bucket(key.area())).key(key.path());
        let sent = request
            .set_version_id(bytes.version.clone())
            .retention(ObjectLockRetention::builder().mode(mode).retain_until_date(until).build())
            .send()
            .await;
        match sent.map_err(|error| failure("PutObjectRetention", &error)) {
            Ok(_) => Ok(()),
            // 400 InvalidRequest: the bucket has no Object Lock. 403: no permission, or a lock of another mode is there.
            Err(StorageError::Denied(what) | StorageError::Unexpected(what)) => Err(StorageError::CannotRetain(what)),
            Err(error) => Err(error),
        }
    }

    /// What HeadObject says about the version.
    pub(super) async fn kept_bytes(&self, key: &ObjectKey, bytes: &StoredBytes) -> Result<Kept, StorageError> {
        let request = self.client.head_object().bucket(self.bucket(key.area())).key(key.path());
        let sent = request.set_version_id(bytes.version.clone()).send().await;
        let found = sent.map_err(|error| failure("HeadObject", &error))?;
        let mode = match found.object_lock_mode {
            Some(ObjectLockMode::Governance) => Some(RetentionMode::Governance),
            Some(_) => Some(RetentionMode::Compliance),
            None => None,
        };
        let until = found.object_lock_retain_until_date.and_then(moment);
        Ok(Kept {
            lock: mode.zip(until).map(|(mode, until)| Lock { mode, until }),
            legal_hold: found.object_lock_legal_hold_status == Some(ObjectLockLegalHoldStatus::On),
        })
    }

    /// A refused delete of a version that is kept, told as such; any other error as it is.
    pub(super) async fn why_denied(&self, key: &ObjectKey, version: Option<&str>, error: StorageError) -> StorageError {
        let StorageError::Denied(_) = &error else { return error };
        let bytes = StoredBytes { etag: String::new(), version: version.map(str::to_owned), size: 0 };
        match self.kept_bytes(key, &bytes).await {
            Ok(kept) if kept != Kept::default() => StorageError::Retained(kept),
            _ => error,
        }
    }

    /// The bucket's default retention, where it has Object Lock.
    ///
    /// # Errors
    /// [`StorageError::CannotRetain`] where it has none.
    pub(super) async fn object_lock(&self, bucket: &str) -> Result<Option<DefaultRetention>, StorageError> {
        match self.client.get_object_lock_configuration().bucket(bucket).send().await {
            Ok(found) => {
                let rule = found.object_lock_configuration.and_then(|lock| lock.rule);
                Ok(rule.and_then(|rule| rule.default_retention))
            }
            Err(error) if code(&error) == NO_OBJECT_LOCK => {
                Err(StorageError::CannotRetain(format!("the bucket {bucket} has no Object Lock")))
            }
            Err(error) => Err(failure("GetObjectLockConfiguration", &error)),
        }
    }
}
