//! Events out of an Azure Storage Queue.
//!
//! Needs the role *Storage Queue Data Message Processor* on the queue, or the account key. There is no long poll: an
//! empty queue is asked again after a pause. Up to 32 messages at once (the service's limit). Each extension answers
//! with a new pop receipt, and only the newest deletes. Messages end after their time to live (7 days by default);
//! there is no redrive to a dead-letter queue.

use std::time::Duration;

use async_trait::async_trait;
use azure_core::http::headers::HeaderName;
use azure_core::http::{ClientOptions, StatusCode};
use azure_storage_queue::models::{QueueClientReceiveMessagesOptions, ReceivedMessage};
use azure_storage_queue::{QueueClient, QueueClientOptions};

use super::config::AzureQueueSource;
use super::queue::{Delivery, Queue, QueueError, Receipt};

/// How long one call may take, repeats included.
const CALL: Duration = Duration::from_secs(30);

const POP_RECEIPT: HeaderName = HeaderName::from_static("x-ms-popreceipt");

/// One Azure Storage Queue.
pub struct AzureQueue {
    client: QueueClient,
    name: String,
    visibility: Duration,
    poll: Duration,
}

impl AzureQueue {
    /// A client for the queue, whose `options` carry the authorisation. No I/O.
    ///
    /// # Errors
    /// [`QueueError::Away`] where account, queue and endpoint make no URL.
    pub fn new(source: &AzureQueueSource, options: ClientOptions) -> Result<Self, QueueError> {
        let url = source.url().ok_or_else(|| QueueError::Away("its account, name and endpoint make no URL".into()))?;
        let options = QueueClientOptions { client_options: options, ..QueueClientOptions::default() };
        let client = QueueClient::new(url, None, Some(options)).map_err(away)?;
        Ok(Self {
            client,
            name: format!("azure:{}/{}", source.account, source.queue),
            visibility: source.visibility.clamp(Duration::from_secs(1), Duration::from_secs(7 * 24 * 3600)),
            poll: source.poll.max(Duration::from_millis(100)),
        })
    }

    fn visibility_seconds(&self) -> i32 {
        i32::try_from(self.visibility.as_secs()).unwrap_or(i32::MAX)
    }
}

/// The answer, where it comes in time.
async fn answered<T>(call: impl Future<Output = azure_core::Result<T>>) -> Result<T, azure_core::Error> {
    let late = || azure_core::Error::with_message(azure_core::error::ErrorKind::Io, "no answer in time");
    tokio::time::timeout(CALL, call).await.unwrap_or_else(|_| Err(late()))
}

/// The text leaves the URL out, which carries the pop receipt.
fn away(error: azure_core::Error) -> QueueError {
    QueueError::Away(match error.http_status() {
        Some(status) => format!("HTTP {status}"),
        None => error.kind().to_string(),
    })
}

fn delivery(message: ReceivedMessage) -> Option<Delivery> {
    Some(Delivery {
        body: message.message_text.unwrap_or_default(),
        receipt: Receipt { id: message.message_id?, handle: message.pop_receipt? },
        received: message.dequeue_count.and_then(|count| count.try_into().ok()).unwrap_or(1),
    })
}

#[async_trait]
impl Queue for AzureQueue {
    fn name(&self) -> &str {
        &self.name
    }

    fn visibility(&self) -> Option<Duration> {
        Some(self.visibility)
    }

    fn idle(&self) -> Duration {
        self.poll
    }

    async fn receive(&self, limit: usize) -> Result<Vec<Delivery>, QueueError> {
        let options = QueueClientReceiveMessagesOptions {
            number_of_messages: i32::try_from(limit.clamp(1, 32)).ok(),
            visibility_timeout: Some(self.visibility_seconds()),
            ..QueueClientReceiveMessagesOptions::default()
        };
        let messages =
            answered(self.client.receive_messages(Some(options))).await.map_err(away)?.into_model().map_err(away)?;
        Ok(messages.items.unwrap_or_default().into_iter().filter_map(delivery).collect())
    }

    async fn extend(&self, receipt: &Receipt) -> Result<Receipt, QueueError> {
        let update = self.client.update_message(&receipt.id, &receipt.handle, self.visibility_seconds(), None);
        let answer = answered(update).await.map_err(away)?;
        let handle = answer.headers().get_optional_str(&POP_RECEIPT).unwrap_or(&receipt.handle);
        Ok(Receipt { id: receipt.id.clone(), handle: handle.to_owned() })
    }

    async fn delete(&self, receipt: &Receipt) -> Result<(), QueueError> {
        match answered(self.client.delete_message(&receipt.id, &receipt.handle, None)).await {
            Ok(_) => Ok(()),
            // Expired by its time to live: what it says is durable, so nothing is lost.
            Err(error) if error.http_status() == Some(StatusCode::NotFound) => Ok(()),
            Err(error) => Err(away(error)),
        }
    }

    async fn release(&self, receipt: &Receipt) -> Result<(), QueueError> {
        answered(self.client.update_message(&receipt.id, &receipt.handle, 0, None)).await.map_err(away)?;
        Ok(())
    }

    async fn give_back(&self, _delivery: Delivery) {}
}
