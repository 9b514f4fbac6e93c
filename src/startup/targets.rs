//! Opens the stores of a policy set's targets.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::app::OpenTarget;
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::target::{ProviderSettings, Target};
use crate::policy::PolicySet;
use crate::storage::credentials::Credentials;
use crate::storage::embedded::{EmbeddedServer, EmbeddedStore};
use crate::storage::{ObjectStore, azure, s3};

/// Opens every target of a policy set, or says of each that cannot be opened why.
///
/// # Errors
/// One line for each target that cannot be opened.
pub async fn open_targets(
    set: &PolicySet,
    credentials: &BTreeMap<String, Credentials>,
    embedded: Option<&EmbeddedServer>,
    clock: &Clock,
) -> Result<Vec<OpenTarget>, Vec<String>> {
    open_all(set, credentials, embedded.map_or(Embedded::None, Embedded::Served), clock).await
}

/// Opens every target of a policy set to be looked at, beside a gateway or without one: where the store is the embedded
/// one, nothing can be written through it.
///
/// # Errors
/// One line for each target that cannot be opened.
pub async fn look_at_targets(set: &PolicySet, config: &Config, clock: &Clock) -> Result<Vec<OpenTarget>, Vec<String>> {
    let embedded = config.embedded.as_ref().map_or(Embedded::None, |settings| Embedded::LookedAt(&settings.dir));
    open_all(set, &config.credentials, embedded, clock).await
}

/// Where embedded targets lie.
#[derive(Clone, Copy)]
enum Embedded<'a> {
    None,
    /// This process serves them.
    Served(&'a EmbeddedServer),
    /// Another process may.
    LookedAt(&'a Path),
}

async fn open_all(
    set: &PolicySet,
    credentials: &BTreeMap<String, Credentials>,
    embedded: Embedded<'_>,
    clock: &Clock,
) -> Result<Vec<OpenTarget>, Vec<String>> {
    let mut open = Vec::new();
    let mut failed = Vec::new();
    for target in set.targets() {
        match open_target(target, credentials, embedded, clock).await {
            Ok(store) => open.push(OpenTarget { target: target.clone(), store }),
            Err(error) => failed.push(format!("{}: {error}", target.name)),
        }
    }
    if failed.is_empty() { Ok(open) } else { Err(failed) }
}

/// The credentials that a target names.
///
/// # Errors
/// Where the configuration has none of that name.
pub fn credentials_of<'a>(
    target: &Target,
    credentials: &'a BTreeMap<String, Credentials>,
) -> Result<Option<&'a Credentials>, String> {
    let find =
        |name: &String| credentials.get(name).ok_or_else(|| format!("the configuration has no [credentials.{name}]"));
    target.credentials.as_ref().map(find).transpose()
}

async fn open_target(
    target: &Target,
    credentials: &BTreeMap<String, Credentials>,
    embedded: Embedded<'_>,
    clock: &Clock,
) -> Result<Arc<dyn ObjectStore>, String> {
    let named = credentials_of(target, credentials)?;
    match &target.provider {
        ProviderSettings::S3 { .. } => {
            let store = s3::open(target, named).await.map_err(|error| error.to_string())?;
            Ok(Arc::new(store))
        }
        ProviderSettings::Azure { .. } => {
            let store = azure::open(target, named, clock.clone()).await.map_err(|error| error.to_string())?;
            Ok(Arc::new(store))
        }
        ProviderSettings::Embedded { bucket } => {
            let store = match embedded {
                Embedded::None => return Err("the configuration has no [embedded] section".into()),
                Embedded::Served(server) => server.store(bucket, target.staging()).await,
                Embedded::LookedAt(dir) => EmbeddedStore::look_at(dir, bucket, target.staging(), clock),
            };
            Ok(Arc::new(store.map_err(|error| error.to_string())?))
        }
    }
}
