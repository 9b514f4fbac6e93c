//! A server: listeners, workers, event sources, and the embedded store where one is configured.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::{App, OpenTarget, Targets};
use crate::audit::JsonLines;
use crate::clock::Clock;
use crate::config::{Config, TlsConfig};
use crate::domain::audit::{AuditAction, AuditEntry, Outcome};
use crate::domain::target::Target;
use crate::http::{Bound, CertificateReloader, Listener, Push, Servers, TlsError};
use crate::policy::{Policies, PolicySet};
use crate::storage::CheckStatus;
use crate::storage::embedded::{EmbeddedConfig, EmbeddedServer};
use crate::store::StoreError;
use crate::worker::events::push::eventgrid::EventGridReceiver;
use crate::worker::events::push::sns::SnsReceiver;
use crate::worker::events::{Consumer, HintHandler};
use crate::worker::hints::Hints;
use crate::worker::housekeeping::{Housekeeping, Retention};
use crate::worker::inspect::Inspector;
use crate::worker::jobs::Jobs;
use crate::worker::lane::Lane;
use crate::worker::probe::Probe;
use crate::worker::sweep::Sweep;

use super::signals::{Asked, Signals};
use super::{Core, StartError, core_with, open_targets, sources};

/// How long requests and jobs under way may take to end.
const DRAIN: Duration = Duration::from_secs(25);

/// Objects that are copied or removed at the same time.
const STORAGE_LANE: usize = 16;

/// A server that holds its ports and has not begun to serve.
pub struct Application {
    config: Config,
    app: Arc<App>,
    audit: Option<Arc<JsonLines>>,
    embedded: Option<EmbeddedServer>,
    inspector: Inspector,
    consumers: Vec<Consumer>,
    handler: Arc<dyn HintHandler>,
    public: Bound,
    admin: Bound,
    certificates: Vec<Arc<CertificateReloader>>,
    metrics: Option<PrometheusHandle>,
}

impl Application {
    /// Opens everything that the configuration names.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    pub async fn build(config: Config, clock: Clock, metrics: Option<PrometheusHandle>) -> Result<Self, StartError> {
        let policies = Arc::new(Policies::open(&config.policies.dir).map_err(StartError::Policy)?);
        let mut certificates = Vec::new();
        let public_tls = certificate(config.public.tls.as_ref(), &mut certificates)?;
        let admin_tls = certificate(config.admin.tls.as_ref(), &mut certificates)?;
        let public = Bound::new(Listener {
            address: config.public.listen,
            tls: public_tls,
            trusted_proxies: config.public.trusted_proxies.clone(),
        })?;
        let admin = Bound::new(Listener {
            address: config.admin.listen,
            tls: admin_tls,
            trusted_proxies: config.admin.trusted_proxies.clone(),
        })?;
        let mut embedded = match &config.embedded {
            None => None,
            Some(settings) => {
                let mut wanted = EmbeddedConfig::new(&settings.dir, settings.listen);
                wanted.origins = origins(&policies.current());
                Some(EmbeddedServer::start(wanted, clock.clone()).await?)
            }
        };
        let open = open_targets(&policies.current(), &config.credentials, embedded.as_ref(), &clock)
            .await
            .map_err(StartError::Targets)?;
        let public_url = public_url(&config, public.address());
        let Core { app, audit } = core_with(&config, policies, Targets::new(open), public_url, clock.clone()).await?;
        let inspector = Inspector::new(config.scanner.clone(), clock.clone());
        let handler: Arc<dyn HintHandler> = Arc::new(Hints(Arc::clone(&app)));
        let consumers = sources::open(&config, embedded.as_mut(), &handler, &clock).await?;
        Ok(Self { config, app, audit, embedded, inspector, consumers, handler, public, admin, certificates, metrics })
    }

    /// The use cases.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// The public listener's address, with the port that was taken.
    pub fn public_address(&self) -> SocketAddr {
        self.public.address()
    }

    /// The admin listener's address, with the port that was taken.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.address()
    }

    /// The embedded store, where one is configured.
    pub fn embedded(&self) -> Option<&EmbeddedServer> {
        self.embedded.as_ref()
    }

    /// Asks the scanner once, so that the first upload is not refused for want of an answer.
    pub async fn probe(&self) {
        Probe::new(Arc::clone(&self.app), self.inspector.clone()).step().await;
    }

    /// Serves until `shutdown` or a signal; finishes requests and jobs under way.
    ///
    /// # Errors
    /// Where a listener cannot serve.
    pub async fn run_until_stopped(self, shutdown: CancellationToken) -> Result<(), StartError> {
        let mut signals = Signals::listen().map_err(StartError::Signals)?;
        self.probe().await;
        let sns = self.config.events.sns.clone().map(|sns| SnsReceiver::new(sns, self.app.clock.clone()));
        let sns = sns.transpose().map_err(|error| StartError::Source("sns".into(), error.to_string()))?;
        let eventgrid = EventGridReceiver::new(self.config.events.eventgrid.as_ref());
        let push = Push { handler: Arc::clone(&self.handler), eventgrid, sns };
        let servers = Servers::start(self.public, self.admin, Arc::clone(&self.app), push, self.metrics.clone())?;
        let handles = servers.handles();
        let mut serving = tokio::spawn(servers.run());

        let workers = TaskTracker::new();
        let stop_workers = CancellationToken::new();
        let jobs = Arc::new(Jobs::new(Arc::clone(&self.app), self.inspector.clone()));
        let inspector = self.inspector.clone();
        workers.spawn(async move { warn_of_settings(&inspector).await });
        workers.spawn(Lane::inspection(Arc::clone(&jobs)).run(stop_workers.clone()));
        workers.spawn(Lane::storage(jobs, STORAGE_LANE).run(stop_workers.clone()));
        workers.spawn(Probe::new(Arc::clone(&self.app), self.inspector.clone()).run(stop_workers.clone()));
        workers.spawn(Sweep::new(Arc::clone(&self.app), self.config.sweep.interval).run(stop_workers.clone()));
        let retention = Retention {
            audit_days: self.config.store.audit_retention_days,
            dead_letter_days: self.config.store.dead_letter_retention_days,
        };
        workers.spawn(Housekeeping::new(Arc::clone(&self.app), retention).run(stop_workers.clone()));
        let (app, stop) = (Arc::clone(&self.app), stop_workers.clone());
        workers.spawn(async move { app.limiter.keep_connected(&stop).await });
        for consumer in self.consumers {
            workers.spawn(consumer.run(stop_workers.clone()));
        }
        for certificate in &self.certificates {
            workers.spawn(Arc::clone(certificate).watch(stop_workers.clone()));
        }
        if let Some(handle) = self.metrics {
            workers.spawn(upkeep(handle, stop_workers.clone()));
        }
        workers.close();

        let reload = Reload {
            config: &self.config,
            app: &self.app,
            audit: self.audit.as_deref(),
            embedded: self.embedded.as_ref(),
            certificates: &self.certificates,
        };
        let ended = tokio::select! {
            () = reload.until_stopped(&mut signals, &shutdown) => None,
            ended = &mut serving => Some(ended),
        };

        tracing::info!("stopping: requests and jobs under way are finished; a second signal ends them");
        let drained = async {
            futures::future::join_all(handles.iter().map(|handle| handle.stop(true))).await;
            stop_workers.cancel();
            workers.wait().await;
        };
        let never = CancellationToken::new();
        tokio::select! {
            () = drained => {}
            () = tokio::time::sleep(DRAIN) => tracing::warn!("some jobs did not end in time; their leases will"),
            _ = signals.next(&never) => tracing::warn!("stopped at once"),
        }
        if let Some(embedded) = self.embedded {
            embedded.shutdown().await;
        }
        match ended {
            Some(Ok(Err(error))) => Err(StartError::Listener(error)),
            _ => Ok(()),
        }
    }
}

