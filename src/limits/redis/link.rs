//! The connection to Redis: one for the node, shared by all its requests, replaced as soon as it fails.
//!
//! Whoever finds it late or broken takes it away, so that nobody else waits for the same silence; a task in the background
//! makes a new one. Nothing here waits longer than the deadline. Deliberately absent: a retry of a request, which would
//! count it twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ErrorKind, RedisError};
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;

/// Least and most time between two tries to connect.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LinkError {
    /// There is no connection.
    #[error("there is no connection")]
    Down,
    /// Nothing came within the deadline.
    #[error("did not answer within {0:?}")]
    Late(Duration),
    /// The server has no such script.
    #[error("does not know the script")]
    NoScript,
    /// The server refused, or the connection broke.
    #[error("{0}")]
    Failed(String),
}

impl LinkError {
    /// The label in metrics.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            LinkError::Down => "down",
            LinkError::Late(_) => "late",
            LinkError::NoScript | LinkError::Failed(_) => "failed",
        }
    }
}

/// The connection, or its absence.
pub(super) struct Link {
    client: Client,
    deadline: Duration,
    current: ArcSwapOption<MultiplexedConnection>,
    /// One try to connect at a time.
    connecting: Mutex<()>,
    lost: Notify,
    /// Whether it was up when last told, so that each change is logged once.
    told: AtomicBool,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The client holds the password.
        f.debug_struct("Link").field("up", &self.current.load().is_some()).finish_non_exhaustive()
    }
}

impl Link {
    pub(super) fn new(client: Client, deadline: Duration) -> Self {
        let (current, told) = (ArcSwapOption::empty(), AtomicBool::new(true));
        Self { client, deadline, current, connecting: Mutex::default(), lost: Notify::new(), told }
    }

    /// One command and its answer, a list of whole numbers.
    pub(super) async fn ask(&self, command: &Cmd) -> Result<Vec<i64>, LinkError> {
        let Some(connection) = self.current.load_full() else {
            self.lost.notify_one();
            return Err(LinkError::Down);
        };
        let mut own = MultiplexedConnection::clone(&connection);
        let error = match tokio::time::timeout(self.deadline, command.query_async::<Vec<i64>>(&mut own)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) if error.kind() == ErrorKind::Server(redis::ServerErrorKind::NoScript) => {
                return Err(LinkError::NoScript);
            }
            Ok(Err(error)) => LinkError::Failed(plain(&error)),
            Err(_) => LinkError::Late(self.deadline),
        };
        self.give_up(&connection, &error);
        Err(error)
    }

    /// Whether Redis answers now; connects where there is no connection.
    pub(super) async fn probe(&self) -> Result<(), LinkError> {
        if self.current.load().is_none() {
            return self.connect().await;
        }
        // A list of numbers, like every answer here.
        self.ask(&redis::cmd("TIME")).await.map(|_| ())
    }

    /// Connects again whenever the connection was lost, until `shutdown`.
    pub(super) async fn keep(&self, shutdown: &CancellationToken) {
        loop {
            let mut pause = PAUSES.0;
            while self.current.load().is_none() && self.connect().await.is_err() {
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSES.1),
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.lost.notified() => {}
            }
        }
    }

    async fn connect(&self) -> Result<(), LinkError> {
        let _one = self.connecting.lock().await;
        if self.current.load().is_some() {
            return Ok(());
        }
        let started = Instant::now();
        // The handshake has the deadline too: a frozen server's kernel still takes connections.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.deadline))
            .set_response_timeout(Some(self.deadline));
        let opened = self.client.get_multiplexed_async_connection_with_config(&config);
        let result = match tokio::time::timeout(2 * self.deadline, opened).await {
            Ok(Ok(connection)) => {
                self.current.store(Some(Arc::new(connection)));
                if !self.told.swap(true, Ordering::Relaxed) {
                    tracing::info!(took = ?started.elapsed(), "Redis answers; rate limits are shared again");
                }
                return Ok(());
            }
            Ok(Err(error)) => LinkError::Failed(plain(&error)),
            Err(_) => LinkError::Late(2 * self.deadline),
        };
        self.tell(&result);
        Err(result)
    }

    /// Takes this connection away, where nobody else has.
    fn give_up(&self, connection: &Arc<MultiplexedConnection>, error: &LinkError) {
        let current = self.current.load();
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, connection)) {
            self.current.compare_and_swap(&*current, None);
            self.tell(error);
        }
        self.lost.notify_one();
    }

    fn tell(&self, error: &LinkError) {
        if self.told.swap(false, Ordering::Relaxed) {
            tracing::error!(%error, "Redis is away; rate limits cannot be shared");
        }
    }
}

/// The error without the address.
fn plain(error: &RedisError) -> String {
    match (error.code(), error.is_io_error()) {
        (Some(code), _) => format!("answered {code}"),
        (None, true) => error.to_string(),
        (None, false) => format!("{:?}", error.kind()),
    }
}
