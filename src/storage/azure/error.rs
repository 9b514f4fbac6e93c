//! What a failed call to Azure means.
//!
//! Only the service's error code and the status go into a message: Azure's own texts repeat the string to sign, and
//! transport errors repeat the URL.

use std::future::Future;
use std::time::Duration;

use azure_core::error::ErrorKind;
use azure_core::http::StatusCode;

use crate::storage::StorageError;

/// How long one call may take, retries included.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);

/// Awaits a call of the official clients for at most [`DEADLINE`].
pub(super) async fn call<T>(future: impl Future<Output = azure_core::Result<T>> + Send) -> Result<T, StorageError> {
    answer(future).await?.map_err(|error| translate(&error))
}

/// The same for a caller that looks at the service's error code itself.
pub(super) async fn answer<T>(
    future: impl Future<Output = azure_core::Result<T>> + Send,
) -> Result<azure_core::Result<T>, StorageError> {
    tokio::time::timeout(DEADLINE, future).await.map_err(|_| StorageError::Unavailable("no answer in time".into()))
}

/// The service's error code, for example `BlobNotFound`.
pub(super) fn code(error: &azure_core::Error) -> Option<&str> {
    match error.kind() {
        ErrorKind::HttpResponse { error_code, .. } => error_code.as_deref(),
        _ => None,
    }
}

/// One of ours for one of theirs.
pub(super) fn translate(error: &azure_core::Error) -> StorageError {
    let (status, code) = match error.kind() {
        ErrorKind::HttpResponse { status, error_code, .. } => {
            (*status, error_code.as_deref().unwrap_or("no error code"))
        }
        ErrorKind::Connection | ErrorKind::Io => return StorageError::Unavailable("no connection".into()),
        ErrorKind::Credential => return StorageError::Unavailable("no token from Microsoft Entra ID".into()),
        _ => return StorageError::Unexpected("an answer that cannot be read".into()),
    };
    let text = format!("{code} ({})", u16::from(status));
    match status {
        // A missing container is a mistake of the configuration, not a missing object.
        StatusCode::NotFound if code == "ContainerNotFound" || code == "ResourceNotFound" => {
            StorageError::Unexpected(text)
        }
        StatusCode::NotFound => StorageError::NotFound,
        StatusCode::PreconditionFailed | StatusCode::NotModified => StorageError::PreconditionFailed,
        StatusCode::Unauthorized | StatusCode::Forbidden => StorageError::Denied(text),
        StatusCode::RequestTimeout | StatusCode::TooManyRequests => StorageError::Unavailable(text),
        // The one conflict that ends by itself: another copy to the same blob is still under way.
        StatusCode::Conflict if code == "PendingCopyOperation" => StorageError::Unavailable(text),
        status if status.is_server_error() => StorageError::Unavailable(text),
        _ => StorageError::Unexpected(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: StatusCode, code: &str) -> StorageError {
        let kind = ErrorKind::HttpResponse { status, error_code: Some(code.to_owned()), raw_response: None };
        translate(&azure_core::Error::with_message(kind, "https://a.example/c/b?sig=hush"))
    }

    #[test]
    fn answers_become_our_own_errors_without_the_address() {
        assert!(matches!(answered(StatusCode::NotFound, "BlobNotFound"), StorageError::NotFound));
        assert!(matches!(answered(StatusCode::NotFound, "ContainerNotFound"), StorageError::Unexpected(_)));
        assert!(matches!(
            answered(StatusCode::PreconditionFailed, "SourceConditionNotMet"),
            StorageError::PreconditionFailed
        ));
        assert!(answered(StatusCode::ServiceUnavailable, "ServerBusy").is_transient());
        assert!(answered(StatusCode::Conflict, "PendingCopyOperation").is_transient());
        let denied = answered(StatusCode::Forbidden, "AuthorizationPermissionMismatch");
        assert_eq!(denied.to_string(), "the storage refused the gateway: AuthorizationPermissionMismatch (403)");
    }

    #[test]
    fn a_failed_connection_may_be_tried_again() {
        let error = azure_core::Error::with_message(ErrorKind::Connection, "https://a.example/?sig=hush");
        let error = translate(&error);
        assert!(error.is_transient() && !error.to_string().contains("hush"), "{error}");
    }
}
