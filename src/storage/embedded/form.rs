//! POST policy forms: an HTML form that writes one object.
//!
//! The policy's signature, its expiry and every condition are checked before the file is read, and the file goes to the
//! disk as it arrives. Each field must be named by a condition, as Amazon S3 demands; a field that this store would have to
//! ignore is refused instead. Source: "Browser-based uploads using POST (AWS Signature Version 4)".

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures::{Stream, stream};
use hmac::{Hmac, Mac};
use http::StatusCode;
use jiff::Timestamp;
use s3s::checksum::ChecksumHasher;
use s3s::dto::TimestampFormat;
use s3s::post_policy::{PostPolicy, PostPolicyCondition};
use secrecy::ExposeSecret;
use sha2::Sha256;

use super::REGION;
use super::credentials::Keys;
use super::disk::{About, Disk, DiskError};
use super::gate::{self, Refusal};
use super::multipart::{FormError, FormReader};
use super::receive::{Length, PAUSE, ReceiveError, receive};
use super::record::Record;

/// What the answer is made of.
#[derive(Debug)]
pub(super) struct Posted {
    /// The object.
    pub(super) record: Record,
    /// What the form wants to be answered: 200, 201 or 204.
    pub(super) status: StatusCode,
}

/// A form whose policy was verified; its file is still to be read.
struct Accepted {
    about: About,
    length: Length,
    sha256: Option<String>,
    status: StatusCode,
}

/// Reads a form and writes its object.
pub(super) async fn post<E>(
    disk: &Arc<Disk>,
    keys: &Keys,
    bucket: &str,
    body: impl Stream<Item = Result<Bytes, E>> + Unpin + Send,
    boundary: &str,
    now: Timestamp,
    max_object_bytes: u64,
) -> Result<Posted, Refusal> {
    let mut reader = FormReader::new(body, boundary);
    let fields = tokio::time::timeout(PAUSE, reader.fields()).await.map_err(|_| slow())?;
    let fields = Fields(fields.map_err(unreadable)?);
    let accepted = accept(&fields, keys, bucket, now, max_object_bytes)?;
    let bucket = bucket.to_owned();
    let in_bucket = bucket.clone();
    disk.serve(move |disk| disk.bucket(&in_bucket).map(|_| ())).await.map_err(|error| refuse(&error))?;
    let file = stream::try_unfold(reader, |mut reader| async move {
        Ok::<_, FormError>(reader.chunk().await?.map(|chunk| (chunk, reader)))
    });
    let written =
        receive(disk, file, accepted.length, ChecksumHasher::default()).await.map_err(|error| match error {
            ReceiveError::TooLong => Refusal {
                code: "EntityTooLarge",
                ..Refusal::invalid("your proposed upload exceeds the maximum allowed size")
            },
            ReceiveError::Incomplete => Refusal {
                code: "EntityTooSmall",
                ..Refusal::invalid("your proposed upload is smaller than the minimum allowed size, or ended early")
            },
            ReceiveError::Altered => Refusal::invalid("the form cannot be read"),
            ReceiveError::TooSlow => slow(),
            ReceiveError::Disk(error) => refuse(&error),
        })?;
    if accepted.sha256.is_some_and(|announced| announced != BASE64.encode(written.sha256.0)) {
        return Err(Refusal { code: "BadDigest", ..Refusal::invalid("the SHA-256 is not that of the file") });
    }
    let published = disk.serve(move |disk| disk.publish(&bucket, written, accepted.about, false)).await;
    let record = published.map_err(|error| refuse(&error))?;
    Ok(Posted { record, status: accepted.status })
}

/// The fields of a form, names in lower case.
struct Fields(Vec<(String, String)>);

impl Fields {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.get(name).ok_or(Refusal::denied("the form lacks a field of a signed policy"))
    }
}

