//! The S3 operations that clients and independent readers need, on the data directory.
//!
//! Put, get, head, delete, copy, list and tags of objects; multipart uploads, ACLs, versions, lifecycle rules and bucket
//! configuration are absent and answered with `NotImplemented`. A request that asks for something which this store would
//! have to ignore (an ACL, a storage class, an encryption key, a retention) is refused as well: nothing is dropped silently.

use std::sync::Arc;

use async_trait::async_trait;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::dto::*;
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use tokio_util::io::ReaderStream;

use super::credentials::Keys;
use super::disk::{About, Disk, DiskError, Draft, Found, Written};
use super::events::{Act, Events};
use super::receive::{Length, ReceiveError, receive};
use super::record::Record;
use super::{REGION, announced, form, listing};

/// What a reader may do; the signer may do everything that exists.
const READING: [&str; 7] =
    ["GetObject", "HeadObject", "ListObjectsV2", "HeadBucket", "GetBucketLocation", "GetObjectTagging", "ListObjects"];

/// The operations.
pub(super) struct Operations {
    pub(super) disk: Arc<Disk>,
    pub(super) events: Arc<Events>,
    pub(super) max_object_bytes: u64,
}

/// Who may sign, and what for.
pub(super) struct Authority(pub(super) Arc<Keys>);

#[async_trait]
impl S3Auth for Authority {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        self.0.secret(access_key).map(SecretKey::from).ok_or_else(|| s3_error!(InvalidAccessKeyId))
    }
}

#[async_trait]
impl S3Access for Authority {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        match context.credentials() {
            Some(who) if who.access_key == self.0.signer.access_key_id => Ok(()),
            Some(_) if READING.contains(&context.s3_op().name()) => Ok(()),
            _ => Err(s3_error!(AccessDenied, "this key does not allow the operation")),
        }
    }
}

