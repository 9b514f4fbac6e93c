//! Looks at the trusted issuers of a configuration, for a person who sets them up.

use crate::clock::Clock;
use crate::config::Config;
use crate::domain::ids::IssuerName;
use crate::identity::oidc::{Finding, Issuers};
use crate::storage::{CheckItem, CheckStatus};

use super::StartError;

/// Reads what each issuer publishes and compares it with the configuration; changes nothing.
///
/// # Errors
/// [`StartError::Identity`] where nobody could be asked at all.
pub async fn check_issuers(config: &Config, clock: &Clock) -> Result<Vec<(IssuerName, Vec<CheckItem>)>, StartError> {
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
    Ok(found.map(|(name, findings)| (name, findings.into_iter().map(item).collect())).collect())
}
