//! Moving committed pages from the write-ahead log into the database file, off the hot path.
//!
//! A thread of its own does the bulk of it with a connection of its own while commits go on. It can never finish under
//! steady writing, and a log that was not moved as a whole cannot start anew; so past [`LONG_LOG`] the writer moves the
//! few pages that are left, between two batches. Nothing is lost without it: the log is what is durable.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;

use super::error::Failure;
use super::schema;

/// Operations after which the thread is woken: a page that many of them wrote is moved once.
const OPERATIONS: usize = 4000;
/// Pages of 4 KiB in the log above which the writer takes part.
const LONG_LOG: i64 = 16_384;

/// The writer's handle on the thread. Dropping it ends the thread.
pub(super) struct Checkpointer {
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    log_is_long: Arc<AtomicBool>,
    since: usize,
}

impl Checkpointer {
    pub(super) fn start(path: &Path, busy: Duration) -> Result<Self, Failure> {
        let conn = schema::open_for_writing(path, busy)?;
        let (wake, woken) = sync_channel(1);
        let log_is_long = Arc::new(AtomicBool::new(false));
        let flag = log_is_long.clone();
        let thread =
            std::thread::Builder::new().name("store-checkpoint".into()).spawn(move || run(&conn, &woken, &flag));
        let thread = thread.map_err(|error| Failure::Away(format!("cannot start the checkpointer: {error}")))?;
        Ok(Self { wake: Some(wake), thread: Some(thread), log_is_long, since: 0 })
    }

    /// Called by the writer between batches.
    pub(super) fn committed(&mut self, operations: usize, writer: Option<&Connection>) {
        self.since += operations;
        if let Some(conn) = writer
            && self.log_is_long.swap(false, Ordering::Relaxed)
        {
            report(checkpoint(conn));
        }
        if self.since >= OPERATIONS
            && let Some(wake) = &self.wake
        {
            self.since = 0;
            // Full means that the thread is at it already.
            let _ = wake.try_send(());
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        drop(self.wake.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has cost a checkpoint and nothing else.
            let _ = thread.join();
        }
    }
}

fn run(conn: &Connection, woken: &Receiver<()>, log_is_long: &AtomicBool) {
    while woken.recv().is_ok() {
        let pages = checkpoint(conn);
        if pages.as_ref().is_ok_and(|pages| *pages > LONG_LOG) {
            log_is_long.store(true, Ordering::Relaxed);
        }
        report(pages);
    }
}

/// Moves what can be moved without waiting for anyone; the pages in the log.
fn checkpoint(conn: &Connection) -> rusqlite::Result<i64> {
    conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(1))
}

fn report(pages: rusqlite::Result<i64>) {
    match pages {
        Ok(pages) => metrics::gauge!("vestibule_store_wal_pages").set(pages as f64),
        Err(error) => tracing::warn!(%error, "the write-ahead log could not be moved into the database"),
    }
}
