//! Group commit: one bounded queue, a few committers with a connection each, one transaction for everything that waits.
//!
//! A committer waits for the first operation, takes what else is there up to [`MAX_BATCH`], runs all of it in one
//! transaction, hands the audit lines to the sink, and only then answers. Where the database refuses one operation, the
//! batch is rolled back and each runs again alone. Whatever the server does (frozen, restarted, gone, another transaction
//! in the way), a batch ends within the deadline, and so does every caller. A lost connection is replaced by the next
//! batch; where it was lost before the commit was asked for, by the same one. Absent on purpose: lingering.

use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use sqlx::PgConnection;
use tokio::sync::{Mutex, mpsc};

use super::connect::{Limits, PostgresUrl, Use, connect};
use super::error::Failure;
use super::numbers::{self, Numbers};
use super::op::{Done, Op};
use super::{batch, partitions};
use crate::clock::Clock;
use crate::store::reply::{Reply, answer_all, answered, reply, stopped};
use crate::store::{OnCommit, StoreError};

/// Operations in one transaction at most.
const MAX_BATCH: usize = 256;
/// How often a batch is run that another transaction was in the way of, or whose connection was stale.
const TRIES: u32 = 6;

/// The queue's end that operations go into. Dropping it lets the committers finish what is queued.
pub(super) struct Committers {
    queue: Option<mpsc::Sender<Pending>>,
    /// Says that every committer has ended, by being disconnected. In a mutex because a receiver cannot be shared.
    ended: std::sync::Mutex<std::sync::mpsc::Receiver<()>>,
    deadline: Duration,
}

/// What the committers need.
pub(super) struct Settings {
    pub(super) url: PostgresUrl,
    pub(super) limits: Limits,
    pub(super) committers: usize,
    pub(super) queue: usize,
    pub(super) deadline: Duration,
    pub(super) on_commit: Option<OnCommit>,
    pub(super) clock: Clock,
    pub(super) numbers: Arc<Numbers>,
}

type Result<T> = std::result::Result<T, Failure>;
type Answered = std::result::Result<Done, StoreError>;

/// A queued operation.
struct Pending {
    op: Op,
    result: Option<Answered>,
    reply: Reply<Answered>,
}

impl Pending {
    /// Hands the result to the caller; see [`Reply::answer`].
    fn answer(self, followers: Vec<Waker>) -> Option<Waker> {
        let none = || Err(StoreError::Unavailable("the operation was not run".into()));
        self.reply.answer(self.result.unwrap_or_else(none), followers)
    }
}

impl Committers {
    /// Starts the committers on this runtime.
    pub(super) fn start(settings: Settings, runtime: &tokio::runtime::Handle) -> Self {
        let (queue, requests) = mpsc::channel(settings.queue.max(1));
        let (ending, ended) = std::sync::mpsc::channel();
        let (requests, settings) = (Arc::new(Mutex::new(requests)), Arc::new(settings));
        for _ in 0..settings.committers.max(1) {
            let shard = numbers::shard(u16::from_le_bytes(settings.clock.random()));
            let committer = Committer { settings: Arc::clone(&settings), conn: None, shard };
            let (requests, ending) = (Arc::clone(&requests), ending.clone());
            runtime.spawn(async move {
                committer.run(&requests).await;
                drop(ending);
            });
        }
        Self { queue: Some(queue), ended: std::sync::Mutex::new(ended), deadline: settings.deadline }
    }

    /// Queues an operation and waits for its commit.
    ///
    /// A caller that goes away before the operation has begun cancels it; past the deadline the caller must not assume
    /// either way.
    pub(super) async fn write(&self, op: Op) -> Answered {
        let queue = self.queue.as_ref().ok_or_else(stopped)?;
        let (reply, answer) = reply();
        enqueue(queue, Pending { op, result: None, reply })?;
        answered(answer, self.deadline, "commit").await
    }

    /// Waits until everything that was queued is committed or failed; blocks.
    pub(super) fn finish(&mut self) {
        drop(self.queue.take());
        let ended = self.ended.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Nothing is ever sent: it ends by disconnection, or by the time being over.
        if ended.recv_timeout(self.deadline * 2) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            tracing::warn!("the database did not answer while the store was closed");
        }
    }
}

/// Leaves something in a bounded queue of this store.
pub(super) fn enqueue<T>(queue: &mpsc::Sender<T>, asked: T) -> std::result::Result<(), StoreError> {
    queue.try_send(asked).map_err(|error| match error {
        mpsc::error::TrySendError::Full(_) => StoreError::Overloaded,
        mpsc::error::TrySendError::Closed(_) => stopped(),
    })
}

struct Committer {
    settings: Arc<Settings>,
    /// `None` after a failure: the next transaction opens one.
    conn: Option<PgConnection>,
    /// Of the counters of states.
    shard: i16,
}

