//! Whose fault a failed statement is.
//!
//! The distinction decides what happens to a batch: a database that is away fails every operation in it alike, a single
//! operation that the database refuses must not take its neighbours with it.

use rusqlite::ErrorCode;

use crate::store::StoreError;

/// Why an operation or a transaction failed.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// The disk is full, an I/O error, a lock that another process holds: every operation would fail.
    Away(String),
    /// This operation only: a constraint, or a row that cannot be read.
    Refused(String),
}

impl Failure {
    /// A row that this version does not understand.
    pub(super) fn unreadable(what: &str, error: impl std::fmt::Display) -> Self {
        Failure::Refused(format!("{what}: {error}"))
    }

    /// A value that has no text.
    pub(super) fn unwritable(error: serde_json::Error) -> Self {
        Failure::unreadable("a value that cannot be written", error)
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(
                ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::OutOfMemory
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::OperationInterrupted
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase,
            ) => Failure::Away(error.to_string()),
            _ => Failure::Refused(error.to_string()),
        }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Away(why) => StoreError::Unavailable(why),
            Failure::Refused(why) => StoreError::Corrupt(why),
        }
    }
}
