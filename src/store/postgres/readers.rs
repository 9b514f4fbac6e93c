//! A few connections that only read, used by whoever asks next.
//!
//! A read sees everything that was committed before it began, by this node or another: nothing is cached here. A read
//! that fails, is late or whose caller has gone away takes its connection with it, and the server ends what ran on it;
//! the next read opens a fresh one. A connection that went stale while it lay idle (the server was restarted) is
//! replaced once, without the caller noticing. They run on the store's own runtime, whoever asks.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::PgConnection;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::connect::{Limits, PostgresUrl, Use, connect};
use super::error::Failure;
use crate::store::StoreError;

/// A query under way.
pub(super) type Reading<'c, T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send + 'c>>;

/// A query about something.
pub(super) type Query<A, T> = for<'c> fn(&'c mut PgConnection, &'c A) -> Reading<'c, T>;

/// The pool; clones share it.
#[derive(Clone)]
pub(super) struct Readers {
    idle: Arc<Idle>,
    permits: Arc<Semaphore>,
    runtime: Handle,
    deadline: Duration,
}

struct Idle {
    url: PostgresUrl,
    limits: Limits,
    /// A std mutex, because it is held for a push or a pop only.
    connections: Mutex<Vec<PgConnection>>,
}

/// Ends a read when its caller has gone away.
struct EndWith<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for EndWith<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Readers {
    pub(super) fn new(url: PostgresUrl, limits: Limits, count: usize, deadline: Duration, runtime: Handle) -> Self {
        let idle = Arc::new(Idle { url, limits, connections: Mutex::default() });
        Self { idle, permits: Arc::new(Semaphore::new(count)), runtime, deadline }
    }

    /// Runs a query about `asked`. It may run twice, the second time on a fresh connection.
    pub(super) async fn read<A, T>(&self, asked: A, query: Query<A, T>) -> Result<T, StoreError>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
    {
        let readers = self.clone();
        let mut task = EndWith(self.runtime.spawn(async move { readers.query(asked, query).await }));
        let lost = |error| StoreError::Unavailable(format!("a read was lost: {error}"));
        Ok((&mut task.0).await.map_err(lost)??)
    }

    /// The same for somebody who is on the store's runtime already.
    pub(super) async fn query<A, T>(&self, asked: A, query: Query<A, T>) -> Result<T, Failure> {
        let work = async {
            let closed = |error| Failure::Away(format!("the readers have stopped: {error}"));
            let _permit = self.permits.acquire().await.map_err(closed)?;
            self.idle.run(&asked, query).await
        };
        let late = |_| Failure::Away(format!("no answer within {:?}", self.deadline));
        tokio::time::timeout(self.deadline, work).await.map_err(late)?
    }
}

impl Idle {
    fn pop(&self) -> Option<PgConnection> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    async fn run<A, T>(&self, asked: &A, query: Query<A, T>) -> Result<T, Failure> {
        if let Some(conn) = self.pop() {
            match self.run_on(conn, asked, query).await {
                // The others that lie idle are as stale as this one.
                Err(Failure::Away(_)) => self.connections.lock().unwrap_or_else(PoisonError::into_inner).clear(),
                done => return done,
            }
        }
        self.run_on(connect(&self.url, self.limits, Use::Read).await?, asked, query).await
    }

    /// The connection is kept for the next read, unless something happened to it.
    async fn run_on<A, T>(&self, mut conn: PgConnection, asked: &A, query: Query<A, T>) -> Result<T, Failure> {
        let result = query(&mut conn, asked).await;
        if !matches!(result, Err(Failure::Away(_))) {
            self.connections.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
        }
        result
    }
}
