//! The SDK's client, for everything that is not a URL: deadlines on every call, few retries, no surprise checksums.
//!
//! Errors of the SDK end here. What goes on is one of [`StorageError`]'s few words with the operation's name, the status and
//! the service's error code; never a message of the service, which may quote what was signed.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, IdentityCache, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::address::Location;
use crate::storage::StorageError;
use crate::storage::credentials::CredentialSource;

const CONNECT: Duration = Duration::from_secs(5);
const ATTEMPT: Duration = Duration::from_secs(30);
/// A server-side copy of some gigabytes takes minutes, and answers only when it is done.
pub(super) const COPY: Duration = Duration::from_secs(600);
/// Whole calls, retries included.
const OPERATION: Duration = Duration::from_secs(75);
const ATTEMPTS: u32 = 3;

/// A client for the buckets at `location`. Makes no request.
pub(super) fn connect(location: &Location, credentials: &Arc<CredentialSource>) -> aws_sdk_s3::Client {
    let mut config = Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(location.region.clone()))
        .credentials_provider(credentials.provider())
        // The source is memory already; a cache above it would only keep old keys.
        .identity_cache(IdentityCache::no_cache())
        .force_path_style(location.path_style)
        .timeout_config(timeouts(ATTEMPT, OPERATION))
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        // Reading has its own deadline per chunk, which does not punish a slow scanner.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // Not every S3-compatible server knows the checksums that the SDK would add.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if let Some(endpoint) = &location.endpoint {
        // With a base path and path style the SDK puts the bucket right behind it: the slash is needed.
        config = config.endpoint_url(format!("{}/", endpoint.as_str().trim_end_matches('/')));
    }
    aws_sdk_s3::Client::from_conf(config.build())
}

/// Deadlines for one attempt and for the whole call.
pub(super) fn timeouts(attempt: Duration, operation: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .read_timeout(attempt)
        .operation_attempt_timeout(attempt)
        .operation_timeout(operation)
        .build()
}

/// The code of the service's error, for example `NoSuchKey`; only what looks like a code.
pub(super) fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> &str {
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default();
    if code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric()) { code } else { "" }
}

/// What an SDK error means to the gateway.
pub(super) fn failure<E: ProvideErrorMetadata>(operation: &str, error: &SdkError<E, HttpResponse>) -> StorageError {
    let status = match error {
        SdkError::TimeoutError(_) => return StorageError::Unavailable(format!("{operation} took too long")),
        SdkError::DispatchFailure(_) => return StorageError::Unavailable(format!("{operation} found no connection")),
        SdkError::ResponseError(response) => response.raw().status().as_u16(),
        SdkError::ServiceError(service) => service.raw().status().as_u16(),
        _ => return StorageError::Unexpected(format!("{operation} could not be sent")),
    };
    let code = code(error);
    let what = format!("{operation} was answered with {status} {code}").trim_end().to_owned();
    match (status, code) {
        (_, "NoSuchBucket") => StorageError::Unexpected(what),
        (_, "SlowDown" | "RequestTimeout" | "InternalError" | "ConditionalRequestConflict" | "OperationAborted") => {
            StorageError::Unavailable(what)
        }
        // 405: the newest version is a delete marker.
        (404 | 405, _) => StorageError::NotFound,
        (412, _) => StorageError::PreconditionFailed,
        (401 | 403, _) => StorageError::Denied(what),
        (408 | 429 | 500 | 502..=504, _) => StorageError::Unavailable(what),
        _ => StorageError::Unexpected(what),
    }
}
