//! Drives one queue: receive, hand over, acknowledge.
//!
//! One [`Consumer::step`] receives one batch; [`Consumer::run`] repeats it until shutdown, and a test calls it by hand.
//! Each message is a task of its own, so that one that takes long does not hold up the rest of its batch, and at most
//! `in_flight` of them exist. The invariant: a message is deleted only after everything that it says is durable, the job
//! of each object that it set in motion included; while that lasts, a heartbeat every third of the visibility timeout
//! keeps other nodes from receiving it. From then on the job's lease does that. Absent on purpose: giving up on a message
//! that keeps failing. Only the queue's own redrive policy does that.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval_at, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::handler::{HintHandler, deliver};
use super::parse;
use super::queue::{Delivery, Queue, QueueError, Receipt};
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::worker::stop::Stop;

/// How long messages in flight may finish after shutdown began; what is left is shown to the other nodes at once.
const GRACE: Duration = Duration::from_secs(5);
/// How long that may take, all of them at the same time.
const RELEASE: Duration = Duration::from_secs(3);

/// A queue, its handler, and the messages in flight.
pub struct Consumer {
    queue: Arc<dyn Queue>,
    handler: Arc<dyn HintHandler>,
    clock: Clock,
    in_flight: usize,
    tasks: JoinSet<bool>,
    /// Cancelled where messages in flight are to be released.
    let_go: CancellationToken,
}

/// What one step, or the end of one, saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Messages received in this step.
    pub received: usize,
    /// Messages deleted since the step before.
    pub done: usize,
    /// Messages that could not be handled since the step before, and come back.
    pub failed: usize,
}

impl Step {
    fn count(&mut self, finished: Result<bool, JoinError>) {
        match finished {
            Ok(true) => self.done += 1,
            Ok(false) => self.failed += 1,
            Err(error) if error.is_cancelled() => {}
            Err(error) => {
                tracing::error!(%error, "handling an event message panicked; the message comes back");
                self.failed += 1;
            }
        }
    }
}

impl Consumer {
    /// A consumer with at most `in_flight` messages at once (at least one).
    pub fn new(queue: Arc<dyn Queue>, handler: Arc<dyn HintHandler>, in_flight: usize, clock: Clock) -> Self {
        let (tasks, let_go) = (JoinSet::new(), CancellationToken::new());
        Self { queue, handler, clock, in_flight: in_flight.max(1), tasks, let_go }
    }

    /// Waits for room, receives one batch and starts to handle each message. Safe to cancel: what was received and not
    /// started becomes visible again.
    ///
    /// # Errors
    /// [`QueueError`] of the receive; messages in flight are not affected.
    pub async fn step(&mut self) -> Result<Step, QueueError> {
        let mut step = Step::default();
        while self.tasks.len() >= self.in_flight {
            match self.tasks.join_next().await {
                Some(finished) => step.count(finished),
                None => break,
            }
        }
        while let Some(finished) = self.tasks.try_join_next() {
            step.count(finished);
        }
        let deliveries = self.queue.receive(self.in_flight - self.tasks.len()).await?;
        step.received = deliveries.len();
        for delivery in deliveries {
            self.tasks.spawn(handle(self.queue.clone(), self.handler.clone(), delivery, self.let_go.clone()));
        }
        Ok(step)
    }

    /// Waits until no message is in flight.
    pub async fn drain(&mut self) -> Step {
        let mut step = Step::default();
        while let Some(finished) = self.tasks.join_next().await {
            step.count(finished);
        }
        step
    }

    /// Steps until it is told to stop, or until the queue is closed; what is then in flight and does not end soon is
    /// released. Failures are waited out with jitter, from one second to a minute, and never end it.
    pub async fn run(mut self, stop: Stop) {
        let shutdown = stop.nothing_new();
        let mut backoff = Backoff::default();
        let queue = self.queue.clone();
        loop {
            let result = tokio::select! {
                () = shutdown.cancelled() => break,
                result = self.step() => result,
            };
            let pause = match result {
                Ok(step) if step.failed > 0 => backoff.next(self.clock.random()),
                Ok(step) => {
                    backoff.reset();
                    if step.received == 0 { queue.idle() } else { Duration::ZERO }
                }
                Err(QueueError::Closed) => break,
                Err(error) => {
                    metrics::counter!("vestibule_event_receive_errors_total", "source" => queue.name().to_owned())
                        .increment(1);
                    let pause = backoff.next(self.clock.random());
                    tracing::warn!(source = queue.name(), %error, ?pause, "cannot receive events; the sweep still runs");
                    pause
                }
            };
            if !pause.is_zero() {
                tokio::select! {
                    () = shutdown.cancelled() => break,
                    () = sleep(pause) => {}
                }
            }
        }
        let let_go = self.let_go.clone();
        let ended = tokio::select! {
            ended = timeout(GRACE, self.drain()) => ended.is_ok(),
            () = stop.letting_go().cancelled() => false,
        };
        if !ended {
            tracing::info!(source = queue.name(), left = self.tasks.len(), "messages in flight go to other nodes");
            let_go.cancel();
            let _ = timeout(RELEASE, self.drain()).await;
        }
    }
}

/// Handles one message to its end, or releases it where it has to be let go. `false` where it comes back.
async fn handle(
    queue: Arc<dyn Queue>,
    handler: Arc<dyn HintHandler>,
    delivery: Delivery,
    let_go: CancellationToken,
) -> bool {
    let work = async {
        let parsed = parse::message(&delivery.body);
        deliver(&*handler, queue.name(), &delivery.body, &parsed).await
    };
    let work = let_go.run_until_cancelled(work);
    let (result, receipt) = with_heartbeat(&*queue, &delivery.receipt, work).await;
    let outcome = match result {
        None => {
            if let Err(error) = queue.release(&receipt).await {
                tracing::warn!(source = queue.name(), %error, "a message was not released; it becomes visible by itself");
            }
            "released"
        }
        Some(Ok(())) => match queue.delete(&receipt).await {
            Ok(()) => "done",
            Err(error) => {
                // What it says is durable; the second delivery finds nothing left to do.
                tracing::warn!(source = queue.name(), %error, "a handled message was not deleted and comes back");
                "not_deleted"
            }
        },
        Some(Err(error)) => {
            let received = delivery.received;
            tracing::warn!(source = queue.name(), received, %error, "an event was not handled; its message comes back");
            queue.give_back(delivery).await;
            "failed"
        }
    };
    metrics::counter!("vestibule_event_messages_total", "source" => queue.name().to_owned(), "outcome" => outcome)
        .increment(1);
    !matches!(outcome, "failed" | "released")
}

/// Runs `work` and extends the message's visibility meanwhile; returns the receipt that is valid at the end.
async fn with_heartbeat<T>(queue: &dyn Queue, receipt: &Receipt, work: impl Future<Output = T>) -> (T, Receipt) {
    let mut receipt = receipt.clone();
    let Some(visibility) = queue.visibility() else {
        return (work.await, receipt);
    };
    let third = (visibility / 3).max(Duration::from_millis(100));
    let mut beat = interval_at(tokio::time::Instant::now() + third, third);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut work = pin!(work);
    loop {
        tokio::select! {
            biased;
            output = &mut work => return (output, receipt),
            _ = beat.tick() => match timeout(third, queue.extend(&receipt)).await {
                Ok(Ok(renewed)) => receipt = renewed,
                Ok(Err(error)) => tracing::warn!(source = queue.name(), %error, "visibility was not extended"),
                Err(_) => tracing::warn!(source = queue.name(), "visibility was not extended in time"),
            },
        }
    }
}
