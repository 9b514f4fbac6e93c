//! Events out of an SQS queue.
//!
//! Needs `sqs:ReceiveMessage`, `sqs:DeleteMessage` and `sqs:ChangeMessageVisibility` on the one queue. Receives by long
//! poll (up to 20 s, up to 10 messages: the service's limits). The visibility timeout is asked for at each receive, so
//! that the queue's own setting does not matter. A message can be held 12 hours in all; then extending fails and it
//! comes back. Repeats, order and redrive to a dead-letter queue are the queue's.

use std::time::Duration;

use async_trait::async_trait;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::config::{BehaviorVersion, IdentityCache, Region};
use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};

use super::config::SqsSource;
use super::queue::{Delivery, Queue, QueueError, Receipt};

/// How long one call may take beyond the wait that it asks for.
const CALL: Duration = Duration::from_secs(10);

/// One SQS queue.
pub struct SqsQueue {
    client: Client,
    name: String,
    url: String,
    visibility: Duration,
    wait: Duration,
}

impl SqsQueue {
    /// A client for the queue. No I/O.
    pub fn new(source: &SqsSource, credentials: SharedCredentialsProvider) -> Self {
        let wait = source.wait.min(Duration::from_secs(20));
        let timeouts =
            TimeoutConfig::builder().connect_timeout(CALL / 3).operation_attempt_timeout(wait + CALL).build();
        let mut config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(source.region.clone()))
            .credentials_provider(credentials)
            // The source is memory already; a cache above it would keep old keys for a quarter of an hour.
            .identity_cache(IdentityCache::no_cache())
            .retry_config(RetryConfig::standard())
            .timeout_config(timeouts);
        if let Some(endpoint) = &source.endpoint {
            config = config.endpoint_url(endpoint.as_str());
        }
        Self {
            client: Client::from_conf(config.build()),
            name: format!("sqs:{}", source.queue_url.rsplit('/').next().unwrap_or_default()),
            url: source.queue_url.clone(),
            visibility: source.visibility.clamp(Duration::from_secs(1), Duration::from_secs(12 * 3600)),
            wait,
        }
    }

    /// Hides a message for so many seconds from now; 0 shows it at once.
    async fn hide(&self, receipt: &Receipt, seconds: i32) -> Result<(), QueueError> {
        let change = self.client.change_message_visibility().queue_url(&self.url).receipt_handle(&receipt.handle);
        change.visibility_timeout(seconds).send().await.map_err(away)?;
        Ok(())
    }

    fn visibility_seconds(&self) -> i32 {
        i32::try_from(self.visibility.as_secs()).unwrap_or(i32::MAX)
    }
}

fn away(error: impl std::error::Error) -> QueueError {
    QueueError::Away(DisplayErrorContext(error).to_string())
}

fn delivery(message: Message) -> Option<Delivery> {
    let received = message
        .attributes
        .as_ref()
        .and_then(|attributes| attributes.get(&MessageSystemAttributeName::ApproximateReceiveCount))
        .and_then(|count| count.parse().ok())
        .unwrap_or(1);
    let receipt = Receipt { id: message.message_id.unwrap_or_default(), handle: message.receipt_handle? };
    Some(Delivery { body: message.body.unwrap_or_default(), receipt, received })
}

#[async_trait]
impl Queue for SqsQueue {
    fn name(&self) -> &str {
        &self.name
    }

    fn visibility(&self) -> Option<Duration> {
        Some(self.visibility)
    }

    fn idle(&self) -> Duration {
        // Without a long poll, an empty queue would be asked in a tight loop.
        if self.wait.as_secs() == 0 { Duration::from_secs(1) } else { Duration::ZERO }
    }

    async fn receive(&self, limit: usize) -> Result<Vec<Delivery>, QueueError> {
        let answer = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(i32::try_from(limit.clamp(1, 10)).unwrap_or(10))
            .wait_time_seconds(i32::try_from(self.wait.as_secs()).unwrap_or(20))
            .visibility_timeout(self.visibility_seconds())
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .send()
            .await
            .map_err(away)?;
        Ok(answer.messages.unwrap_or_default().into_iter().filter_map(delivery).collect())
    }

    async fn extend(&self, receipt: &Receipt) -> Result<Receipt, QueueError> {
        self.hide(receipt, self.visibility_seconds()).await?;
        Ok(receipt.clone())
    }

    async fn delete(&self, receipt: &Receipt) -> Result<(), QueueError> {
        self.client.delete_message().queue_url(&self.url).receipt_handle(&receipt.handle).send().await.map_err(away)?;
        Ok(())
    }

    async fn release(&self, receipt: &Receipt) -> Result<(), QueueError> {
        self.hide(receipt, 0).await
    }

    async fn give_back(&self, _delivery: Delivery) {}
}
