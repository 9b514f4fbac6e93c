//! A few read-only connections for queries that may take long, used on blocking threads.
//!
//! A read sees everything that was committed before it began, by this process or another: nothing is cached here. The
//! number of connections bounds how many blocking threads the store takes. A query whose caller has gone away or has
//! waited past the deadline is interrupted, so that it never keeps its connection from the next one. A connection that
//! met an error is thrown away; the next read opens a fresh one.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, InterruptHandle};
use tokio::sync::Semaphore;

use super::error::Failure;
use super::schema;
use crate::store::StoreError;

/// The pool.
pub(super) struct Readers {
    idle: Arc<Idle>,
    permits: Arc<Semaphore>,
    deadline: Duration,
}

struct Idle {
    path: PathBuf,
    busy: Duration,
    /// A std mutex, because it is held for a push or a pop only.
    connections: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn new(path: PathBuf, busy: Duration, count: usize, deadline: Duration) -> Self {
        let idle = Arc::new(Idle { path, busy, connections: Mutex::default() });
        Self { idle, permits: Arc::new(Semaphore::new(count)), deadline }
    }

    /// Runs a query on a blocking thread.
    pub(super) async fn read<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    {
        let late = || StoreError::Unavailable(format!("no answer within {:?}", self.deadline));
        let work = async {
            let closed = |error| StoreError::Unavailable(format!("the readers have stopped: {error}"));
            let permit = self.permits.clone().acquire_owned().await.map_err(closed)?;
            let idle = self.idle.clone();
            let waiting = Waiting(Arc::default());
            let running = waiting.0.clone();
            // The permit moves into the closure: a query counts until it has ended, whoever waits for it.
            let task = tokio::task::spawn_blocking(move || {
                let result = idle.run(&running, query);
                drop(permit);
                result
            });
            let lost = |error| StoreError::Unavailable(format!("a read was lost: {error}"));
            task.await.map_err(lost)?.map_err(StoreError::from)
        };
        tokio::time::timeout(self.deadline, work).await.map_err(|_| late())?
    }
}

/// A query as both of its sides see it: who runs it and who waits for it.
#[derive(Default)]
struct Running {
    abandoned: bool,
    /// There while the query runs, and only then: the next query on the same connection is somebody else's.
    query: Option<InterruptHandle>,
}

/// The waiting side; dropping it ends the query.
struct Waiting(Arc<Mutex<Running>>);

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut running = lock(&self.0);
        running.abandoned = true;
        if let Some(query) = &running.query {
            query.interrupt();
        }
    }
}

impl Idle {
    fn run<T>(
        &self,
        running: &Mutex<Running>,
        query: impl FnOnce(&Connection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let idle = lock(&self.connections).pop();
        let conn = idle.map_or_else(|| schema::open_for_reading(&self.path, self.busy), Ok)?;
        let begun = {
            let mut running = lock(running);
            running.query = (!running.abandoned).then(|| conn.get_interrupt_handle());
            running.query.is_some()
        };
        let result = if begun { query(&conn) } else { Err(Failure::Refused("nobody waits for it".into())) };
        lock(running).query = None;
        if !matches!(result, Err(Failure::Away(_))) {
            lock(&self.connections).push(conn);
        }
        result
    }
}

/// No holder of these locks can leave something half done, so that a poisoned one is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
