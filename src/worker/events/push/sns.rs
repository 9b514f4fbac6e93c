//! `POST /events/sns`: delivery by an SNS topic.
//!
//! In this order: the topic is configured, the message is fresh, its certificate comes from a trusted host and is
//! within its dates, its key signed the message. Only then is anything believed, confirmed or handed on; up to there a
//! delivery leaves no trace but a log line. Certificates are cached for a day, and fetched one at a time, so that forged
//! messages cannot make the gateway fan out. Absent on purpose: raw delivery, which is not signed.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use moka::sync::Cache;
use reqwest::Client;
use reqwest::redirect::Policy;
use tokio::sync::Mutex;
use url::Url;

pub use super::certificate::is_amazon_sns;

use super::PushOutcome;
use super::certificate::{self, Certificate};
use super::signature::Envelope;
use crate::clock::Clock;
use crate::worker::events::config::SnsPush;
use crate::worker::events::parse;

/// How old a message may be: SNS retries a delivery for at most an hour.
const OLDEST: SignedDuration = SignedDuration::from_hours(1);
/// How far ahead the clock of SNS may be.
const AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// Verifies what SNS posts.
pub struct SnsReceiver {
    config: SnsPush,
    http: Client,
    certificates: Cache<Url, Arc<Certificate>>,
    fetching: Mutex<()>,
    clock: Clock,
}

impl SnsReceiver {
    /// A receiver with a connection pool of its own, which follows no redirects.
    ///
    /// # Errors
    /// Where the pool cannot be built: no TLS provider.
    pub fn new(config: SnsPush, clock: Clock) -> Result<Self, reqwest::Error> {
        let http = Client::builder().redirect(Policy::none()).build()?;
        let certificates = Cache::builder().max_capacity(16).time_to_live(Duration::from_secs(24 * 3600)).build();
        Ok(Self { config, http, certificates, fetching: Mutex::new(()), clock })
    }

    /// Decides about a delivery; confirms a subscription to a configured topic.
    pub async fn handle(&self, body: &[u8]) -> PushOutcome {
        if body.len() > parse::MAX_BODY {
            return PushOutcome::Refused("longer than 1 MiB");
        }
        let Ok(envelope) = serde_json::from_slice::<Envelope>(body) else {
            return PushOutcome::Refused("not an SNS message");
        };
        if !self.config.topic_arns.contains(&envelope.topic_arn) {
            return PushOutcome::Refused("a topic that is not configured");
        }
        if !self.is_fresh(&envelope.timestamp) {
            return PushOutcome::Refused("older than an hour, or from the future");
        }
        let url = envelope.signing_cert_url.parse().ok().filter(|url: &Url| url.path().ends_with(".pem"));
        let Some(url) = url.filter(|url| self.is_trusted(url)) else {
            return PushOutcome::Refused("a certificate from a host that is not SNS");
        };
        let certificate = match self.certificate(&url).await {
            Ok(certificate) => certificate,
            Err(error) => return PushOutcome::Away(error),
        };
        if !certificate.is_valid_at(self.clock.now()) {
            self.certificates.invalidate(&url);
            return PushOutcome::Refused("a certificate that is expired or not a certificate of SNS");
        }
        if !envelope.is_signed_by(&certificate.key) {
            return PushOutcome::Refused("a signature that does not match");
        }
        self.act(&envelope).await
    }

    /// What a genuine message asks for.
    async fn act(&self, envelope: &Envelope) -> PushOutcome {
        match envelope.kind.as_str() {
            "Notification" => PushOutcome::Events(parse::message(&envelope.message)),
            "SubscriptionConfirmation" => {
                let link = envelope.subscribe_url.as_ref().and_then(|link| link.parse().ok());
                let Some(link) = link.filter(|link: &Url| self.is_trusted(link)) else {
                    return PushOutcome::Refused("a confirmation link to a host that is not SNS");
                };
                match certificate::get(&self.http, &link).await {
                    Ok(_) => {
                        tracing::info!(topic = envelope.topic_arn, "subscribed to an SNS topic");
                        PushOutcome::Done
                    }
                    Err(error) => PushOutcome::Away(error),
                }
            }
            _ => {
                tracing::warn!(topic = envelope.topic_arn, "the subscription to an SNS topic was ended");
                PushOutcome::Done
            }
        }
    }

    fn is_fresh(&self, timestamp: &str) -> bool {
        timestamp.parse::<Timestamp>().is_ok_and(|at| {
            let age = self.clock.now().duration_since(at);
            age <= OLDEST && age >= -AHEAD
        })
    }

    fn is_trusted(&self, url: &Url) -> bool {
        match &self.config.origin {
            Some(origin) => url.origin() == origin.origin(),
            None => is_amazon_sns(url),
        }
    }

    async fn certificate(&self, url: &Url) -> Result<Arc<Certificate>, String> {
        if let Some(certificate) = self.certificates.get(url) {
            return Ok(certificate);
        }
        let _one_at_a_time = self.fetching.lock().await;
        if let Some(certificate) = self.certificates.get(url) {
            return Ok(certificate);
        }
        let certificate = certificate::fetch(&self.http, url).await?;
        self.certificates.insert(url.clone(), certificate.clone());
        Ok(certificate)
    }
}
