//! Group commit: one thread, one bounded queue, one transaction for everything that waits.
//!
//! The thread blocks for the first request, takes what else is there up to [`MAX_BATCH`], runs all of it between
//! `BEGIN IMMEDIATE` and `COMMIT`, hands the audit lines to the sink, and only then answers. Operations are re-runnable:
//! when the database refuses one, the batch is rolled back and each runs again alone, so that one never fails its
//! neighbours. Absent on purpose: lingering for a fuller batch; under load the queue fills by itself.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::task::Waker;
use std::thread::{JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

use super::batch::Batch;
use super::checkpoint::Checkpointer;
use super::error::Failure;
use super::schema;
use crate::store::reply::{Reply, answer_all, reply};
use crate::store::{OnCommit, StoreError};

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
            checkpointer,
        };
        let thread = std::thread::Builder::new().name("store-writer".into()).spawn(move || {
            let_others_finish();
            state.run(&requests);
        });
        let thread = thread.map_err(|error| Failure::Away(format!("cannot start the writer: {error}")))?;
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
        let stopped = || StoreError::Unavailable("the writer has stopped".into());
        let queue = self.queue.as_ref().ok_or_else(stopped)?;
        let (reply, answer) = reply();
        queue.try_send(Box::new(Request { op, result: None, reply })).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Overloaded,
            TrySendError::Disconnected(_) => stopped(),
        })?;
        match tokio::time::timeout(self.deadline, answer).await {
            Ok(Some(result)) => result,
            Ok(None) => Err(stopped()),
            Err(_) => Err(StoreError::Unavailable(format!("no commit within {:?}", self.deadline))),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's writer thread had panicked");
        }
    }
}

/// A queued operation, whatever its result's type.
trait Pending: Send {
    /// The caller has gone away.
    fn is_abandoned(&self) -> bool;
    /// Runs the operation and keeps its result.
    fn apply(&mut self, batch: &mut Batch<'_>) -> Result<(), Failure>;
    /// Replaces the result by a failure.
    fn fail(&mut self, failure: Failure);
    /// The thread that asked.
    fn thread(&self) -> ThreadId;
    /// Hands the result to the caller; see [`Reply::answer`].
    fn answer(self: Box<Self>, followers: Vec<Waker>) -> Option<Waker>;
}

struct Request<T, F> {
    op: F,
    result: Option<Result<T, StoreError>>,
    reply: Reply<Result<T, StoreError>>,
}

impl<T, F> Pending for Request<T, F>
where
    T: Send,
    F: Fn(&mut Batch<'_>) -> Result<T, Failure> + Send,
{
    fn is_abandoned(&self) -> bool {
        self.reply.is_abandoned()
    }

    fn apply(&mut self, batch: &mut Batch<'_>) -> Result<(), Failure> {
        self.result = Some(Ok((self.op)(batch)?));
        Ok(())
    }

    fn fail(&mut self, failure: Failure) {
        self.result = Some(Err(failure.into()));
    }

    fn thread(&self) -> ThreadId {
        self.reply.thread
    }

    fn answer(self: Box<Self>, followers: Vec<Waker>) -> Option<Waker> {
        let none = || Err(StoreError::Unavailable("the operation was not run".into()));
        self.reply.answer(self.result.unwrap_or_else(none), followers)
    }
}

/// Makes this thread one that is not put before the others when it wakes (SCHED_BATCH, sched(7)): where cores are scarce,
/// whoever has requests to queue queues them first, and one commit does for all of them. Its share stays the same.
fn let_others_finish() {
    let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch);
    let Ok(same_share) = ThreadPriorityValue::try_from(NICE_0).map(ThreadPriority::Crossplatform) else { return };
    if let Err(error) = set_thread_priority_and_policy(thread_native_id(), same_share, policy) {
        tracing::debug!(?error, "the writer keeps the usual scheduling");
    }
}

/// What the library turns into a niceness of 0: it counts from 0 to 99, the kernel from 19 to -20.
const NICE_0: u8 = 48;

struct Loop {
    /// `None` after a failure of the file: the next transaction opens it again.
    conn: Option<Connection>,
    path: PathBuf,
    busy: Duration,
    on_commit: Option<OnCommit>,
    /// The audit entries of the transaction under way, for `on_commit`.
    lines: String,
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
            answer_all(requests.drain(..), |request| request.thread(), |request, followers| request.answer(followers));
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
        let done = run(conn, requests, self.on_commit.is_some().then_some(&mut self.lines));
        if done.is_err() && !conn.is_autocommit() {
            conn.prepare_cached("ROLLBACK")?.execute([])?;
        }
        done
    }
}

fn run(conn: &Connection, requests: &mut [Box<dyn Pending>], lines: Option<&mut String>) -> Result<(), Failure> {
    let mut batch = Batch::new(conn, lines);
    for request in requests {
        request.apply(&mut batch)?;
    }
    batch.finish()?;
    // A failed COMMIT is never one operation's fault, and must not be tried again operation by operation.
    conn.prepare_cached("COMMIT")?.execute([]).map_err(|error| Failure::Away(error.to_string()))?;
    Ok(())
}