#[async_trait]
impl S3 for Operations {
    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        announced::refuse_unkept(&request.input)?;
        let trailers = request.trailing_headers;
        let input = request.input;
        let (bucket, about) = (
            input.bucket,
            About {
                key: input.key,
                content_type: input.content_type,
                metadata: pairs(input.metadata),
                tags: tags_of_header(input.tagging.as_deref()),
            },
        );
        let create_only = match input.if_none_match {
            None => false,
            Some(condition) if condition.is_any() => true,
            Some(_) => return Err(s3_error!(NotImplemented, "If-None-Match takes only *")),
        };
        let (place, key) = (bucket.clone(), about.key.clone());
        let found = self.disk.serve(move |disk| match disk.find(&place, &key) {
            Err(DiskError::Missing) => Ok(false),
            found => found.map(|_| true),
        });
        if found.await.map_err(fail)? && create_only {
            return Err(fail(DiskError::Exists));
        }
        // Behind a chunk-signed body the content-length is that of the decoded bytes.
        let length = input.content_length.and_then(|length| u64::try_from(length).ok());
        let length = length.ok_or_else(|| s3_error!(MissingContentLength))?;
        if length > self.max_object_bytes {
            return Err(s3_error!(EntityTooLarge));
        }
        let wanted = announced::Checksums {
            sha256: input.checksum_sha256,
            sha1: input.checksum_sha1,
            crc32: input.checksum_crc32,
            crc32c: input.checksum_crc32c,
            crc64nvme: input.checksum_crc64nvme,
            md5: input.content_md5,
        };
        let body = input.body.ok_or_else(|| s3_error!(IncompleteBody))?;
        let hasher = wanted.hasher(request.headers.get("x-amz-trailer"));
        let written =
            receive(&self.disk, body, Length { min: length, max: length }, hasher).await.map_err(not_received)?;
        let trailers = trailers.and_then(|trailers| trailers.take());
        wanted.with_trailers(trailers.as_ref())?.compare(&written)?;
        let record = self.publish(bucket, written, about, create_only, "Put").await?;
        Ok(S3Response::new(PutObjectOutput { e_tag: Some(etag(&record)), ..Default::default() }))
    }

    async fn copy_object(&self, request: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let input = request.input;
        announced::refuse_unkept_copy(&input)?;
        let CopySource::Bucket { bucket: from, key, version_id: None } = input.copy_source else {
            return Err(s3_error!(NotImplemented, "a copy's source is /bucket/key"));
        };
        let (conditions, key) = ((input.copy_source_if_match, input.copy_source_if_none_match), key.into_string());
        let replace_metadata = input.metadata_directive.is_some_and(|d| d.as_str() == MetadataDirective::REPLACE);
        let replace_tags = input.tagging_directive.is_some_and(|d| d.as_str() == TaggingDirective::REPLACE);
        let replaced = (input.content_type, pairs(input.metadata), tags_of_header(input.tagging.as_deref()));
        let to = input.key;
        let work = move |disk: &Disk| {
            let found = disk.find(&from, &key)?;
            if !matches(&found.record, conditions.0.as_ref(), conditions.1.as_ref()) {
                return Ok(None);
            }
            let tags = if replace_tags { replaced.2 } else { disk.tags(&from, &key)? };
            let (content_type, metadata) = if replace_metadata {
                (replaced.0, replaced.1)
            } else {
                (found.record.content_type.clone(), found.record.metadata.clone())
            };
            let written = Draft::copy(disk.draft()?, &found)?;
            Ok(Some((written, About { key: to, content_type, metadata, tags })))
        };
        let copied = self.disk.serve(work).await.map_err(fail)?;
        let (written, about) = copied.ok_or_else(|| s3_error!(PreconditionFailed))?;
        let record = self.publish(input.bucket, written, about, false, "Copy").await?;
        let result = CopyObjectResult {
            e_tag: Some(etag(&record)),
            last_modified: Some(modified(&record)),
            ..Default::default()
        };
        Ok(S3Response::new(CopyObjectOutput { copy_object_result: Some(result), ..Default::default() }))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        if input.version_id.is_some() || input.part_number.is_some() || input.if_unmodified_since.is_some() {
            return Err(s3_error!(NotImplemented, "versions, parts and If-Unmodified-Since are not kept"));
        }
        let Found { file, record } = self.find(input.bucket, input.key).await?;
        if !matches(&record, input.if_match.as_ref(), None) {
            return Err(s3_error!(PreconditionFailed));
        }
        if !matches(&record, None, input.if_none_match.as_ref()) {
            return Err(S3Error::new(S3ErrorCode::NotModified));
        }
        let range = input.range.map(|range| range.check(record.size)).transpose()?;
        let bytes = range.clone().unwrap_or(0..record.size);
        let length = bytes.end - bytes.start;
        let content_range = range.map(|range| format!("bytes {}-{}/{}", range.start, range.end - 1, record.size));
        let body = read(file, bytes.start, length).await.map_err(|error| fail(error.into()))?;
        Ok(S3Response::new(GetObjectOutput {
            body: Some(StreamingBlob::wrap(body)),
            accept_ranges: Some("bytes".to_owned()),
            content_length: i64::try_from(length).ok(),
            content_range,
            content_type: record.content_type.clone(),
            e_tag: Some(etag(&record)),
            last_modified: Some(modified(&record)),
            metadata: Some(record.metadata.into_iter().collect()),
            ..Default::default()
        }))
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = request.input;
        if input.version_id.is_some() || input.part_number.is_some() || input.range.is_some() {
            return Err(s3_error!(NotImplemented, "versions, parts and ranges are not kept"));
        }
        let bucket = input.bucket.clone();
        let record = self.find(input.bucket, input.key).await?.record;
        let locked = record.clone();
        let lock = self.disk.serve(move |disk| disk.lock_of(&bucket, &locked)).await.map_err(fail)?;
        if !matches(&record, input.if_match.as_ref(), None) {
            return Err(s3_error!(PreconditionFailed));
        }
        if !matches(&record, None, input.if_none_match.as_ref()) {
            return Err(S3Error::new(S3ErrorCode::NotModified));
        }
        Ok(S3Response::new(HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: i64::try_from(record.size).ok(),
            content_type: record.content_type.clone(),
            e_tag: Some(etag(&record)),
            last_modified: Some(modified(&record)),
            metadata: Some(record.metadata.into_iter().collect()),
            object_lock_mode: lock.map(|lock| ObjectLockMode::from(lock.mode.as_str().to_ascii_uppercase())),
            object_lock_retain_until_date: lock.map(|lock| std::time::SystemTime::from(lock.until).into()),
            ..Default::default()
        }))
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        let DeleteObjectInput { bucket, key, version_id, if_match, .. } = request.input;
        if version_id.is_some() || if_match.is_some() {
            return Err(s3_error!(NotImplemented, "versions and conditional deletes are not kept"));
        }
        let (place, path) = (bucket.clone(), key.clone());
        match self.disk.serve(move |disk| disk.remove(&place, &path)).await {
            Ok(()) => self.events.tell(&bucket, Act::Removed(&key)),
            Err(DiskError::Missing) => {}
            Err(error) => return Err(fail(error)),
        }
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        listing::list(&self.disk, request.input).await.map(S3Response::new)
    }

    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.disk.serve(move |disk| disk.bucket(&request.input.bucket)).await.map_err(fail)?;
        Ok(S3Response::new(HeadBucketOutput { bucket_region: Some(REGION.to_owned()), ..Default::default() }))
    }

    async fn get_bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.disk.serve(move |disk| disk.bucket(&request.input.bucket)).await.map_err(fail)?;
        let location_constraint = Some(BucketLocationConstraint::from_static(REGION));
        Ok(S3Response::new(GetBucketLocationOutput { location_constraint }))
    }

    async fn get_object_tagging(
        &self,
        request: S3Request<GetObjectTaggingInput>,
    ) -> S3Result<S3Response<GetObjectTaggingOutput>> {
        let input = request.input;
        let tags = self.disk.serve(move |disk| disk.tags(&input.bucket, &input.key)).await.map_err(fail)?;
        let tag_set = tags.into_iter().map(|(key, value)| Tag { key: Some(key), value: Some(value) }).collect();
        Ok(S3Response::new(GetObjectTaggingOutput { tag_set, version_id: None }))
    }

    async fn put_object_tagging(
        &self,
        request: S3Request<PutObjectTaggingInput>,
    ) -> S3Result<S3Response<PutObjectTaggingOutput>> {
        let input = request.input;
        let tags = input.tagging.tag_set.into_iter();
        let tags = tags.map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default())).collect();
        self.disk.serve(move |disk| disk.set_tags(&input.bucket, &input.key, tags)).await.map_err(fail)?;
        Ok(S3Response::new(PutObjectTaggingOutput::default()))
    }
}

