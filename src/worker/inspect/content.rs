//! The lanes: each kind of content is looked at by the code that knows it, chunk by chunk, in one pass.
//!
//! The first 16 KiB choose the lane. Memory is what the lane keeps: a few KiB for most, 16 MiB for one XML token at
//! worst. A zip file goes to an unlinked spool file, because it is read from its end; nothing else is stored.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Bytes, BytesMut};

use super::Declared;
use super::archive::Examiner;
use super::budget::Budget;
use super::concern::{Concern, Content};
use super::config::ScannerConfig;
use super::error::InspectError;
use super::gzip::GzipScan;
use super::ole::OleScan;
use super::pdf::PdfScan;
use super::sniff::{HEAD, Sniffed, sniff};
use super::spool::Spool;
use super::text::TextLane;
use crate::clock::Clock;

/// Looks at content as it streams past.
pub(super) struct ContentScan<'a> {
    declared: Declared<'a>,
    config: &'a ScannerConfig,
    clock: &'a Clock,
    head: BytesMut,
    lane: Option<Lane>,
}

enum Lane {
    Text(Box<TextLane>),
    Pdf(Box<PdfScan>),
    Ole(OleScan),
    Gzip(Box<GzipScan>),
    Zip(File),
    /// Nothing to look at beyond the first bytes.
    Known(Content),
}

impl<'a> ContentScan<'a> {
    pub(super) fn new(declared: Declared<'a>, config: &'a ScannerConfig, clock: &'a Clock) -> Self {
        Self { declared, config, clock, head: BytesMut::new(), lane: None }
    }

    /// Takes the next bytes.
    pub(super) async fn feed(&mut self, chunk: &Bytes) -> Result<(), InspectError> {
        if let Some(lane) = &mut self.lane {
            return lane.feed(chunk).await;
        }
        let missing = HEAD.saturating_sub(self.head.len()).min(chunk.len());
        self.head.extend_from_slice(&chunk[..missing]);
        if self.head.len() < HEAD {
            return Ok(());
        }
        let lane = self.choose().await?;
        lane.feed(&chunk.slice(missing..)).await
    }

    /// What was recognised, once all bytes have passed.
    pub(super) async fn finish(mut self) -> Result<Content, InspectError> {
        if self.lane.is_none() {
            self.choose().await?;
        }
        match self.lane.take().unwrap_or(Lane::Known(Content::default())) {
            Lane::Text(lane) => Ok(lane.finish().await),
            Lane::Pdf(scan) => Ok(scan.finish()),
            Lane::Ole(scan) => Ok(scan.finish()),
            Lane::Gzip(scan) => Ok(scan.finish()),
            Lane::Known(content) => Ok(content),
            Lane::Zip(mut file) => {
                let cancelled = Cancel(Arc::new(AtomicBool::new(false)));
                let mut examiner = Examiner {
                    budget: Budget::of(self.declared.rules, self.declared.staged.size),
                    max_entries: self.declared.rules.max_entries,
                    spool: self.spool_directory(),
                    cancelled: cancelled.0.clone(),
                };
                blocking(move || file.rewind().and_then(|()| examiner.examine(file))).await
            }
        }
    }

    fn spool_directory(&self) -> Spool {
        Spool { directory: self.config.spool_directory.clone(), clock: self.clock.clone() }
    }

    /// Chooses the lane by the first bytes, and gives it those.
    async fn choose(&mut self) -> Result<&mut Lane, InspectError> {
        let head = std::mem::take(&mut self.head).freeze();
        let lane = match sniff(&head) {
            Sniffed::Empty | Sniffed::Unknown if head.is_empty() => {
                // A text without any characters is a text; other grammars say themselves what is missing.
                Lane::Text(Box::new(TextLane::new(
                    super::sniff::Encoding::AsciiLike,
                    self.declared.content_type.as_str(),
                    &head,
                )))
            }
            Sniffed::Text(encoding) => {
                Lane::Text(Box::new(TextLane::new(encoding, self.declared.content_type.as_str(), &head)))
            }
            Sniffed::Pdf => Lane::Pdf(Box::default()),
            Sniffed::Ole => Lane::Ole(OleScan::default()),
            Sniffed::Gzip => {
                Lane::Gzip(Box::new(GzipScan::new(Budget::of(self.declared.rules, self.declared.staged.size))))
            }
            Sniffed::Zip if self.declared.staged.size > self.config.spool_limit => {
                let text = format!(
                    "The archive is larger than {} bytes, too large to be looked into.",
                    self.config.spool_limit
                );
                Lane::Known(Content::of("application/zip").with(Some(Concern::Opaque(text))))
            }
            Sniffed::Zip => {
                let spool = self.spool_directory();
                Lane::Zip(blocking(move || spool.file()).await?)
            }
            Sniffed::Signature(media) => Lane::Known(Content::of(media)),
            Sniffed::Empty | Sniffed::Unknown => Lane::Known(Content::default()),
        };
        let lane = self.lane.insert(lane);
        lane.feed(&head).await?;
        Ok(lane)
    }
}

impl Lane {
    async fn feed(&mut self, chunk: &Bytes) -> Result<(), InspectError> {
        match self {
            _ if chunk.is_empty() => {}
            Lane::Text(lane) => lane.feed(chunk).await,
            Lane::Pdf(scan) => scan.feed(chunk),
            Lane::Ole(scan) => scan.feed(chunk),
            Lane::Gzip(scan) => scan.feed(chunk),
            Lane::Known(_) => {}
            Lane::Zip(file) => {
                let (mut file, chunk) = (file.try_clone().map_err(InspectError::Spool)?, chunk.clone());
                blocking(move || file.write_all(&chunk)).await?;
            }
        }
        Ok(())
    }
}

/// Tells the blocking thread that nobody waits any more.
struct Cancel(Arc<AtomicBool>);

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, InspectError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(InspectError::Spool),
        Err(_) => Err(InspectError::Spool(io::Error::other("the blocking task ended early"))),
    }
}
