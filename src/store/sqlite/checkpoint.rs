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
/// Commits after which it is woken at the latest. A page that many commits wrote stands in the log as often, and whoever
/// reads it passes all of them: of one request after another a tenth of the instructions went there.
const COMMITS: usize = 100;
/// Pages of 4 KiB in the log above which the writer takes part: as many as SQLite lets it grow to by itself.
const LONG_LOG: i64 = 1000;

/// The writer's handle on the thread. Dropping it ends the thread.
pub(super) struct Checkpointer {
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    log_is_long: Arc<AtomicBool>,
    operations: usize,
    commits: usize,
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
        Ok(Self { wake: Some(wake), thread: Some(thread), log_is_long, operations: 0, commits: 0 })
    }

    /// Called by the writer between batches.
    pub(super) fn committed(&mut self, operations: usize, writer: Option<&Connection>) {
        self.operations += operations;
        self.commits += 1;
        if let Some(conn) = writer
            && self.log_is_long.swap(false, Ordering::Relaxed)
        {
            report(checkpoint(conn));
        }
        if (self.operations >= OPERATIONS || self.commits >= COMMITS)
            && let Some(wake) = &self.wake
        {
            (self.operations, self.commits) = (0, 0);
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
        let done = checkpoint(conn);
        // Where a reader still needs what is in the log, the writer could move no more of it either.
        if done.as_ref().is_ok_and(|(pages, moved)| *pages > LONG_LOG && pages - moved < LONG_LOG) {
            log_is_long.store(true, Ordering::Relaxed);
        }
        report(done);
    }
}

/// Moves what can be moved without waiting for anyone; the pages in the log, and how many of them are moved.
fn checkpoint(conn: &Connection) -> rusqlite::Result<(i64, i64)> {
    conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| Ok((row.get(1)?, row.get(2)?)))
}

fn report(done: rusqlite::Result<(i64, i64)>) {
    match done {
        Ok((pages, _)) => metrics::gauge!("vestibule_store_wal_pages").set(pages as f64),
        Err(error) => tracing::warn!(%error, "the write-ahead log could not be moved into the database"),
    }
}