impl Operations {
    async fn find(&self, bucket: String, key: String) -> S3Result<Found> {
        self.disk.serve(move |disk| disk.find(&bucket, &key)).await.map_err(fail)
    }

    async fn publish(
        &self,
        bucket: String,
        written: Written,
        about: About,
        create_only: bool,
        how: &'static str,
    ) -> S3Result<Record> {
        let place = bucket.clone();
        let published = self.disk.serve(move |disk| disk.publish(&place, written, about, create_only)).await;
        let record = published.map_err(fail)?;
        self.events.tell(&bucket, Act::Created(how, &record));
        Ok(record)
    }
}

/// A part of an open file as a stream.
pub(super) async fn read(
    file: std::fs::File,
    start: u64,
    length: u64,
) -> std::io::Result<ReaderStream<tokio::io::Take<tokio::fs::File>>> {
    use tokio::io::{AsyncReadExt, AsyncSeekExt};
    let mut file = tokio::fs::File::from_std(file);
    file.seek(std::io::SeekFrom::Start(start)).await?;
    Ok(ReaderStream::with_capacity(file.take(length), 128 << 10))
}

/// Whether the conditions on the ETag hold.
fn matches(record: &Record, wanted: Option<&ETagCondition>, unwanted: Option<&ETagCondition>) -> bool {
    let same = |condition: &ETagCondition| condition.as_etag().is_none_or(|etag| etag.as_strong() == Some(&record.md5));
    wanted.is_none_or(same) && !unwanted.is_some_and(same)
}

pub(super) fn etag(record: &Record) -> ETag {
    ETag::Strong(record.md5.clone())
}

pub(super) fn modified(record: &Record) -> Timestamp {
    Timestamp::from(std::time::SystemTime::from(record.modified_at))
}

fn pairs(metadata: Option<Metadata>) -> Vec<(String, String)> {
    let mut pairs: Vec<_> = metadata.into_iter().flatten().collect();
    pairs.sort();
    pairs
}

fn tags_of_header(header: Option<&str>) -> Vec<(String, String)> {
    url::form_urlencoded::parse(header.unwrap_or_default().as_bytes()).into_owned().collect()
}

/// A failure of the disk in S3's terms.
pub(super) fn fail(error: DiskError) -> S3Error {
    let refusal = form::refuse(&error);
    let code = S3ErrorCode::from_bytes(refusal.code.as_bytes()).unwrap_or(S3ErrorCode::InternalError);
    let mut failed = S3Error::with_message(code, refusal.message);
    failed.set_status_code(refusal.status);
    if let DiskError::Io(source) = error {
        failed.set_source(Box::new(source));
    }
    failed
}

fn not_received(error: ReceiveError) -> S3Error {
    match error {
        ReceiveError::TooLong | ReceiveError::Incomplete => s3_error!(IncompleteBody, "the body has another length"),
        ReceiveError::Altered => s3_error!(BadDigest, "the body is not what was signed"),
        ReceiveError::TooSlow => s3_error!(RequestTimeout, "the body arrived too slowly"),
        ReceiveError::Disk(error) => fail(error),
    }
}
