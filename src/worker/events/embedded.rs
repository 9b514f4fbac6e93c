//! The embedded store's events, in process.
//!
//! The store sends the same S3 records that SQS would carry, as JSON text, into a channel. Nothing hides a message
//! here, and none is held: a bounded channel must drain quickly, or the store drops events.
//! A message that could not be handled is kept in memory and comes again. After a crash the sweep finds what was in it.

use std::collections::VecDeque;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, mpsc};

use super::queue::{Delivery, Queue, QueueError, Receipt};

/// The receiving end of the embedded store's channel.
pub struct EmbeddedQueue {
    messages: Mutex<mpsc::Receiver<String>>,
    returned: Mutex<VecDeque<Delivery>>,
}

impl EmbeddedQueue {
    /// A queue over `messages`, each an S3 notification (`{"Records":[…]}`) as JSON text.
    pub fn new(messages: mpsc::Receiver<String>) -> Self {
        Self { messages: Mutex::new(messages), returned: Mutex::new(VecDeque::new()) }
    }
}

#[async_trait]
impl Queue for EmbeddedQueue {
    fn name(&self) -> &str {
        "embedded"
    }

    fn visibility(&self) -> Option<Duration> {
        None
    }

    fn idle(&self) -> Duration {
        Duration::ZERO
    }

    async fn receive(&self, limit: usize) -> Result<Vec<Delivery>, QueueError> {
        {
            let mut returned = self.returned.lock().await;
            if !returned.is_empty() {
                let count = returned.len().min(limit);
                return Ok(returned.drain(..count).map(|d| Delivery { received: d.received + 1, ..d }).collect());
            }
        }
        // A message may be given back while this waits; the limit on the wait lets the next step see it.
        let mut bodies = Vec::new();
        let mut messages = self.messages.lock().await;
        match tokio::time::timeout(Duration::from_secs(1), messages.recv_many(&mut bodies, limit)).await {
            Ok(0) if limit > 0 => Err(QueueError::Closed),
            _ => {
                Ok(bodies.into_iter().map(|body| Delivery { body, receipt: Receipt::default(), received: 1 }).collect())
            }
        }
    }

    async fn extend(&self, receipt: &Receipt) -> Result<Receipt, QueueError> {
        Ok(receipt.clone())
    }

    async fn delete(&self, _receipt: &Receipt) -> Result<(), QueueError> {
        Ok(())
    }

    /// Nobody else receives from this channel: the sweep of the next start finds what was in it.
    async fn release(&self, _receipt: &Receipt) -> Result<(), QueueError> {
        Ok(())
    }

    async fn give_back(&self, delivery: Delivery) {
        self.returned.lock().await.push_back(delivery);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_given_back_comes_again_first() {
        let (sender, receiver) = mpsc::channel(4);
        let queue = EmbeddedQueue::new(receiver);
        for body in ["a", "b", "c"] {
            sender.send(body.to_owned()).await.unwrap();
        }
        let mut batch = queue.receive(2).await.unwrap();
        assert_eq!(batch.iter().map(|d| d.body.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        queue.give_back(batch.remove(0)).await;
        let again = queue.receive(2).await.unwrap();
        assert_eq!((again[0].body.as_str(), again[0].received, again.len()), ("a", 2, 1));
        assert_eq!(queue.receive(2).await.unwrap()[0].body, "c");
    }

    #[tokio::test]
    async fn silence_is_an_empty_batch_and_a_dropped_store_the_end() {
        let (sender, receiver) = mpsc::channel(4);
        let queue = EmbeddedQueue::new(receiver);
        assert_eq!(queue.receive(2).await, Ok(Vec::new()));
        drop(sender);
        assert_eq!(queue.receive(2).await, Err(QueueError::Closed));
    }
}
