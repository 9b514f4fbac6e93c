//! Queries of a row or two, in batches: one bounded queue, two threads, one snapshot for everything that waits.
//!
//! Such a query takes some microseconds; to hand each to a thread of its own and back costs many times that. A snapshot
//! begins after its queries were queued, so that each sees everything that was committed before it was asked, by this
//! process or another; nothing is cached here. Two threads, so that one that waits for the disk holds nobody up. A
//! connection that met an error is replaced. Queries that may take long have no place here: see `readers`.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;

use super::error::Failure;
use super::request::{Request, Waiting, answer, ask, join, serve};
use super::schema;
use crate::store::StoreError;

/// Threads, with a connection each.
const THREADS: usize = 2;
/// Queries of one snapshot at most.
const MAX_BATCH: usize = 256;

/// The queue's end that queries go into.
pub(super) struct Lookups {
    queue: Option<SyncSender<Box<dyn Lookup>>>,
    threads: Vec<JoinHandle<()>>,
    deadline: Duration,
}

impl Lookups {
    /// Starts the threads; `queue` queries may wait.
    pub(super) fn start(path: &Path, busy: Duration, queue: usize, deadline: Duration) -> Result<Self, Failure> {
        let (queue, requests) = sync_channel(queue);
        let requests = Arc::new(Mutex::new(requests));
        let threads = (0..THREADS).map(|_| {
            let (requests, mut reader) = (Arc::clone(&requests), Reader { path: path.to_owned(), busy, conn: None });
            serve("store-reader", move || reader.run(&requests))
        });
        Ok(Self { threads: threads.collect::<Result<_, _>>()?, queue: Some(queue), deadline })
    }

    /// Queues a query and waits for its result.
    pub(super) async fn read<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Fn(&Connection) -> Result<T, Failure> + Send + 'static,
    {
        let (request, answer) = Request::new(query);
        ask(self.queue.as_ref(), Box::new(request), answer, self.deadline).await
    }
}

impl Drop for Lookups {
    fn drop(&mut self) {
        drop(self.queue.take());
        self.threads.drain(..).for_each(join);
    }
}

/// A queued query, whatever its result's type.
trait Lookup: Waiting {
    /// Runs the query and keeps its result; the failure where the connection is of no use any more.
    fn run(&mut self, conn: &Connection) -> Result<(), Failure>;
}

impl<T, F> Lookup for Request<T, F>
where
    T: Send,
    F: Fn(&Connection) -> Result<T, Failure> + Send,
{
    fn run(&mut self, conn: &Connection) -> Result<(), Failure> {
        match (self.op)(conn) {
            Err(failure @ Failure::Away(_)) => Err(failure),
            result => {
                self.result = Some(result.map_err(StoreError::from));
                Ok(())
            }
        }
    }
}

struct Reader {
    path: PathBuf,
    busy: Duration,
    /// `None` after an error.
    conn: Option<Connection>,
}

impl Reader {
    fn run(&mut self, queue: &Mutex<Receiver<Box<dyn Lookup>>>) {
        let mut requests: Vec<Box<dyn Lookup>> = Vec::with_capacity(MAX_BATCH);
        loop {
            {
                // Whoever holds the lock waits for the first query; the other waits for the lock or is reading.
                let queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
                let Ok(first) = queue.recv() else { return };
                requests.push(first);
                requests.extend(queue.try_iter().take(MAX_BATCH - 1));
            }
            requests.retain(|request| !request.is_abandoned());
            if let Err(failure) = self.snapshot(&mut requests) {
                tracing::warn!(?failure, queries = requests.len(), "the database could not be read");
                self.conn = None;
            }
            answer(requests.drain(..));
        }
    }

    /// Leaves every request with a result. An error is that of the connection.
    fn snapshot(&mut self, requests: &mut [Box<dyn Lookup>]) -> Result<(), Failure> {
        if requests.is_empty() {
            return Ok(());
        }
        let mut done = 0;
        let outcome = self.read(requests, &mut done);
        if let Err(failure) = &outcome {
            requests[done..].iter_mut().for_each(|request| request.fail(failure.clone()));
        }
        outcome
    }

    fn read(&mut self, requests: &mut [Box<dyn Lookup>], done: &mut usize) -> Result<(), Failure> {
        let conn = match &mut self.conn {
            Some(conn) => &*conn,
            missing => &*missing.insert(schema::open_for_reading(&self.path, self.busy)?),
        };
        conn.prepare_cached("BEGIN")?.execute([])?;
        for request in requests {
            request.run(conn)?;
            *done += 1;
        }
        conn.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }
}
