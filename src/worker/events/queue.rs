//! What a [`Consumer`](super::consumer::Consumer) needs of a queue, and nothing else.
//!
//! Three implementations: SQS, Azure Storage Queue, and the embedded store's channel. A queue delivers at least once; a
//! message that was received and not deleted comes back by itself. Absent on purpose: sending, and any promise of order.

use std::time::Duration;

use async_trait::async_trait;

/// A queue of event messages.
#[async_trait]
pub trait Queue: Send + Sync {
    /// The source's name in logs, metrics and dead letters, for example `sqs:uploads`.
    fn name(&self) -> &str;

    /// How long a received message stays invisible. `None` where the queue hides nothing: then there is no heartbeat.
    fn visibility(&self) -> Option<Duration>;

    /// How long to wait after an empty receive; zero where receiving itself waits.
    fn idle(&self) -> Duration;

    /// Up to `limit` messages, fewer where the queue allows fewer at once.
    ///
    /// # Errors
    /// [`QueueError`]; nothing was received, or what was comes back.
    async fn receive(&self, limit: usize) -> Result<Vec<Delivery>, QueueError>;

    /// Hides the message for another [`Queue::visibility`] from now, and returns the receipt that is valid from then.
    ///
    /// # Errors
    /// [`QueueError`]; the message may become visible.
    async fn extend(&self, receipt: &Receipt) -> Result<Receipt, QueueError>;

    /// Removes the message for good.
    ///
    /// # Errors
    /// [`QueueError`]; the message comes back.
    async fn delete(&self, receipt: &Receipt) -> Result<(), QueueError>;

    /// Shows the message again at once, to whoever receives next: this node is ending and has not handled it.
    ///
    /// # Errors
    /// [`QueueError`]; the message becomes visible by itself.
    async fn release(&self, receipt: &Receipt) -> Result<(), QueueError>;

    /// Takes back a message that could not be handled. Queues with a visibility timeout do nothing: waiting for it
    /// spreads the repeats.
    async fn give_back(&self, delivery: Delivery);
}

/// A received message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The message as it was sent.
    pub body: String,
    /// What deletes or extends it.
    pub receipt: Receipt,
    /// How often it was received, this time included.
    pub received: u32,
}

/// The right to delete or extend one received message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// The message's id.
    pub id: String,
    /// SQS: the receipt handle. Azure: the pop receipt, another after each extension.
    pub handle: String,
}

/// Why a queue did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// It did not answer, or refused. Trying again may help.
    #[error("the queue is away: {0}")]
    Away(String),
    /// It ended and delivers nothing more; only the embedded channel does.
    #[error("the queue is closed")]
    Closed,
}
