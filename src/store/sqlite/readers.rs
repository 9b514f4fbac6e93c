//! A few read-only connections, used on blocking threads.
//!
//! A read sees everything that was committed before it began, by this process or another: nothing is cached here. The
//! number of connections bounds how many blocking threads the store takes. A connection that met an error is thrown
//! away; the next read opens a fresh one.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
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
            // The permit moves into the closure: a caller that goes away leaves its query running, and counted.
            let task = tokio::task::spawn_blocking(move || {
                let result = idle.run(query);
                drop(permit);
                result
            });
            let lost = |error| StoreError::Unavailable(format!("a read was lost: {error}"));
            task.await.map_err(lost)?.map_err(StoreError::from)
        };
        tokio::time::timeout(self.deadline, work).await.map_err(|_| late())?
    }
}

impl Idle {
    fn run<T>(&self, query: impl FnOnce(&Connection) -> Result<T, Failure>) -> Result<T, Failure> {
        let idle = self.connections.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let conn = idle.map_or_else(|| schema::open_for_reading(&self.path, self.busy), Ok)?;
        let result = query(&conn);
        if !matches!(result, Err(Failure::Away(_))) {
            self.connections.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
        }
        result
    }
}
