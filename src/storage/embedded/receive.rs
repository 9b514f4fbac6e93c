//! A body on its way to the disk.
//!
//! Memory is bounded by one batch a request. A body must arrive at a sixteenth of a mebibyte a second on average after a
//! minute's grace, and must not pause for half a minute, so that a slow client cannot hold a draft for ever. Nothing is
//! published here.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use s3s::checksum::ChecksumHasher;
use tokio::time::{Instant, timeout_at};

use super::disk::{Disk, DiskError, Written};

/// How many bytes are written at once.
const BATCH: usize = 256 << 10;
/// Grace before a body's speed matters.
const GRACE: Duration = Duration::from_secs(60);
/// Longest pause.
pub(super) const PAUSE: Duration = Duration::from_secs(30);
/// Slowest average, in bytes a second.
const SLOWEST: u64 = 64 << 10;

/// Why a body was not received.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReceiveError {
    /// More bytes than announced or allowed.
    #[error("the body is longer than announced or allowed")]
    TooLong,
    /// Fewer bytes than announced, or the connection broke.
    #[error("the body ended early")]
    Incomplete,
    /// The body failed its own check: a signature over its chunks, its announced digest.
    #[error("the body is not what was signed")]
    Altered,
    /// It took too long.
    #[error("the body arrived too slowly")]
    TooSlow,
    /// It could not be written.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// How many bytes must come.
#[derive(Clone, Copy)]
pub(super) struct Length {
    /// At least.
    pub(super) min: u64,
    /// At most.
    pub(super) max: u64,
}

/// Writes a body into a draft, computing `other` checksums beside MD5 and SHA-256.
pub(super) async fn receive<E>(
    disk: &Arc<Disk>,
    body: impl Stream<Item = Result<Bytes, E>>,
    length: Length,
    other: ChecksumHasher,
) -> Result<Written, ReceiveError>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let deadline = Instant::now() + GRACE + Duration::from_secs(length.max.min(1 << 50) / SLOWEST);
    let mut body = pin!(body);
    let mut draft = disk.serve(Disk::draft).await?;
    draft.other = other;
    let (mut batch, mut waiting, mut total) = (Vec::new(), 0, 0u64);
    loop {
        let next =
            timeout_at(deadline.min(Instant::now() + PAUSE), body.next()).await.map_err(|_| ReceiveError::TooSlow)?;
        let ended = next.is_none();
        if let Some(chunk) = next {
            let chunk = chunk.map_err(|error| broken(&*error.into()))?;
            total += chunk.len() as u64;
            if total > length.max {
                return Err(ReceiveError::TooLong);
            }
            waiting += chunk.len();
            batch.push(chunk);
        }
        if waiting >= BATCH || (ended && waiting > 0) {
            let chunks = std::mem::take(&mut batch);
            waiting = 0;
            draft = disk
                .serve(move |_| {
                    draft.write(&chunks)?;
                    Ok(draft)
                })
                .await?;
        }
        if ended {
            return if total < length.min { Err(ReceiveError::Incomplete) } else { Ok(draft.finish()) };
        }
    }
}

/// A connection that broke is told apart from a body that does not match its signature.
fn broken(error: &(dyn std::error::Error + 'static)) -> ReceiveError {
    let mut source = Some(error);
    while let Some(error) = source {
        if error.is::<hyper::Error>() || error.is::<super::multipart::FormError>() {
            return ReceiveError::Incomplete;
        }
        source = error.source();
    }
    ReceiveError::Altered
}
