//! What a client announces about an upload: checksums to compare, and wishes that this store does not fulfil.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{HeaderMap, HeaderValue};
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Sha1};
use s3s::dto::{CopyObjectInput, PutObjectInput};
use s3s::{S3Result, s3_error};

use super::disk::Written;

/// Checksums of the body, in base64, as headers or trailers announce them.
pub(super) struct Checksums {
    pub(super) sha256: Option<String>,
    pub(super) sha1: Option<String>,
    pub(super) crc32: Option<String>,
    pub(super) crc32c: Option<String>,
    pub(super) crc64nvme: Option<String>,
    pub(super) md5: Option<String>,
}

impl Checksums {
    /// Computes what was announced, or will be in a trailer, beside MD5 and SHA-256, which are always computed.
    pub(super) fn hasher(&self, trailer: Option<&HeaderValue>) -> ChecksumHasher {
        let trailer = trailer.and_then(|value| value.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
        let wanted = |header: &Option<String>, name: &str| {
            header.is_some() || trailer.split(',').any(|part| part.trim() == name)
        };
        ChecksumHasher {
            crc32: wanted(&self.crc32, "x-amz-checksum-crc32").then(Crc32::new),
            crc32c: wanted(&self.crc32c, "x-amz-checksum-crc32c").then(Crc32c::new),
            sha1: wanted(&self.sha1, "x-amz-checksum-sha1").then(Sha1::new),
            sha256: None,
            crc64nvme: wanted(&self.crc64nvme, "x-amz-checksum-crc64nvme").then(Crc64Nvme::new),
        }
    }

    /// Adds what stood behind the body.
    pub(super) fn with_trailers(mut self, trailers: Option<&HeaderMap>) -> S3Result<Self> {
        for (name, value) in trailers.into_iter().flatten() {
            let slot = match name.as_str() {
                "x-amz-checksum-sha256" => &mut self.sha256,
                "x-amz-checksum-sha1" => &mut self.sha1,
                "x-amz-checksum-crc32" => &mut self.crc32,
                "x-amz-checksum-crc32c" => &mut self.crc32c,
                "x-amz-checksum-crc64nvme" => &mut self.crc64nvme,
                _ => continue,
            };
            let value = value.to_str().map_err(|_| s3_error!(InvalidRequest, "a trailer cannot be read"))?;
            *slot = Some(value.trim().to_owned());
        }
        Ok(self)
    }

    /// Compares what was announced with what was written.
    pub(super) fn compare(&self, written: &Written) -> S3Result<()> {
        let sha256 = Some(BASE64.encode(written.sha256.0));
        let md5 = hex::decode(&written.md5).ok().map(|digest| BASE64.encode(digest));
        for (announced, found) in [
            (&self.sha256, &sha256),
            (&self.md5, &md5),
            (&self.sha1, &written.other.checksum_sha1),
            (&self.crc32, &written.other.checksum_crc32),
            (&self.crc32c, &written.other.checksum_crc32c),
            (&self.crc64nvme, &written.other.checksum_crc64nvme),
        ] {
            if announced.is_some() && announced != found {
                return Err(s3_error!(BadDigest, "the checksum that was announced is not that of the body"));
            }
        }
        Ok(())
    }
}

/// Refuses what this store would have to ignore.
pub(super) fn refuse_unkept(input: &PutObjectInput) -> S3Result<()> {
    let unkept = input.acl.is_some()
        || input.grant_full_control.is_some()
        || input.grant_read.is_some()
        || input.grant_read_acp.is_some()
        || input.grant_write_acp.is_some()
        // A browser adds this one by itself beside If-None-Match (Fetch, HTTP-network-or-cache fetch); nothing is lost with it.
        || input.cache_control.as_deref().is_some_and(|own| own != "no-cache")
        || input.content_disposition.is_some()
        || input.content_language.is_some()
        || input.content_encoding.as_deref().is_some_and(|encoding| encoding != "aws-chunked")
        || input.expires.is_some()
        || input.if_match.is_some()
        || input.object_lock_legal_hold_status.is_some()
        || input.object_lock_mode.is_some()
        || input.object_lock_retain_until_date.is_some()
        || input.server_side_encryption.is_some()
        || input.sse_customer_algorithm.is_some()
        || input.ssekms_key_id.is_some()
        || input.storage_class.is_some()
        || input.website_redirect_location.is_some()
        || input.write_offset_bytes.is_some();
    if unkept { Err(s3_error!(NotImplemented, "this store does not keep one of the upload's headers")) } else { Ok(()) }
}

/// The same for a copy.
pub(super) fn refuse_unkept_copy(input: &CopyObjectInput) -> S3Result<()> {
    let unkept = input.acl.is_some()
        || input.grant_full_control.is_some()
        || input.grant_read.is_some()
        || input.grant_read_acp.is_some()
        || input.grant_write_acp.is_some()
        || input.cache_control.is_some()
        || input.content_disposition.is_some()
        || input.content_language.is_some()
        || input.content_encoding.is_some()
        || input.expires.is_some()
        || input.copy_source_if_modified_since.is_some()
        || input.copy_source_if_unmodified_since.is_some()
        || input.copy_source_sse_customer_algorithm.is_some()
        || input.object_lock_legal_hold_status.is_some()
        || input.object_lock_mode.is_some()
        || input.object_lock_retain_until_date.is_some()
        || input.server_side_encryption.is_some()
        || input.sse_customer_algorithm.is_some()
        || input.ssekms_key_id.is_some()
        || input.storage_class.is_some()
        || input.website_redirect_location.is_some();
    if unkept { Err(s3_error!(NotImplemented, "this store does not keep one of the copy's headers")) } else { Ok(()) }
}
