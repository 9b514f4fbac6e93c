//! SIGHUP: policies, the storage's keys, certificates and the audit file are read again, without a request that fails.
//!
//! A policy set is put in force as a whole or not at all, and only after that was recorded; the running one stays where the
//! new one has mistakes.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::app::{App, OpenTarget};
use crate::audit::JsonLines;
use crate::config::{self, Config, ConfigError};
use crate::domain::audit::{AuditAction, AuditEntry, Outcome};
use crate::domain::target::Target;
use crate::http::CertificateReloader;
use crate::policy::PolicySet;
use crate::storage::credentials::Credentials;
use crate::storage::embedded::EmbeddedServer;
use crate::store::StoreError;

use super::issuers::warn_of_unknown_issuers;
use super::open_targets;
use super::signals::{Asked, Signals};

/// What SIGHUP renews.
pub(super) struct Reload<'a> {
    pub(super) config: &'a Config,
    pub(super) app: &'a App,
    pub(super) audit: Option<&'a JsonLines>,
    pub(super) embedded: Option<&'a EmbeddedServer>,
    pub(super) certificates: &'a [Arc<CertificateReloader>],
}

impl Reload<'_> {
    /// Reloads at each SIGHUP, until something asks for the end.
    pub(super) async fn until_stopped(&self, signals: &mut Signals, shutdown: &CancellationToken) {
        while signals.next(shutdown).await == Asked::Reload {
            self.reload().await;
        }
    }

    async fn reload(&self) {
        for certificate in self.certificates {
            certificate.reload();
        }
        if let Some(Err(error)) = self.audit.map(JsonLines::reopen) {
            tracing::error!(%error, "the audit file could not be reopened");
        }
        match self.next_policies().await {
            Ok((set, open)) => {
                let detail = format!("policy set {} is put in force", set.digest());
                // Recorded first: what cannot be recorded does not happen.
                if let Err(error) = self.record(Outcome::Allowed, detail.clone()).await {
                    tracing::error!(%error, "policies not reloaded: the reload could not be recorded");
                    return;
                }
                warn_of_unknown_issuers(&set, &self.app.issuers);
                self.app.targets.replace(open);
                self.app.policies.replace(set);
                tracing::info!(%detail, "policies reloaded");
            }
            Err(mistakes) => {
                let detail = format!("the set in force stays: {}", mistakes.join("; "));
                tracing::error!(%detail, "policies not reloaded");
                if let Err(error) = self.record(Outcome::Refused, detail).await {
                    tracing::error!(%error, "the refused reload could not be recorded");
                }
            }
        }
    }

    async fn record(&self, outcome: Outcome, detail: String) -> Result<(), StoreError> {
        let mut entry = AuditEntry::new(self.app.clock.now(), AuditAction::ReloadPolicy, outcome);
        entry.detail = Some(detail);
        self.app.store.audit(entry).await
    }

    /// Reads the directory and opens its targets; only where both succeed is either put in force.
    async fn next_policies(&self) -> Result<(PolicySet, Vec<OpenTarget>), Vec<String>> {
        let policies = Arc::clone(&self.app.policies);
        let set = tokio::task::spawn_blocking(move || policies.read_again())
            .await
            .map_err(|error| vec![error.to_string()])?
            .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let moved = moved_targets(&self.app.policies.current(), &set);
        if !moved.is_empty() {
            return Err(moved);
        }
        let credentials = self.next_credentials().await?;
        let open = open_targets(&set, &credentials, self.embedded, &self.app.clock).await?;
        Ok((set, open))
    }

    /// The storage's keys as the configuration has them now. Everything else in it is read at the start alone.
    async fn next_credentials(&self) -> Result<BTreeMap<String, Credentials>, Vec<String>> {
        let Some(source) = self.config.source.clone() else { return Ok(self.config.credentials.clone()) };
        let config = tokio::task::spawn_blocking(move || config::load(Some(&source)));
        let config =
            config.await.map_err(|error| vec![error.to_string()])?.map_err(|ConfigError(mistakes)| mistakes)?;
        Ok(config.credentials)
    }
}

/// Targets that would mean another bucket than before. Objects remember their target by name and would be looked for in
/// the wrong place.
fn moved_targets(old: &PolicySet, new: &PolicySet) -> Vec<String> {
    let place =
        |target: &Target| (target.provider.clone(), target.staging_bucket.clone(), target.staging_prefix.clone());
    old.targets()
        .filter(|before| new.target(&before.name).is_some_and(|after| place(after) != place(before)))
        .map(|target| {
            format!("targets.toml: {} would move to another bucket; give the new place a new name", target.name)
        })
        .collect()
}
