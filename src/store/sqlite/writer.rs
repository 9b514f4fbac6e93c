//! Group commit: one thread, one bounded queue, one transaction for everything that waits.
//!
//! The thread blocks for the first request, takes what else is there up to [`MAX_BATCH`], runs all of it between
//! `BEGIN IMMEDIATE` and `COMMIT`, hands the audit lines to the sink, and only then answers. Operations are re-runnable:
//! when the database refuses one, the batch is rolled back and each runs again alone, so that one never fails its
//! neighbours. Absent on purpose: lingering for a fuller batch; under load the queue fills by itself.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::checkpoint::Checkpointer;
use super::error::Failure;
use super::request::{Request, Waiting, answer, ask, join, serve};
use super::schema;
use super::trail::Noted;
use crate::store::{OnCommit, StoreError};
use rusqlite::Connection;

/// Operations in one transaction at most: beyond it a commit costs no less for each.
const MAX_BATCH: usize = 256;

/// The queue's end that requests go into. Dropping it lets the thread finish what is queued, and waits for that.
pub(super) struct Writer {
    queue: Option<SyncSender<Box<dyn Pending>>>,
    thread: Option<JoinHandle<()>>,
    deadline: Duration,
}

/// What the thread needs.
pub(super) struct WriterSettings {
    pub(super) path: PathBuf,
    pub(super) busy: Duration,
    pub(super) queue: usize,
    pub(super) deadline: Duration,
    pub(super) on_commit: Option<OnCommit>,
}

impl Writer {
    /// Opens the writing connection and starts the thread.
    pub(super) fn start(settings: WriterSettings) -> Result<Self, Failure> {
        let (queue, requests) = sync_channel(settings.queue);
        let deadline = settings.deadline;
        let conn = schema::open_for_writing(&settings.path, settings.busy)?;
        let checkpointer = Checkpointer::start(&settings.path, settings.busy)?;
        let mut state = Loop {
            conn: Some(conn),
            path: settings.path,
            busy: settings.busy,
            on_commit: settings.on_commit,
            lines: String::new(),
            noted: Noted::default(),
            checkpointer,
        };
        let thread = serve("store-writer", move || state.run(&requests))?;
        Ok(Self { queue: Some(queue), thread: Some(thread), deadline })
    }

    /// Queues an operation and waits for its commit.
    ///
    /// The operation may run more than once before one run is committed. A caller that goes away before the operation
    /// has begun cancels it; past the deadline the caller must not assume either way.
    pub(super) async fn write<T, F>(&self, op: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Fn(&mut Batch<'_>) -> Result<T, Failure> + Send + 'static,
    {
        let (request, answer) = Request::new(op);
        ask(self.queue.as_ref(), Box::new(request), answer, self.deadline).await
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.queue.take());
        self.thread.take().into_iter().for_each(join);
    }
}

/// A queued operation, whatever its result's type.
trait Pending: Waiting {
    /// Runs the operation and keeps its result.
    fn apply(&mut self, batch: &mut Batch<'_>) -> Result<(), Failure>;
}

impl<T, F> Pending for Request<T, F>
where
    T: Send,
    F: Fn(&mut Batch<'_>) -> Result<T, Failure> + Send,
{
    fn apply(&mut self, batch: &mut Batch<'_>) -> Result<(), Failure> {
        self.result = Some(Ok((self.op)(batch)?));
        Ok(())
    }
}

struct Loop {
    /// `None` after a failure of the file: the next transaction opens it again.
    conn: Option<Connection>,
    path: PathBuf,
    busy: Duration,
    on_commit: Option<OnCommit>,
    /// The audit entries of the transaction under way, for `on_commit`.
    lines: String,
    /// What the audit trail's last block is known to hold.
    noted: Noted,
    checkpointer: Checkpointer,
}

impl Loop {
    fn run(&mut self, queue: &Receiver<Box<dyn Pending>>) {
        let mut requests = Vec::with_capacity(MAX_BATCH);
        let operations = metrics::histogram!("vestibule_store_batch_operations");
        let seconds = metrics::histogram!("vestibule_store_commit_seconds");
        while let Ok(first) = queue.recv() {
            requests.push(first);
            requests.extend(queue.try_iter().take(MAX_BATCH - 1));
            requests.retain(|request| !request.is_abandoned());
            if requests.is_empty() {
                continue;
            }
            let began = Instant::now();
            self.serve(&mut requests);
            operations.record(requests.len() as f64);
            seconds.record(began.elapsed());
            let served = requests.len();
            answer(requests.drain(..));
            self.checkpointer.committed(served, self.conn.as_ref());
        }
    }

    /// Leaves every request with a result, committed or failed.
    fn serve(&mut self, requests: &mut [Box<dyn Pending>]) {
        match self.transaction(requests) {
            Ok(()) => {
                if let Some(sink) = self.on_commit.as_ref().filter(|_| !self.lines.is_empty()) {
                    sink(&self.lines);
                }
            }
            Err(failure @ Failure::Away(_)) => {
                tracing::warn!(?failure, operations = requests.len(), "nothing was committed");
                self.conn = None;
                requests.iter_mut().for_each(|request| request.fail(failure.clone()));
            }
            Err(failure @ Failure::Refused(_)) => match requests {
                [alone] => {
                    tracing::error!(?failure, "the database refused an operation");
                    alone.fail(failure);
                }
                _ => requests.chunks_mut(1).for_each(|alone| self.serve(alone)),
            },
        }
    }

    /// Runs the requests in one transaction; rolled back as a whole where one fails.
    fn transaction(&mut self, requests: &mut [Box<dyn Pending>]) -> Result<(), Failure> {
        self.lines.clear();
        let conn = match &mut self.conn {
            Some(conn) => &*conn,
            missing => &*missing.insert(schema::open_for_writing(&self.path, self.busy)?),
        };
        conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let done = run(conn, requests, self.on_commit.is_some().then_some(&mut self.lines), &mut self.noted);
        if done.is_err() {
            self.noted = Noted::default();
            if !conn.is_autocommit() {
                conn.prepare_cached("ROLLBACK")?.execute([])?;
            }
        }
        done
    }
}

fn run(
    conn: &Connection,
    requests: &mut [Box<dyn Pending>],
    lines: Option<&mut String>,
    noted: &mut Noted,
) -> Result<(), Failure> {
    let mut batch = Batch::new(conn, lines, noted);
    for request in requests {
        request.apply(&mut batch)?;
    }
    batch.finish()?;
    // A failed COMMIT is never one operation's fault, and must not be tried again operation by operation.
    conn.prepare_cached("COMMIT")?.execute([]).map_err(|error| Failure::Away(error.to_string()))?;
    Ok(())
}
