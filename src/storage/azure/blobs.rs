//! The calls on one blob or one container, through the official client.
//!
//! Every read names its bytes by ETag, and by version where there is one. ETags are kept as headers write them, with
//! quotes; a listing writes them without.

use std::num::NonZeroUsize;

use azure_core::http::Etag;
use azure_storage_blob::models::{
    BlobClientDeleteOptions, BlobClientDownloadOptions, BlobClientGetPropertiesOptions,
    BlobClientGetPropertiesResultHeaders, BlobContainerClientListBlobsOptions, BlobItem, BlobTag, BlobTags,
    DeleteSnapshotsOptionType,
};
use azure_storage_blob::{BlobClient, BlobContainerClient};
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;

use super::error::{DEADLINE, answer, call, code, translate};
use super::lock;
use crate::domain::bytes::StoredBytes;
use crate::domain::key::Prefix;
use crate::storage::{ByteStream, Listing, StorageError, StoredObject};

/// Most entries of one page, the trait's own limit.
const PAGE: usize = 1000;

pub(super) async fn head(blob: &BlobClient) -> Result<Option<StoredObject>, StorageError> {
    let found = match call(blob.get_properties(None)).await {
        Ok(found) => found,
        Err(StorageError::NotFound) => return Ok(None),
        Err(error) => return Err(error),
    };
    let unreadable = |_| StorageError::Unexpected("properties that cannot be read".into());
    Ok(Some(StoredObject {
        bytes: StoredBytes {
            etag: quoted(found.etag().map_err(unreadable)?)?,
            version: found.version_id().map_err(unreadable)?,
            size: found.content_length().map_err(unreadable)?.ok_or_else(|| missing("length"))?,
        },
        content_type: found.content_type().map_err(unreadable)?,
        modified_at: found.last_modified().map_err(unreadable)?.and_then(timestamp),
    }))
}

/// One request for the whole blob, streamed as it arrives: the partition is as large as the blob, so that the client has
/// no further part to fetch and buffers none.
pub(super) async fn get(blob: &BlobClient, bytes: &StoredBytes) -> Result<ByteStream, StorageError> {
    match body(blob, bytes).await {
        // A condition on a blob that is not there: Azurite answers 412, where Azure answers 404.
        Err(StorageError::PreconditionFailed) if bytes.version.is_none() && head(blob).await?.is_none() => {
            Err(StorageError::NotFound)
        }
        other => other,
    }
}

async fn body(blob: &BlobClient, bytes: &StoredBytes) -> Result<ByteStream, StorageError> {
    if bytes.size == 0 {
        // No range of an empty blob can be satisfied, and the client always asks for one.
        let options = BlobClientGetPropertiesOptions {
            if_match: Some(Etag::from(bytes.etag.as_str())),
            version_id: bytes.version.clone(),
            ..BlobClientGetPropertiesOptions::default()
        };
        call(blob.get_properties(Some(options))).await?;
        return Ok(futures::stream::empty().boxed());
    }
    let whole = usize::try_from(bytes.size).ok().and_then(NonZeroUsize::new).unwrap_or(NonZeroUsize::MAX);
    let options = BlobClientDownloadOptions {
        if_match: Some(Etag::from(bytes.etag.as_str())),
        version_id: bytes.version.clone(),
        parallel: Some(NonZeroUsize::MIN),
        partition_size: Some(whole),
        ..BlobClientDownloadOptions::default()
    };
    let answer = call(blob.download(Some(options))).await?;
    let body = answer.body.map_err(|error| match translate(&error) {
        // Whatever interrupts a body, the bytes may still be there.
        StorageError::Unexpected(text) => StorageError::Unavailable(text),
        error => error,
    });
    Ok(exactly(body.boxed(), bytes.size))
}

/// Ends in an error, never early or late, where the body is not as long as the named bytes, or falls silent.
fn exactly(body: ByteStream, size: u64) -> ByteStream {
    let cut = || StorageError::Unavailable("the body ended early".into());
    futures::stream::try_unfold((body, size), move |(mut body, left)| async move {
        let next = tokio::time::timeout(DEADLINE, body.next()).await;
        match next.map_err(|_| StorageError::Unavailable("the body fell silent".into()))? {
            Some(chunk) => {
                let chunk = chunk?;
                let left = left
                    .checked_sub(chunk.len() as u64)
                    .ok_or_else(|| StorageError::Unexpected("a body longer than its blob".into()))?;
                Ok(Some((chunk, (body, left))))
            }
            None if left == 0 => Ok(None),
            None => Err(cut()),
        }
    })
    .boxed()
}

