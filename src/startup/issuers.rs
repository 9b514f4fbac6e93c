//! Compares the trusted issuers of a configuration with what they publish, and with the manifests that name them.

use crate::clock::Clock;
use crate::config::Config;
use crate::domain::ids::IssuerName;
use crate::identity::oidc::{Finding, Issuers};
use crate::policy::PolicySet;
use crate::storage::{CheckItem, CheckStatus};

use super::StartError;

/// Issuers, and what was found about each.
pub type CheckedIssuers = Vec<(IssuerName, Vec<CheckItem>)>;

/// Where manifests list issuers that are not there: nobody of those gets tokens. Not a mistake of the policies, which may be
/// meant for several installations.
fn unknown_issuers(set: &PolicySet, issuers: &Issuers) -> Vec<String> {
    let known = issuers.names();
    set.apps().filter_map(|app| app.exchange.as_ref()).flat_map(|rules| rules.unknown_issuers(&known)).collect()
}

/// [`unknown_issuers`], into the log.
pub(super) fn warn_of_unknown_issuers(set: &PolicySet, issuers: &Issuers) {
    for found in unknown_issuers(set, issuers) {
        tracing::warn!("{found}; nobody of it gets tokens");
    }
}

/// What each issuer publishes beside what the configuration says, and where manifests list issuers that are not there.
/// Changes nothing.
///
/// # Errors
/// [`StartError::Identity`] where nobody could be asked at all, [`StartError::Policy`] where the policies cannot be read.
pub async fn check_issuers(config: &Config, clock: &Clock) -> Result<(CheckedIssuers, Vec<String>), StartError> {
    let set = PolicySet::load(&config.policies.dir).map_err(StartError::Policy)?;
    let issuers = Issuers::new(&config.identity.issuers, clock.clone());
    let issuers = issuers.map_err(|error| StartError::Identity(error.to_string()))?;
    let item = |finding: Finding| CheckItem {
        name: finding.name.to_owned(),
        status: match finding.good {
            Some(true) => CheckStatus::Good,
            Some(false) => CheckStatus::Missing,
            None => CheckStatus::Advice,
        },
        detail: finding.detail,
    };
    let found = issuers.check().await.into_iter();
    let found = found.map(|(name, findings)| (name, findings.into_iter().map(item).collect())).collect();
    Ok((found, unknown_issuers(&set, &issuers)))
}
