//! Reading one state of the bytes, in ranges.
//!
//! A scanner takes ten megabytes a second; a connection held that long for a large object is cut by somebody. So the bytes
//! come in ranges of 16 MiB, every one conditional on the same ETag and version, and a range that breaks is taken up where
//! it broke. Memory holds one chunk of the transport. Bytes of two states are never mixed: a changed ETag ends the stream.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream as Body;
use bytes::Bytes;

use super::client::failure;
use crate::domain::bytes::StoredBytes;
use crate::storage::{ByteStream, StorageError};

const RANGE: u64 = 16 << 20;
/// How long the next chunk may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often in a row a range is taken up again without a new byte.
const RESUMPTIONS: u32 = 3;

/// Which bytes of which object.
pub(super) struct Reader {
    client: Client,
    bucket: String,
    key: String,
    bytes: StoredBytes,
}

/// A range that is being read.
struct Progress {
    reader: Reader,
    body: Body,
    /// How many bytes have been handed out.
    at: u64,
    /// Where the range ends.
    until: u64,
    failures: u32,
}

impl Reader {
    pub(super) fn new(client: &Client, bucket: &str, key: &str, bytes: &StoredBytes) -> Self {
        Self { client: client.clone(), bucket: bucket.to_owned(), key: key.to_owned(), bytes: bytes.clone() }
    }

    /// Sends the first request, so that a missing object or a changed ETag is known before the stream begins.
    pub(super) async fn stream(self) -> Result<ByteStream, StorageError> {
        let (body, until) = self.open(0).await?;
        let progress = Progress { reader: self, body, at: 0, until, failures: 0 };
        Ok(Box::pin(futures::stream::try_unfold(progress, |mut progress| async move {
            Ok(progress.next().await?.map(|chunk| (chunk, progress)))
        })))
    }

    /// The range that begins at `at`, and where it ends.
    async fn open(&self, at: u64) -> Result<(Body, u64), StorageError> {
        let size = self.bytes.size;
        let until = size.min(at + RANGE);
        // An empty object has no range that could be asked for.
        let range = (size > 0).then(|| format!("bytes={at}-{}", until - 1));
        let answer = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(&self.key)
            .if_match(&self.bytes.etag)
            .set_version_id(self.bytes.version.clone())
            .set_range(range)
            .send()
            .await
            .map_err(|error| failure("GetObject", &error))?;
        match answer.content_range() {
            Some(_) => Ok((answer.body, until)),
            // The server knows no ranges and sends everything.
            None if at == 0 => Ok((answer.body, size)),
            None => Err(StorageError::Unexpected("GetObject answered a range with the whole".into())),
        }
    }
}

impl Progress {
    async fn next(&mut self) -> Result<Option<Bytes>, StorageError> {
        loop {
            match tokio::time::timeout(PATIENCE, self.body.next()).await {
                Ok(Some(Ok(chunk))) if chunk.is_empty() => {}
                Ok(Some(Ok(chunk))) => {
                    self.at += chunk.len() as u64;
                    if self.at > self.until {
                        return Err(StorageError::Unexpected("GetObject sent more bytes than asked for".into()));
                    }
                    self.failures = 0;
                    return Ok(Some(chunk));
                }
                Ok(None) if self.at == self.reader.bytes.size => return Ok(None),
                Ok(None) if self.at == self.until => self.resume().await?,
                Ok(None | Some(Err(_))) | Err(_) => {
                    self.failures += 1;
                    if self.failures > RESUMPTIONS {
                        return Err(StorageError::Unavailable("GetObject broke off".into()));
                    }
                    self.resume().await?;
                }
            }
        }
    }

    async fn resume(&mut self) -> Result<(), StorageError> {
        (self.body, self.until) = self.reader.open(self.at).await?;
        Ok(())
    }
}