/// Deletes. The version that is the current one cannot be named (403 `OperationNotAllowedOnRootBlob`): it is first made
/// a previous one by deleting the blob, then removed for good.
pub(super) async fn delete(blob: &BlobClient, version: Option<&str>, now: Timestamp) -> Result<(), StorageError> {
    let Some(version) = version else {
        return match answer(delete_current(blob)).await? {
            Err(error) if lock::is_immutable(code(&error)) => {
                Err(StorageError::Retained(lock::kept(blob, None).await?))
            }
            other => gone(other.map_err(|error| translate(&error))),
        };
    };
    let delete_version = || {
        let options = BlobClientDeleteOptions { version_id: Some(version.to_owned()), ..Default::default() };
        async { blob.delete(Some(options)).await.map(|_| ()) }
    };
    match answer(delete_version()).await? {
        Err(error) if code(&error) == Some("OperationNotAllowedOnRootBlob") => {
            // A version that is kept stays the current one: as a previous one it would be there and nobody would see it.
            let kept = lock::kept(blob, Some(version)).await?;
            if kept.is_active(now) {
                return Err(StorageError::Retained(kept));
            }
            gone(call(delete_current(blob)).await)?;
            gone(call(delete_version()).await)
        }
        Err(error) if lock::is_immutable(code(&error)) => {
            Err(StorageError::Retained(lock::kept(blob, Some(version)).await?))
        }
        other => gone(other.map_err(|error| translate(&error))),
    }
}

async fn delete_current(blob: &BlobClient) -> azure_core::Result<()> {
    let options = BlobClientDeleteOptions {
        delete_snapshots: Some(DeleteSnapshotsOptionType::Include),
        ..BlobClientDeleteOptions::default()
    };
    blob.delete(Some(options)).await.map(|_| ())
}

/// Nothing there is success.
fn gone(answer: Result<(), StorageError>) -> Result<(), StorageError> {
    match answer {
        Err(StorageError::NotFound) => Ok(()),
        other => other,
    }
}

pub(super) async fn list(
    container: &BlobContainerClient,
    prefix: &Prefix,
    cursor: Option<&str>,
    limit: usize,
) -> Result<Listing, StorageError> {
    let options = BlobContainerClientListBlobsOptions {
        prefix: Some(prefix.as_str().to_owned()).filter(|prefix| !prefix.is_empty()),
        marker: cursor.map(str::to_owned),
        maxresults: i32::try_from(limit.clamp(1, PAGE)).ok(),
        ..BlobContainerClientListBlobsOptions::default()
    };
    let page = call(async { container.list_blobs(Some(options))?.into_pages().try_next().await }).await?;
    let Some(page) = page else { return Ok(Listing { objects: Vec::new(), next: None }) };
    let page = page.into_model().map_err(|_| StorageError::Unexpected("a listing that cannot be read".into()))?;
    let objects = page.blob_items.into_iter().map(listed).collect::<Result<_, _>>()?;
    Ok(Listing { objects, next: page.next_marker.filter(|marker| !marker.is_empty()) })
}

fn listed(item: BlobItem) -> Result<(String, StoredObject), StorageError> {
    let properties = item.properties.ok_or_else(|| missing("properties"))?;
    let object = StoredObject {
        bytes: StoredBytes {
            etag: quoted(properties.etag)?,
            version: item.version_id,
            size: properties.content_length.ok_or_else(|| missing("length"))?,
        },
        content_type: properties.content_type,
        modified_at: properties.last_modified.and_then(timestamp),
    };
    Ok((item.name.ok_or_else(|| missing("name"))?, object))
}

pub(super) async fn set_tags(blob: &BlobClient, tags: &[(String, String)]) -> Result<(), StorageError> {
    let tag = |(key, value): &(String, String)| BlobTag { key: Some(key.clone()), value: Some(value.clone()) };
    let tags = BlobTags { blob_tag_set: Some(tags.iter().map(tag).collect()) };
    let body = tags.try_into().map_err(|_| StorageError::Unexpected("tags that cannot be written".into()))?;
    call(blob.set_tags(body, None)).await.map(|_| ())
}

pub(super) async fn tags(blob: &BlobClient) -> Result<Vec<(String, String)>, StorageError> {
    let answer = call(blob.get_tags(None)).await?;
    let tags = answer.into_model().map_err(|_| StorageError::Unexpected("tags that cannot be read".into()))?;
    let pair = |tag: BlobTag| Some((tag.key?, tag.value.unwrap_or_default()));
    Ok(tags.blob_tag_set.unwrap_or_default().into_iter().filter_map(pair).collect())
}

/// The ETag with its quotes (RFC 9110 section 8.8.3).
pub(super) fn quoted(etag: Option<Etag>) -> Result<String, StorageError> {
    let etag = etag.ok_or_else(|| missing("ETag"))?;
    let etag: &str = etag.as_ref();
    Ok(if etag.starts_with('"') { etag.to_owned() } else { format!("\"{etag}\"") })
}

pub(super) fn missing(what: &str) -> StorageError {
    StorageError::Unexpected(format!("an answer without {what}"))
}

pub(super) fn timestamp(at: azure_core::time::OffsetDateTime) -> Option<Timestamp> {
    Timestamp::from_second(at.unix_timestamp()).ok()
}