impl Committer {
    async fn run(mut self, queue: &Mutex<mpsc::Receiver<Pending>>) {
        let mut requests = Vec::with_capacity(MAX_BATCH);
        let operations = metrics::histogram!("vestibule_store_batch_operations");
        let seconds = metrics::histogram!("vestibule_store_commit_seconds");
        // Whoever holds the lock waits for the first operation; the others wait for the lock or are committing.
        while queue.lock().await.recv_many(&mut requests, MAX_BATCH).await > 0 {
            requests.retain(|request| !request.reply.is_abandoned());
            if requests.is_empty() {
                continue;
            }
            let began = Instant::now();
            self.serve(&mut requests).await;
            operations.record(requests.len() as f64);
            seconds.record(began.elapsed());
            answer_all(requests.drain(..), |request| request.reply.thread, Pending::answer);
        }
    }

    /// Leaves every request with a result, committed or failed.
    async fn serve(&mut self, requests: &mut [Pending]) {
        match self.commit(requests).await {
            Err(failure @ Failure::Refused(_)) if requests.len() == 1 => {
                tracing::error!(?failure, "the database refused an operation");
                fail(requests, &failure);
            }
            Err(Failure::Refused(_)) => {
                for alone in requests.chunks_mut(1) {
                    if let Err(failure) = self.commit(alone).await {
                        tracing::error!(?failure, "the database refused an operation");
                        fail(alone, &failure);
                    }
                }
            }
            Err(failure) => {
                tracing::warn!(?failure, operations = requests.len(), "nothing was committed");
                fail(requests, &failure);
            }
            Ok(()) => {}
        }
    }

    /// Runs the requests in one transaction, as often as it takes, within the deadline.
    async fn commit(&mut self, requests: &mut [Pending]) -> Result<()> {
        let deadline = self.settings.deadline;
        let settings = Arc::clone(&self.settings);
        let tries = async {
            let mut tries = 0;
            loop {
                tries += 1;
                let reused = self.conn.is_some();
                match self.transaction(requests).await {
                    Ok(lines) => {
                        if let Some(sink) = settings.on_commit.as_ref().filter(|_| !lines.is_empty()) {
                            sink(&lines);
                        }
                        return Ok(());
                    }
                    Err(Ended { failure, asked_to_commit }) => match failure {
                        _ if asked_to_commit || tries == TRIES => return Err(failure),
                        // It went stale while it lay idle; a fresh one says whether the server is there.
                        Failure::Away(_) if reused => {}
                        Failure::Again(_) => tokio::time::sleep(Duration::from_millis(2 << tries)).await,
                        Failure::NumberTaken => settings.numbers.rename(u16::from_le_bytes(settings.clock.random())),
                        Failure::NoPartition(_) => self.make_months(requests).await?,
                        failure => return Err(failure),
                    },
                }
            }
        };
        // Dropped midway, it takes its connection with it.
        let late = |_| Failure::Away(format!("no commit within {deadline:?}"));
        tokio::time::timeout(deadline, tries).await.map_err(late)?
    }

    /// One try. The connection is kept only where its transaction has ended for certain.
    async fn transaction(&mut self, requests: &mut [Pending]) -> std::result::Result<String, Ended> {
        let before = |failure| Ended { failure, asked_to_commit: false };
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => connect(&self.settings.url, self.settings.limits, Use::Write).await.map_err(before)?,
        };
        sqlx::raw_sql("BEGIN").execute(&mut conn).await.map_err(|error| before(error.into()))?;
        let ops: Vec<&Op> = requests.iter().map(|request| &request.op).collect();
        let settings = Arc::clone(&self.settings);
        let writer = batch::Writer { numbers: &settings.numbers, shard: self.shard };
        let (done, lines) = match Box::pin(batch::run(&mut conn, &ops, writer)).await {
            Ok(done) => done,
            Err(failure) => {
                if !matches!(failure, Failure::Away(_)) && sqlx::raw_sql("ROLLBACK").execute(&mut conn).await.is_ok() {
                    self.conn = Some(conn);
                }
                return Err(before(failure));
            }
        };
        // A failed COMMIT is never one operation's fault; whether it took place is not known.
        if let Err(error) = sqlx::raw_sql("COMMIT").execute(&mut conn).await {
            let failure = Failure::Away(format!("the commit was not confirmed: {error}"));
            return Err(Ended { failure, asked_to_commit: true });
        }
        self.conn = Some(conn);
        for (request, done) in requests.iter_mut().zip(done) {
            request.result = Some(Ok(done));
        }
        Ok(lines)
    }

    async fn make_months(&mut self, requests: &[Pending]) -> Result<()> {
        let months = requests.iter().flat_map(|request| request.op.months()).collect();
        let mut conn = connect(&self.settings.url, self.settings.limits, Use::Write).await?;
        partitions::make(&mut conn, months).await
    }
}

/// Why a transaction ended without a confirmed commit.
struct Ended {
    failure: Failure,
    asked_to_commit: bool,
}

fn fail(requests: &mut [Pending], failure: &Failure) {
    for request in requests {
        request.result = Some(Err(failure.clone().into()));
    }
}