/// What SIGHUP renews.
struct Reload<'a> {
    config: &'a Config,
    app: &'a App,
    audit: Option<&'a JsonLines>,
    embedded: Option<&'a EmbeddedServer>,
    certificates: &'a [Arc<CertificateReloader>],
}

impl Reload<'_> {
    async fn until_stopped(&self, signals: &mut Signals, shutdown: &CancellationToken) {
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
        let dir = self.config.policies.dir.clone();
        let set = tokio::task::spawn_blocking(move || PolicySet::load(&dir))
            .await
            .map_err(|error| vec![error.to_string()])?
            .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let moved = moved_targets(&self.app.policies.current(), &set);
        if !moved.is_empty() {
            return Err(moved);
        }
        let open = open_targets(&set, &self.config.credentials, self.embedded, &self.app.clock).await?;
        Ok((set, open))
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

fn certificate(
    tls: Option<&TlsConfig>,
    all: &mut Vec<Arc<CertificateReloader>>,
) -> Result<Option<Arc<CertificateReloader>>, TlsError> {
    let Some(tls) = tls else { return Ok(None) };
    let reloader = CertificateReloader::open(tls.certificate.clone(), tls.key.clone())?;
    all.push(Arc::clone(&reloader));
    Ok(Some(reloader))
}

/// Every origin that some manifest lists: the bucket's CORS rule, which knows no apps.
fn origins(set: &PolicySet) -> Vec<String> {
    let mut origins: Vec<String> = set.apps().flat_map(|manifest| manifest.origins.iter().cloned()).collect();
    origins.sort();
    origins.dedup();
    origins
}

fn public_url(config: &Config, bound: SocketAddr) -> String {
    match &config.public.url {
        Some(url) => url.as_str().trim_end_matches('/').to_owned(),
        None => {
            let scheme = if config.public.tls.is_some() { "https" } else { "http" };
            format!("{scheme}://{bound}")
        }
    }
}

/// Says at start which of the scanner's settings would let something through or hold everything up.
async fn warn_of_settings(inspector: &Inspector) {
    for (server, items) in inspector.check().await {
        for item in items.iter().filter(|item| item.status != CheckStatus::Good) {
            let (setting, detail) = (&item.name, &item.detail);
            tracing::warn!(%server, %setting, %detail, "look at the scanner's settings; see docs/scanner.md");
        }
    }
}

/// Histograms drain their buffers only when somebody renders or asks.
async fn upkeep(handle: PrometheusHandle, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(Duration::from_secs(5)) => handle.run_upkeep(),
        }
    }
}
