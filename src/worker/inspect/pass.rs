//! The pass itself: one stream, read once, seen by the counter, the digest, the content lanes and the scanner.
//!
//! Chunks go to the scanner through a channel of a few entries, so the storage is never read faster than the scanner
//! takes. A stream that fails takes the connection to the scanner down with it: a prefix that scanned well is nothing.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::concern::{Concern, Content};
use super::content::ContentScan;
use super::error::InspectError;
use super::judge::{Seen, judge};
use super::pool::Server;
use super::reply::Version;
use super::{Declared, Inspector};
use crate::domain::bytes::Sha256Digest;
use crate::domain::verdict::Verdict;
use crate::storage::ByteStream;

/// Largest piece that is handled at once, so that no chunk of a store holds up the other tasks.
const PIECE: usize = 256 * 1024;
/// Pieces on their way to the scanner.
const IN_FLIGHT: usize = 4;

pub(super) async fn run(
    inspector: &Inspector,
    server: &Server,
    version: Version,
    stream: ByteStream,
    declared: Declared<'_>,
) -> Result<Verdict, InspectError> {
    let (sender, receiver) = mpsc::channel(IN_FLIGHT);
    let chunks = stream::unfold(receiver, |mut receiver: mpsc::Receiver<Bytes>| async move {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    });
    let reading = read(inspector, stream, declared, sender);
    let ((size, sha256, content), reply) = tokio::try_join!(Box::pin(reading), Box::pin(server.clamd.scan(chunks)))?;
    let seen = Seen { size, sha256, content, reply };
    let finding = judge(&declared, &seen);
    metrics::counter!("vestibule_inspected_bytes_total").increment(size);
    Ok(Verdict {
        finding,
        engine: version.engine,
        signatures: version.signatures,
        at: inspector.clock.now(),
        bytes: declared.staged.clone(),
        sha256,
        detected: seen.content.detected.and_then(|media| media.parse().ok()),
    })
}

async fn read(
    inspector: &Inspector,
    mut stream: ByteStream,
    declared: Declared<'_>,
    sender: mpsc::Sender<Bytes>,
) -> Result<(u64, Sha256Digest, Content), InspectError> {
    let stall = inspector.config.stall_timeout;
    let mut content = ContentScan::new(declared, &inspector.config, &inspector.clock);
    let (mut size, mut digest) = (0_u64, Sha256::new());
    while let Some(chunk) = next(&mut stream, stall).await? {
        let mut rest = chunk;
        while !rest.is_empty() && size <= declared.size {
            let piece = rest.split_to(rest.len().min(PIECE));
            size += piece.len() as u64;
            digest.update(&piece);
            content.feed(&piece).await?;
            // Once clamd has answered it takes no more, and the digest is all that is still wanted.
            if !sender.is_closed() {
                match timeout(stall, sender.send(piece)).await {
                    Ok(_) => {}
                    Err(_) => return Err(InspectError::ScannerTimeout(stall)),
                }
            }
        }
        if size > declared.size {
            // Longer than declared: enough is known, and what follows may be without end.
            let content =
                Content::default().with(Some(Concern::Opaque("The upload was not read to its end.".to_owned())));
            return Ok((size, Sha256Digest(digest.finalize().into()), content));
        }
    }
    drop(sender);
    if size != declared.staged.size {
        return Err(InspectError::Incomplete { expected: declared.staged.size, read: size });
    }
    Ok((size, Sha256Digest(digest.finalize().into()), content.finish().await?))
}

async fn next(stream: &mut ByteStream, stall: Duration) -> Result<Option<Bytes>, InspectError> {
    match timeout(stall, stream.next()).await {
        Ok(None) => Ok(None),
        Ok(Some(Ok(chunk))) => Ok(Some(chunk)),
        Ok(Some(Err(error))) => Err(InspectError::Stream(error)),
        Err(_) => Err(InspectError::SourceStalled(stall)),
    }
}
