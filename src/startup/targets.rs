//! Opens the stores of a policy set's targets.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::app::OpenTarget;
use crate::clock::Clock;
use crate::domain::target::{ProviderSettings, Target};
use crate::policy::PolicySet;
use crate::storage::credentials::Credentials;
use crate::storage::embedded::EmbeddedServer;
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
    embedded: Option<&EmbeddedServer>,
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
            let server = embedded.ok_or("the configuration has no [embedded] section")?;
            let store = server.store(bucket, target.staging()).await.map_err(|error| error.to_string())?;
            Ok(Arc::new(store))
        }
    }
}
