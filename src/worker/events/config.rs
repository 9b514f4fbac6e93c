//! The settings of the event sources, as they stand below `[events]` in the configuration file.
//!
//! Everything is optional: without any source the sweep finds what arrived, only later. Unknown settings are refused,
//! so that a misspelt one is not silently a default. Durations are written `"90s"` or `"2m"`.
//! Absent on purpose: credentials in clear text; `credentials` names an entry of the storage credentials.

use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};
use url::Url;

/// Every event source of this process.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EventsConfig {
    /// SQS queues that S3, SNS or EventBridge writes to.
    pub sqs: Vec<SqsSource>,
    /// Azure Storage Queues that Event Grid writes to.
    pub azure_queues: Vec<AzureQueueSource>,
    /// `POST /events/eventgrid`; closed where absent.
    pub eventgrid: Option<EventGridPush>,
    /// `POST /events/sns`; closed where absent.
    pub sns: Option<SnsPush>,
}

/// One SQS queue.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SqsSource {
    /// The queue's URL, as AWS shows it.
    pub queue_url: String,
    /// The queue's region.
    pub region: String,
    /// Another endpoint than the region's own: LocalStack, or a VPC endpoint.
    pub endpoint: Option<Url>,
    /// The name of the storage credentials to use; the default chain where absent.
    pub credentials: Option<String>,
    /// How long a received message stays invisible between two heartbeats: 1 s to 12 h.
    #[serde(default = "visibility", deserialize_with = "duration")]
    pub visibility: Duration,
    /// How long one receive waits for a message: 0 to 20 s.
    #[serde(default = "long_poll", deserialize_with = "duration")]
    pub wait: Duration,
    /// How many messages may be in the gateway's hands at once.
    #[serde(default = "in_flight")]
    pub in_flight: usize,
}

/// One Azure Storage Queue.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AzureQueueSource {
    /// The storage account.
    pub account: String,
    /// The queue's name.
    pub queue: String,
    /// Another endpoint than `https://<account>.queue.core.windows.net`: Azurite, or a private endpoint.
    pub endpoint: Option<Url>,
    /// The name of the storage credentials to use; the platform's identity where absent.
    pub credentials: Option<String>,
    /// How long a received message stays invisible between two heartbeats: 1 s to 7 days.
    #[serde(default = "visibility", deserialize_with = "duration")]
    pub visibility: Duration,
    /// How long to wait after an empty answer; these queues have no long poll.
    #[serde(default = "poll", deserialize_with = "duration")]
    pub poll: Duration,
    /// How many messages may be in the gateway's hands at once.
    #[serde(default = "in_flight")]
    pub in_flight: usize,
}

impl AzureQueueSource {
    /// The queue's URL; `None` where account, queue and endpoint give none.
    pub fn url(&self) -> Option<Url> {
        let base = match &self.endpoint {
            Some(endpoint) => endpoint.as_str().trim_end_matches('/').to_owned(),
            None => format!("https://{}.queue.core.windows.net", self.account),
        };
        Url::parse(&format!("{base}/{}", self.queue)).ok()
    }
}

/// Push delivery by Event Grid.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventGridPush {
    /// What the delivery property `x-vestibule-event-key` of the subscription holds; at least 16 characters.
    pub key: SecretString,
}

/// Push delivery by SNS.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnsPush {
    /// The topics that may deliver; every other is refused.
    pub topic_arns: Vec<String>,
    /// Where certificates and confirmation links lie, for a server other than Amazon's; absent, only
    /// `https://sns.<region>.amazonaws.com` is trusted.
    pub origin: Option<Url>,
}

fn visibility() -> Duration {
    Duration::from_secs(60)
}

fn long_poll() -> Duration {
    Duration::from_secs(20)
}

fn poll() -> Duration {
    Duration::from_secs(1)
}

fn in_flight() -> usize {
    64
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let signed = jiff::SignedDuration::deserialize(deserializer)?;
    Duration::try_from(signed).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_needs_only_its_address() {
        let text = r#"
            [[sqs]]
            queue_url = "https://sqs.eu-central-1.amazonaws.com/111122223333/uploads"
            region = "eu-central-1"
            visibility = "2m"
            [[azure_queues]]
            account = "uploads"
            queue = "events"
        "#;
        let config: EventsConfig = toml::from_str(text).unwrap();
        assert_eq!(config.sqs[0].visibility, Duration::from_secs(120));
        assert_eq!((config.sqs[0].in_flight, config.sqs[0].wait), (64, Duration::from_secs(20)));
        let azure = &config.azure_queues[0];
        assert_eq!(azure.url().unwrap().as_str(), "https://uploads.queue.core.windows.net/events");
        assert!(config.eventgrid.is_none() && config.sns.is_none());
    }

    #[test]
    fn a_misspelt_setting_and_a_negative_duration_are_refused() {
        assert!(toml::from_str::<EventsConfig>("sqss = []").is_err());
        let text = "[[azure_queues]]\naccount = \"a\"\nqueue = \"q\"\nvisibility = \"-3s\"";
        assert!(toml::from_str::<EventsConfig>(text).is_err());
    }

    #[test]
    fn the_event_key_does_not_show() {
        let config: EventsConfig = toml::from_str("[eventgrid]\nkey = \"correct horse battery\"").unwrap();
        assert!(!format!("{config:?}").contains("horse"));
    }
}
