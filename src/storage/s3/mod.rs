//! Amazon S3 and servers that speak its protocol.
//!
//! Permissions: [`iam_policy`] prints them. On objects `s3:PutObject`, `s3:GetObject`, `s3:GetObjectVersion`,
//! `s3:DeleteObject`, `s3:DeleteObjectVersion`, `s3:PutObjectTagging`, `s3:GetObjectTagging`; on buckets `s3:ListBucket`
//! (without it a missing object reads as denied), and the six reads of `check`. Where a target demands retention also what
//! `lock` names. A bucket with SSE-KMS also needs `kms:GenerateDataKey` and `kms:Decrypt` on its key.
//!
//! Objects: `<staging prefix><app prefix><object id>/<filename>`, written by clients; `<app prefix><object id>/<filename>`,
//! copied by [`S3Store`]. Nothing else is ever written: no marker, no index, no multipart upload.
//!
//! Caveats: one PUT and one copy end at 5 GiB. A POST form cannot be create-only. In a bucket without versions a download
//! names a key, not a version; what protects it is that no client URL writes served keys. Tags and metadata mirror the
//! gateway's record and are never read back to decide anything.

pub mod address;
mod check;
mod client;
pub(in crate::storage) mod encode;
mod lock;
mod objects;
mod post_policy;
pub mod presigner;
mod read;
mod sigv4;

use std::fmt;
use std::sync::Arc;

use super::StorageError;
use super::credentials::{CredentialSource, Credentials};
use crate::clock::Clock;
use crate::domain::key::{Area, Prefix};
use crate::domain::retention::Retention;
use crate::domain::target::{ProviderSettings, Target};

pub use address::{AddressError, Location};
pub use check::iam_policy;
pub use presigner::Presigner;

/// The buckets of one S3 target: an [`ObjectStore`](super::ObjectStore).
pub struct S3Store {
    presigner: Presigner,
    client: aws_sdk_s3::Client,
    location: Location,
    staging_prefix: Prefix,
    retention: Option<Retention>,
}

impl S3Store {
    fn bucket(&self, area: Area) -> &str {
        match area {
            Area::Staging => &self.location.staging_bucket,
            Area::Served => &self.location.bucket,
        }
    }

    /// Staging and serving need two buckets to be looked at, or one.
    fn buckets(&self) -> impl Iterator<Item = &str> {
        let staging = Some(self.location.staging_bucket.as_str()).filter(|staging| *staging != self.location.bucket);
        std::iter::once(self.location.bucket.as_str()).chain(staging)
    }
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Store").field("location", &self.location).finish_non_exhaustive()
    }
}

impl Location {
    /// Where a target's buckets lie; `None` where it is no S3 target.
    pub fn of(target: &Target) -> Option<Self> {
        let ProviderSettings::S3 { bucket, region, endpoint, path_style } = &target.provider else { return None };
        Some(Self {
            bucket: bucket.clone(),
            staging_bucket: target.staging().to_owned(),
            region: region.clone(),
            endpoint: endpoint.clone(),
            path_style: *path_style,
        })
    }
}

/// Opens a target's buckets. Makes no request to them; [`ObjectStore::probe`](super::ObjectStore::probe) does.
///
/// # Errors
/// [`StorageError::Unexpected`] where the target is no S3 target, its address cannot be one, or the credentials are for
/// another provider; [`StorageError::Denied`] where the default chain has no credentials.
pub async fn open(target: &Target, credentials: Option<&Credentials>) -> Result<S3Store, StorageError> {
    let location = Location::of(target)
        .ok_or_else(|| StorageError::Unexpected(format!("target {} is no S3 target", target.name)))?;
    let source = match credentials {
        Some(Credentials::AccessKey(key)) => CredentialSource::fixed(key),
        Some(Credentials::AccessKeyFile(path)) => CredentialSource::file(path)
            .map_err(|error| StorageError::Denied(format!("target {}: {error}", target.name)))?,
        Some(Credentials::AccountKey(_) | Credentials::AccountKeyFile(_)) => {
            let message = format!("target {} needs an access key, not an Azure account key", target.name);
            return Err(StorageError::Unexpected(message));
        }
        None => CredentialSource::default_chain(&location.region, Clock::system()).await?,
    };
    let presigner = Presigner::new(&location, Arc::clone(&source))
        .map_err(|error| StorageError::Unexpected(format!("target {}: {error}", target.name)))?;
    let client = client::connect(&location, &source);
    Ok(S3Store {
        presigner,
        client,
        location,
        staging_prefix: target.staging_prefix.clone(),
        retention: target.retention,
    })
}
