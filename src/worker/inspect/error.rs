//! Why an inspection gave no verdict.
//!
//! Every error means "nothing is known about these bytes": the object stays closed. A transient one is worth another
//! try; the number of tries and the time between them are the worker's. That the bytes *cannot be judged* is no error
//! but a verdict.

use std::time::Duration;

use super::reply::UnclearReply;
use crate::storage::StorageError;

/// An inspection that ended without a verdict.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// No server could be reached, or none answered a simple question. Says nothing about the object.
    #[error("the scanner is away: {0}")]
    ScannerAway(std::io::Error),
    /// The server went away in the middle of the scan, perhaps because of the object.
    #[error("the scanner closed the connection without an answer: {0}")]
    ScannerLost(std::io::Error),
    /// clamd took longer than the time for this size, or accepted no bytes for too long.
    #[error("the scanner gave no answer within {0:?}")]
    ScannerTimeout(Duration),
    /// An answer that says nothing about the bytes.
    #[error(transparent)]
    UnclearReply(#[from] UnclearReply),
    /// The object could not be read. `NotFound` and `PreconditionFailed` mean that the bytes are not there any more.
    #[error(transparent)]
    Stream(StorageError),
    /// The storage sent nothing for too long.
    #[error("the storage sent nothing for {0:?}")]
    SourceStalled(Duration),
    /// The stream ended before or after the length that the store told.
    #[error("the storage sent {read} bytes of {expected}")]
    Incomplete {
        /// The length that the store told.
        expected: u64,
        /// The bytes that came.
        read: u64,
    },
    /// The spool file could not be written or read: the disk is full, or the directory is not there.
    #[error("the spool directory cannot be used: {0}")]
    Spool(std::io::Error),
}

impl InspectError {
    /// Whether another try may help. `false` only where the bytes that were named are gone or replaced.
    pub fn is_transient(&self) -> bool {
        !matches!(self, InspectError::Stream(StorageError::NotFound | StorageError::PreconditionFailed))
    }

    /// Whether the scanner, and not the storage or the disk, is the reason.
    pub fn is_scanner(&self) -> bool {
        self.is_scanner_gone() || matches!(self, InspectError::ScannerTimeout(_) | InspectError::UnclearReply(_))
    }

    /// Whether the server is gone, so that another one should be asked.
    pub fn is_scanner_gone(&self) -> bool {
        matches!(self, InspectError::ScannerAway(_) | InspectError::ScannerLost(_))
    }
}
