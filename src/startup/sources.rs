//! Opens the event sources that the configuration names.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clock::Clock;
use crate::config::Config;
use crate::storage::azure::{self, shared_key};
use crate::storage::credentials::{CredentialSource, Credentials};
use crate::storage::embedded::EmbeddedServer;
use crate::worker::events::azure_queue::AzureQueue;
use crate::worker::events::config::{AzureQueueSource, SqsSource};
use crate::worker::events::embedded::EmbeddedQueue;
use crate::worker::events::queue::Queue;
use crate::worker::events::sqs::SqsQueue;
use crate::worker::events::{Consumer, HintHandler};

use super::StartError;

/// A consumer for every configured source, and for the embedded store.
pub(super) async fn open(
    config: &Config,
    embedded: Option<&mut EmbeddedServer>,
    handler: &Arc<dyn HintHandler>,
    clock: &Clock,
) -> Result<Vec<Consumer>, StartError> {
    let mut consumers = Vec::new();
    let mut add = |queue: Arc<dyn Queue>, in_flight: usize| {
        consumers.push(Consumer::new(queue, Arc::clone(handler), in_flight, clock.clone()));
    };
    for source in &config.events.sqs {
        let queue = sqs(source, &config.credentials, clock)
            .await
            .map_err(|error| StartError::Source(source.queue_url.clone(), error))?;
        add(Arc::new(queue), source.in_flight);
    }
    for source in &config.events.azure_queues {
        let queue = azure_queue(source, &config.credentials, clock)
            .map_err(|error| StartError::Source(format!("{}/{}", source.account, source.queue), error))?;
        add(Arc::new(queue), source.in_flight);
    }
    if let Some(events) = embedded.and_then(EmbeddedServer::take_events) {
        add(Arc::new(EmbeddedQueue::new(events)), EMBEDDED_IN_FLIGHT);
    }
    Ok(consumers)
}

/// Messages of the embedded store that are handled at once; they cost a task each and nothing else.
const EMBEDDED_IN_FLIGHT: usize = 1024;

async fn sqs(
    source: &SqsSource,
    credentials: &BTreeMap<String, Credentials>,
    clock: &Clock,
) -> Result<SqsQueue, String> {
    let provider = match named(source.credentials.as_deref(), credentials)? {
        Some(Credentials::AccessKey(key)) => CredentialSource::fixed(key).provider(),
        Some(Credentials::AccessKeyFile(path)) => {
            CredentialSource::file(path).map_err(|error| error.to_string())?.provider()
        }
        Some(Credentials::AccountKey(_) | Credentials::AccountKeyFile(_)) => {
            return Err("SQS needs access_key_id and secret_access_key".into());
        }
        None => CredentialSource::default_chain(&source.region, clock.clone())
            .await
            .map_err(|error| error.to_string())?
            .provider(),
    };
    Ok(SqsQueue::new(source, provider))
}

fn azure_queue(
    source: &AzureQueueSource,
    credentials: &BTreeMap<String, Credentials>,
    clock: &Clock,
) -> Result<AzureQueue, String> {
    let named = named(source.credentials.as_deref(), credentials)?;
    let credential = azure::credential(named).map_err(|error| error.to_string())?;
    let options = shared_key::client_options(&source.account, &credential, None, clock.clone())
        .map_err(|error| error.to_string())?;
    AzureQueue::new(source, options).map_err(|error| error.to_string())
}

fn named<'a>(
    name: Option<&str>,
    credentials: &'a BTreeMap<String, Credentials>,
) -> Result<Option<&'a Credentials>, String> {
    name.map(|name| credentials.get(name).ok_or_else(|| format!("there is no [credentials.{name}]"))).transpose()
}
