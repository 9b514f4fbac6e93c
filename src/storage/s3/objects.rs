//! [`ObjectStore`] on S3: each method is one call, or one stream of calls, with exact preconditions.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_s3::config::Builder;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{MetadataDirective, Tag, Tagging, TaggingDirective};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;

use super::client::{self, failure};
use super::read::Reader;
use super::{S3Store, check, encode};
use crate::domain::bytes::StoredBytes;
use crate::domain::grant::{DownloadGrant, UploadGrant};
use crate::domain::key::{Area, ObjectKey, Prefix};
use crate::domain::retention::{Kept, Lock};
use crate::storage::{
    ByteStream, CheckItem, Listing, MintError, MintedDownload, MintedUpload, ObjectStore, Provider, ServedAttributes,
    StorageError, StoredObject,
};

/// The most that one page of ListObjectsV2 holds.
const PAGE: usize = 1000;

#[async_trait]
impl ObjectStore for S3Store {
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
        let sent = self.client.head_object().bucket(self.bucket(key.area())).key(key.path()).send().await;
        match sent.map_err(|error| failure("HeadObject", &error)) {
            Ok(found) => Ok(Some(StoredObject {
                bytes: StoredBytes {
                    etag: found.e_tag.ok_or_else(|| without("HeadObject", "ETag"))?,
                    version: found.version_id,
                    size: length("HeadObject", found.content_length)?,
                },
                content_type: found.content_type,
                modified_at: found.last_modified.and_then(moment),
            })),
            Err(StorageError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn get(&self, key: &ObjectKey, bytes: &StoredBytes) -> Result<ByteStream, StorageError> {
        Reader::new(&self.client, self.bucket(key.area()), key.path(), bytes).stream().await
    }

    async fn copy(
        &self,
        from: &ObjectKey,
        bytes: &StoredBytes,
        to: &ObjectKey,
        attributes: &ServedAttributes,
    ) -> Result<StoredBytes, StorageError> {
        let metadata: HashMap<_, _> =
            attributes.metadata.iter().map(|(name, value)| (name.clone(), header_text(value))).collect();
        let copied = self
            .client
            .copy_object()
            .bucket(self.bucket(to.area()))
            .key(to.path())
            .copy_source(copy_source(self.bucket(from.area()), from, bytes))
            .copy_source_if_match(&bytes.etag)
            .metadata_directive(MetadataDirective::Replace)
            .content_type(attributes.content_type.as_str())
            .set_metadata(Some(metadata))
            .tagging_directive(TaggingDirective::Replace)
            .tagging(query_of(&attributes.tags))
            .customize()
            .config_override(Builder::new().timeout_config(client::timeouts(client::COPY, client::COPY)))
            .send()
            .await
            .map_err(|error| failure("CopyObject", &error))?;
        let etag = copied.copy_object_result.and_then(|result| result.e_tag);
        Ok(StoredBytes {
            etag: etag.ok_or_else(|| without("CopyObject", "ETag"))?,
            version: copied.version_id,
            size: bytes.size,
        })
    }

    async fn delete(&self, key: &ObjectKey, version: Option<&str>) -> Result<(), StorageError> {
        let sent = self
            .client
            .delete_object()
            .bucket(self.bucket(key.area()))
            .key(key.path())
            .set_version_id(version.map(str::to_owned))
            .send()
            .await;
        match sent.map_err(|error| failure("DeleteObject", &error)) {
            Ok(_) | Err(StorageError::NotFound) => Ok(()),
            Err(error) => Err(self.why_denied(key, version, error).await),
        }
    }

    async fn lock(&self, key: &ObjectKey, bytes: &StoredBytes, lock: &Lock) -> Result<(), StorageError> {
        self.put_lock(key, bytes, lock).await
    }

    async fn kept(&self, key: &ObjectKey, bytes: &StoredBytes) -> Result<Kept, StorageError> {
        self.kept_bytes(key, bytes).await
    }

    /// The cursor is the last key of the page before, so that it outlives a restart of either side.
    async fn list(
        &self,
        area: Area,
        prefix: &Prefix,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Listing, StorageError> {
        let page = self
            .client
            .list_objects_v2()
            .bucket(self.bucket(area))
            .prefix(prefix.as_str())
            .set_start_after(cursor.map(str::to_owned))
            .max_keys(i32::try_from(limit.clamp(1, PAGE)).unwrap_or(1))
            .send()
            .await
            .map_err(|error| failure("ListObjectsV2", &error))?;
        let more = page.is_truncated.unwrap_or(false);
        let mut objects = Vec::new();
        for object in page.contents.unwrap_or_default() {
            let path = object.key.ok_or_else(|| without("ListObjectsV2", "Key"))?;
            let bytes = StoredBytes {
                etag: object.e_tag.ok_or_else(|| without("ListObjectsV2", "ETag"))?,
                version: None,
                size: length("ListObjectsV2", object.size)?,
            };
            let modified_at = object.last_modified.and_then(moment);
            objects.push((path, StoredObject { bytes, content_type: None, modified_at }));
        }
        let next = objects.last().filter(|_| more).map(|(path, _)| path.clone());
        Ok(Listing { objects, next })
    }

    async fn set_tags(&self, key: &ObjectKey, tags: &[(String, String)]) -> Result<(), StorageError> {
        let tags: Result<Vec<_>, _> =
            tags.iter().map(|(name, value)| Tag::builder().key(name).value(value).build()).collect();
        let tagging = tags.and_then(|tags| Tagging::builder().set_tag_set(Some(tags)).build());
        let tagging = tagging.map_err(|_| StorageError::Unexpected("a tag without a name".into()))?;
        let request = self.client.put_object_tagging().bucket(self.bucket(key.area())).key(key.path());
        request.tagging(tagging).send().await.map_err(|error| failure("PutObjectTagging", &error))?;
        Ok(())
    }

    async fn tags(&self, key: &ObjectKey) -> Result<Vec<(String, String)>, StorageError> {
        let request = self.client.get_object_tagging().bucket(self.bucket(key.area())).key(key.path());
        let found = request.send().await.map_err(|error| failure("GetObjectTagging", &error))?;
        Ok(found.tag_set.into_iter().map(|tag| (tag.key, tag.value)).collect())
    }

    async fn probe(&self) -> Result<(), StorageError> {
        for bucket in self.buckets() {
            let sent = self.client.head_bucket().bucket(bucket).send().await;
            sent.map_err(|error| match failure("HeadBucket", &error) {
                StorageError::NotFound => StorageError::Unexpected(format!("there is no bucket {bucket}")),
                other => other,
            })?;
        }
        if self.retention.is_some()
            && let Err(error @ StorageError::CannotRetain(_)) = self.object_lock(&self.location.bucket).await
        {
            return Err(error);
        }
        Ok(())
    }

    async fn check(&self) -> Vec<CheckItem> {
        check::check(self).await
    }
}

/// `bucket/key?versionId=…`, encoded: what the header `x-amz-copy-source` wants.
fn copy_source(bucket: &str, key: &ObjectKey, bytes: &StoredBytes) -> String {
    let mut source = format!("{bucket}/");
    encode::push_path(&mut source, key.path());
    if let Some(version) = &bytes.version {
        source.push_str("?versionId=");
        encode::push(&mut source, version);
    }
    source
}

/// `name=value&…`, encoded: what the header `x-amz-tagging` wants.
fn query_of(tags: &[(String, String)]) -> String {
    let mut query = String::new();
    for (name, value) in tags {
        if !query.is_empty() {
            query.push('&');
        }
        encode::push(&mut query, name);
        query.push('=');
        encode::push(&mut query, value);
    }
    query
}

/// A header takes ASCII; S3 documents RFC 2047 for the rest.
fn header_text(value: &str) -> String {
    if value.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
        value.to_owned()
    } else {
        format!("=?UTF-8?B?{}?=", BASE64.encode(value))
    }
}

pub(super) fn moment(at: DateTime) -> Option<Timestamp> {
    Timestamp::from_nanosecond(at.as_nanos()).ok()
}

fn length(operation: &str, length: Option<i64>) -> Result<u64, StorageError> {
    length.and_then(|length| u64::try_from(length).ok()).ok_or_else(|| without(operation, "length"))
}

fn without(operation: &str, what: &str) -> StorageError {
    StorageError::Unexpected(format!("{operation} was answered without {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_source_is_encoded_and_names_the_version() {
        let key = ObjectKey::parse(Area::Staging, "in coming/menu (1).jpg").unwrap();
        let mut bytes = StoredBytes { etag: "\"e\"".into(), version: None, size: 1 };
        assert_eq!(copy_source("menus", &key, &bytes), "menus/in%20coming/menu%20%281%29.jpg");
        bytes.version = Some("a/b+c".into());
        assert_eq!(copy_source("menus", &key, &bytes), "menus/in%20coming/menu%20%281%29.jpg?versionId=a%2Fb%2Bc");
    }

    #[test]
    fn metadata_beyond_ascii_is_an_encoded_word() {
        assert_eq!(header_text("table 7"), "table 7");
        assert_eq!(header_text("é"), "=?UTF-8?B?w6k=?=");
        assert_eq!(header_text("a\r\nb: c"), "=?UTF-8?B?YQ0KYjogYw==?=");
    }
}
