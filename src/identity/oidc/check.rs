//! Whether everything is in order with the trusted issuers, for a person who sets them up.

use crate::domain::ids::IssuerName;

use super::config::SigningAlgorithm;
use super::issuers::{Issuer, Issuers};

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What, for example `keys`.
    pub name: &'static str,
    /// Whether tokens of the issuer can be checked as far as this goes; `None` where it is only worth a thought.
    pub good: Option<bool>,
    /// What was found, and what to do about it.
    pub detail: String,
}

impl Issuers {
    /// Reads each issuer's documents now and compares them with its configuration.
    pub async fn check(&self) -> Vec<(IssuerName, Vec<Finding>)> {
        let mut all = futures::future::join_all(
            self.all().map(|issuer| async { (issuer.config.name.clone(), issuer.check().await) }),
        )
        .await;
        all.sort_by(|one, other| one.0.cmp(&other.0));
        all
    }
}

impl Issuer {
    async fn check(&self) -> Vec<Finding> {
        let held = match self.keys.look().await {
            Ok(held) => held,
            Err(error) => return vec![Finding { name: "keys", good: Some(false), detail: error }],
        };
        let mut found = Vec::new();
        let kept = format!("read, and kept for {:#}", held.kept_for());
        found.push(Finding { name: "keys", good: Some(true), detail: kept });
        for algorithm in &self.config.algorithms {
            found.push(with_algorithm(*algorithm, held.keys.describe()));
        }
        for (kid, why) in &held.keys.left_out {
            found.push(Finding { name: "key", good: None, detail: format!("{kid} is left out: {why}") });
        }
        found
    }
}

fn with_algorithm<'k>(
    algorithm: SigningAlgorithm,
    keys: impl Iterator<Item = (&'k str, &'k [SigningAlgorithm])>,
) -> Finding {
    let fitting: Vec<&str> = keys.filter(|(_, fits)| fits.contains(&algorithm)).map(|(kid, _)| kid).collect();
    let name = algorithm.as_str();
    if fitting.is_empty() {
        let detail = "no key of the issuer is for it; take it out of algorithms, or ask who runs the issuer".into();
        return Finding { name, good: Some(false), detail };
    }
    Finding { name, good: Some(true), detail: format!("key {}", fitting.join(", ")) }
}
