//! Immutability policies of single versions: keeping a served copy from being deleted.
//!
//! Set Blob Immutability Policy on exactly one version, as the last step of a promotion, because an immutable blob takes no
//! properties and no tags any more. Needs version-level immutability on the container and *Storage Blob Data Owner*, which
//! no URL passes on: a SAS that may change a policy has permission `i`, and none is minted with it. Absent on purpose:
//! deleting a policy, legal holds. Source: "Set Blob Immutability Policy", "Version-level WORM policies". Azurite does not
//! implement the call and answers 501.

use azure_core::error::ErrorKind;
use azure_core::http::StatusCode;
use azure_core::time::OffsetDateTime;
use azure_storage_blob::BlobClient;
use azure_storage_blob::models::{
    BlobClientGetPropertiesOptions, BlobClientGetPropertiesResultHeaders, BlobClientSetImmutabilityPolicyOptions,
    BlobContainerClientGetPropertiesResultHeaders, ImmutabilityPolicyMode,
};

use super::AzureStore;
use super::blobs::timestamp;
use super::error::{answer, call, translate};
use crate::domain::bytes::StoredBytes;
use crate::domain::key::Area;
use crate::domain::retention::{Kept, Lock, RetentionMode};
use crate::storage::StorageError;

/// What Get Blob Properties says about the version; about the current one where none is named.
pub(super) async fn kept(blob: &BlobClient, version: Option<&str>) -> Result<Kept, StorageError> {
    let options = BlobClientGetPropertiesOptions {
        version_id: version.map(str::to_owned),
        ..BlobClientGetPropertiesOptions::default()
    };
    let found = call(blob.get_properties(Some(options))).await?;
    let unreadable = |_| StorageError::Unexpected("an immutability policy that cannot be read".into());
    let mode = found.immutability_policy_mode().map_err(unreadable)?.map(|mode| match mode {
        ImmutabilityPolicyMode::Locked => RetentionMode::Compliance,
        // `Mutable` is only ever answered, and is as easily lifted.
        ImmutabilityPolicyMode::Unlocked | ImmutabilityPolicyMode::Mutable => RetentionMode::Governance,
    });
    let until = found.immutability_policy_expires_on().map_err(unreadable)?.and_then(timestamp);
    Ok(Kept {
        lock: mode.zip(until).map(|(mode, until)| Lock { mode, until }),
        legal_hold: found.legal_hold().map_err(unreadable)?.unwrap_or(false),
    })
}

/// Makes the policy of these bytes cover `lock`.
pub(super) async fn lock(blob: &BlobClient, bytes: &StoredBytes, lock: &Lock) -> Result<(), StorageError> {
    let Some(lock) = lock.over(kept(blob, bytes.version.as_deref()).await?.lock) else { return Ok(()) };
    let until = OffsetDateTime::from_unix_timestamp(lock.until.as_second())
        .map_err(|_| StorageError::Unexpected("a date that cannot be written".into()))?;
    let mode = match lock.mode {
        RetentionMode::Governance => ImmutabilityPolicyMode::Unlocked,
        RetentionMode::Compliance => ImmutabilityPolicyMode::Locked,
    };
    let options = BlobClientSetImmutabilityPolicyOptions {
        immutability_policy_mode: Some(mode),
        version_id: bytes.version.clone(),
        ..BlobClientSetImmutabilityPolicyOptions::default()
    };
    let Err(error) = answer(blob.set_immutability_policy(&until, Some(options))).await? else { return Ok(()) };
    if let ErrorKind::HttpResponse { status: StatusCode::NotImplemented, .. } = error.kind() {
        return Err(StorageError::CannotRetain("the account has no immutability policies (501)".into()));
    }
    Err(match translate(&error) {
        StorageError::Denied(what) | StorageError::Unexpected(what) => {
            StorageError::CannotRetain(format!("Set Blob Immutability Policy was answered with {what}"))
        }
        other => other,
    })
}

/// Whether a service's error code says that a policy or a hold keeps the blob.
pub(super) fn is_immutable(code: Option<&str>) -> bool {
    code.is_some_and(|code| code.starts_with("BlobImmutableDueTo"))
}

impl AzureStore {
    /// Whether versions in the served container can be kept.
    ///
    /// # Errors
    /// [`StorageError::CannotRetain`] where they cannot.
    pub(super) async fn can_retain(&self) -> Result<(), StorageError> {
        let found = call(self.container_client(Area::Served)?.get_properties(None)).await?;
        match found.is_immutable_storage_with_versioning_enabled() {
            Ok(Some(true)) => Ok(()),
            _ => Err(StorageError::CannotRetain(format!(
                "the container {} has no version-level immutability",
                self.served.name
            ))),
        }
    }
}