fn accept(
    fields: &Fields,
    keys: &Keys,
    bucket: &str,
    now: Timestamp,
    max_object_bytes: u64,
) -> Result<Accepted, Refusal> {
    for (at, (name, _)) in fields.0.iter().enumerate() {
        if fields.0[..at].iter().any(|(earlier, _)| earlier == name) {
            return Err(Refusal::invalid("a field was sent twice"));
        }
    }
    let encoded = fields.required("policy")?;
    verify(fields, keys, encoded)?;

    let invalid = Refusal { code: "InvalidPolicyDocument", ..Refusal::invalid("the policy cannot be read") };
    let policy = PostPolicy::from_base64(encoded).map_err(|_| invalid)?;
    let mut expiration = Vec::new();
    policy.expiration.format(TimestampFormat::DateTime, &mut expiration).map_err(|_| invalid)?;
    let expiration = String::from_utf8(expiration).ok().and_then(|text| text.parse::<Timestamp>().ok());
    if expiration.ok_or(invalid)? <= now {
        return Err(Refusal::denied("the policy has expired"));
    }
    let length = conditions(&policy, fields, bucket, max_object_bytes)?;
    let about = about(fields)?;
    let status = match fields.get("success_action_status") {
        Some("200") => StatusCode::OK,
        Some("201") => StatusCode::CREATED,
        _ => StatusCode::NO_CONTENT,
    };
    Ok(Accepted { about, length, sha256: fields.get("x-amz-checksum-sha256").map(str::to_owned), status })
}

/// Compares the signature of the policy with the one that the signer's key gives.
fn verify(fields: &Fields, keys: &Keys, policy: &str) -> Result<(), Refusal> {
    if fields.get("x-amz-security-token").is_some() {
        return Err(Refusal { code: "InvalidToken", ..Refusal::denied("this store issues no session tokens") });
    }
    if fields.required("x-amz-algorithm")? != "AWS4-HMAC-SHA256" {
        return Err(Refusal::invalid("only AWS4-HMAC-SHA256 is accepted"));
    }
    let (credential, date) = (fields.required("x-amz-credential")?, fields.required("x-amz-date")?);
    gate::instant(date)?;
    gate::check_scope(credential, date)?;
    let (access_key_id, scope) = credential.split_once('/').unwrap_or_default();
    if access_key_id != keys.signer.access_key_id {
        return Err(Refusal { code: "InvalidAccessKeyId", ..Refusal::denied("this key signs no forms here") });
    }
    let mut key = ["AWS4", keys.signer.secret_access_key.expose_secret()].concat().into_bytes();
    let day = scope.split('/').next().unwrap_or_default();
    for part in [day, REGION, "s3", "aws4_request"] {
        key = keyed(&key)?.chain_update(part).finalize().into_bytes().to_vec();
    }
    let mismatch =
        Refusal { code: "SignatureDoesNotMatch", ..Refusal::denied("the policy's signature does not match") };
    let signature = hex::decode(fields.required("x-amz-signature")?).map_err(|_| mismatch)?;
    // Compared in constant time.
    keyed(&key)?.chain_update(policy).verify_slice(&signature).map_err(|_| mismatch)
}

fn keyed(key: &[u8]) -> Result<Hmac<Sha256>, Refusal> {
    // HMAC takes keys of any length; the error is part of the trait only.
    Hmac::new_from_slice(key).map_err(|_| Refusal::denied("no such key"))
}

