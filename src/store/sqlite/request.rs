//! What waits in a queue of this store for its result, and the threads that serve such queues.
//!
//! A caller queues a closure and sleeps; a thread takes everything that waits, serves it together, and wakes one caller
//! of each thread (see [`crate::store::reply`]). Queues are bounded, and so is every wait.

use std::sync::mpsc::{SyncSender, TrySendError};
use std::task::Waker;
use std::thread::{JoinHandle, ThreadId};
use std::time::Duration;

use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

use super::error::Failure;
use crate::store::StoreError;
use crate::store::reply::{Answer, Reply, answer_all, answered, reply, stopped};

/// A queued closure, whatever its result's type.
pub(super) trait Waiting: Send {
    /// The caller has gone away.
    fn is_abandoned(&self) -> bool;
    /// Replaces the result by a failure.
    fn fail(&mut self, failure: Failure);
    /// The thread that asked.
    fn thread(&self) -> ThreadId;
    /// Hands the result to the caller; see [`Reply::answer`].
    fn answer(self: Box<Self>, followers: Vec<Waker>) -> Option<Waker>;
}

/// A closure with the place for its result.
pub(super) struct Request<T, F> {
    pub(super) op: F,
    /// What the caller will get.
    pub(super) result: Option<Result<T, StoreError>>,
    reply: Reply<Result<T, StoreError>>,
}

impl<T, F> Request<T, F> {
    /// The request, and what its caller waits for.
    pub(super) fn new(op: F) -> (Self, Answer<Result<T, StoreError>>) {
        let (reply, answer) = reply();
        (Self { op, result: None, reply }, answer)
    }
}

impl<T: Send, F: Send> Waiting for Request<T, F> {
    fn is_abandoned(&self) -> bool {
        self.reply.is_abandoned()
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

/// Hands out all results.
pub(super) fn answer<W: Waiting + ?Sized>(requests: impl Iterator<Item = Box<W>>) {
    answer_all(requests, |request| request.thread(), |request, followers| request.answer(followers));
}

/// Queues a request and waits for its answer, at most until the deadline. `queue` is `None` once the store closes.
///
/// # Errors
/// [`StoreError::Overloaded`] where the queue is full, [`StoreError::Unavailable`] past the deadline.
pub(super) async fn ask<W: ?Sized, T>(
    queue: Option<&SyncSender<Box<W>>>,
    request: Box<W>,
    answer: Answer<Result<T, StoreError>>,
    deadline: Duration,
) -> Result<T, StoreError> {
    queue.ok_or_else(stopped)?.try_send(request).map_err(|error| match error {
        TrySendError::Full(_) => StoreError::Overloaded,
        TrySendError::Disconnected(_) => stopped(),
    })?;
    answered(answer, deadline, "answer").await
}

/// Starts a thread that serves a queue.
pub(super) fn serve(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Failure> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        let_others_finish();
        run();
    });
    thread.map_err(|error| Failure::Away(format!("cannot start a thread of the store: {error}")))
}

/// Waits for a thread whose queue was closed.
pub(super) fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("a thread of the store had panicked");
    }
}

/// Makes this thread one that is not put before the others when it wakes (SCHED_BATCH, sched(7)): where cores are scarce,
/// whoever has requests to queue queues them first, and all of them are served together. Its share stays the same.
fn let_others_finish() {
    let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch);
    let Ok(same_share) = ThreadPriorityValue::try_from(NICE_0).map(ThreadPriority::Crossplatform) else { return };
    if let Err(error) = set_thread_priority_and_policy(thread_native_id(), same_share, policy) {
        tracing::debug!(?error, "a thread of the store keeps the usual scheduling");
    }
}

/// What the library turns into a niceness of 0: it counts from 0 to 99, the kernel from 19 to -20.
const NICE_0: u8 = 48;
