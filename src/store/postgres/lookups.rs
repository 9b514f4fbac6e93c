//! Objects by their ids, in batches: one bounded queue, two tasks, one query for everything that waits.
//!
//! A round trip to the server costs many times what it takes to find one row more. A query begins after its ids were
//! queued, so that each caller sees everything that was committed before it asked. Two tasks, so that while one waits for
//! the server the next batch is already under way.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Mutex, mpsc};

use super::committer::enqueue;
use super::readers::Readers;
use super::reads;
use crate::domain::ids::ObjectId;
use crate::domain::object::Object;
use crate::store::StoreError;
use crate::store::reply::{Reply, answer_all, answered, reply};

/// Batches under way at the same time.
const TASKS: usize = 2;
/// Objects of one query at most.
const MAX_BATCH: usize = 256;

type Found = Result<Option<Object>, StoreError>;

/// The queue's end that ids go into. The tasks end when it is dropped.
pub(super) struct Lookups {
    queue: mpsc::Sender<Lookup>,
    deadline: Duration,
}

struct Lookup {
    id: ObjectId,
    reply: Reply<Found>,
}

impl Lookups {
    /// Starts the tasks on this runtime; `queue` ids may wait.
    pub(super) fn start(readers: &Readers, queue: usize, deadline: Duration, runtime: &Handle) -> Self {
        let (queue, requests) = mpsc::channel(queue.max(1));
        let requests = Arc::new(Mutex::new(requests));
        for _ in 0..TASKS {
            runtime.spawn(run(readers.clone(), Arc::clone(&requests)));
        }
        Self { queue, deadline }
    }

    /// The object with this id.
    pub(super) async fn object(&self, id: ObjectId) -> Found {
        let (reply, answer) = reply();
        enqueue(&self.queue, Lookup { id, reply })?;
        answered(answer, self.deadline, "answer").await
    }
}

async fn run(readers: Readers, queue: Arc<Mutex<mpsc::Receiver<Lookup>>>) {
    let mut lookups = Vec::with_capacity(MAX_BATCH);
    // Whoever holds the lock waits for the first id; the other waits for the lock or for the server.
    while queue.lock().await.recv_many(&mut lookups, MAX_BATCH).await > 0 {
        lookups.retain(|lookup| !lookup.reply.is_abandoned());
        let ids: Vec<ObjectId> = lookups.iter().map(|lookup| lookup.id).collect();
        if ids.is_empty() {
            continue;
        }
        let found: Result<HashMap<ObjectId, Object>, _> =
            readers.query(ids, |conn, ids| Box::pin(reads::objects_with(conn, ids))).await;
        let result = |id| match &found {
            Ok(objects) => Ok(objects.get(&id).cloned()),
            Err(failure) => Err(failure.clone().into()),
        };
        let answer = |lookup: Lookup, followers| lookup.reply.answer(result(lookup.id), followers);
        answer_all(lookups.drain(..), |lookup| lookup.reply.thread, answer);
    }
}