/// Checks every condition, and that every field has one.
fn conditions(policy: &PostPolicy, fields: &Fields, bucket: &str, max: u64) -> Result<Length, Refusal> {
    let failed = Refusal::denied("invalid according to policy: a condition failed");
    let value = |field: &str| if field == "bucket" { Some(bucket) } else { fields.get(field) };
    let mut length = Length { min: 0, max };
    let mut named = Vec::new();
    for condition in &policy.conditions {
        let holds = match condition {
            PostPolicyCondition::Eq { field, value: wanted } => {
                named.push(field.as_str());
                value(field) == Some(wanted.as_str())
            }
            PostPolicyCondition::StartsWith { field, prefix } => {
                named.push(field.as_str());
                value(field).is_some_and(|value| value.starts_with(prefix.as_str()))
            }
            PostPolicyCondition::ContentLengthRange { min, max } => {
                length = Length { min: length.min.max(*min), max: length.max.min(*max) };
                true
            }
        };
        if !holds {
            return Err(failed);
        }
    }
    let exempt = |name: &str| matches!(name, "policy" | "x-amz-signature") || name.starts_with("x-ignore-");
    if fields.0.iter().any(|(name, _)| !exempt(name) && !named.contains(&name.as_str())) {
        return Err(Refusal::denied("each form field must appear in the list of policy conditions"));
    }
    if fields.get("bucket").is_some_and(|field| field != bucket) {
        return Err(failed);
    }
    Ok(length)
}

/// What the form says about its object. What this store does not keep is refused, not dropped.
fn about(fields: &Fields) -> Result<About, Refusal> {
    let mut about = About::default();
    for (name, value) in &fields.0 {
        match name.as_str() {
            "key" => about.key.clone_from(value),
            "content-type" => about.content_type = Some(value.clone()),
            "acl"
            | "tagging"
            | "redirect"
            | "success_action_redirect"
            | "cache-control"
            | "content-disposition"
            | "content-encoding"
            | "content-language"
            | "expires"
            | "content-md5" => {
                return Err(Refusal::not_implemented("this store does not keep one of the form's fields"));
            }
            "x-amz-algorithm" | "x-amz-credential" | "x-amz-date" | "x-amz-signature" | "x-amz-checksum-sha256" => {}
            "x-amz-checksum-algorithm" if value == "SHA256" => {}
            other => match other.strip_prefix("x-amz-meta-") {
                Some(name) if !name.is_empty() => about.metadata.push((name.to_owned(), value.clone())),
                None if !other.starts_with("x-amz-") => {}
                _ => return Err(Refusal::not_implemented("this store does not keep one of the form's fields")),
            },
        }
    }
    if about.key.is_empty() || about.key.len() > crate::domain::key::MAX_KEY || about.key.contains("${filename}") {
        return Err(Refusal::invalid("the key must be 1 to 1,024 bytes, without ${filename}"));
    }
    Ok(about)
}

fn unreadable(error: FormError) -> Refusal {
    match error {
        FormError::Malformed => Refusal { code: "MalformedPOSTRequest", ..Refusal::invalid("the form cannot be read") },
        FormError::TooLarge => Refusal {
            code: "MaxPostPreDataLengthExceeded",
            ..Refusal::invalid("the form's fields have more than 64 KiB")
        },
        FormError::Incomplete => Refusal { code: "IncompleteBody", ..Refusal::invalid("the form ended early") },
    }
}

/// A client that sends too slowly.
const fn slow() -> Refusal {
    Refusal { status: StatusCode::REQUEST_TIMEOUT, code: "RequestTimeout", message: "the body arrived too slowly" }
}

/// What a failure of the disk is to a client.
pub(super) const fn refuse(error: &DiskError) -> Refusal {
    let (status, code, message) = match error {
        DiskError::Exists => {
            (StatusCode::PRECONDITION_FAILED, "PreconditionFailed", "an object lies under the key already")
        }
        DiskError::NoBucket => (StatusCode::NOT_FOUND, "NoSuchBucket", "the bucket does not exist"),
        DiskError::Missing => (StatusCode::NOT_FOUND, "NoSuchKey", "nothing lies under the key"),
        DiskError::Locked(_) => (StatusCode::FORBIDDEN, "AccessDenied", "the object is protected by a lock"),
        DiskError::Full => (StatusCode::INSUFFICIENT_STORAGE, "StorageFull", "the store is full; nothing was written"),
        DiskError::Io(_) => (StatusCode::INTERNAL_SERVER_ERROR, "InternalError", "the store failed; try again"),
    };
    Refusal { status, code, message }
}
