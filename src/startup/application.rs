//! A server: listeners, workers, event sources, and the embedded store where one is configured.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::{App, Targets};
use crate::audit::JsonLines;
use crate::clock::Clock;
use crate::config::{Config, TlsConfig};
use crate::http::{Bound, Bounds, CertificateReloader, Listener, Push, Servers, TlsError};
use crate::policy::{Policies, PolicySet};
use crate::storage::CheckStatus;
use crate::storage::embedded::{EmbeddedConfig, EmbeddedServer};
use crate::store::NodeRecord;
use crate::worker::containment::Containment;
use crate::worker::events::push::sns::SnsReceiver;
use crate::worker::events::{Consumer, HintHandler};
use crate::worker::heartbeat::Heartbeat;
use crate::worker::hints::Hints;
use crate::worker::housekeeping::{Housekeeping, Retention};
use crate::worker::inspect::Inspector;
use crate::worker::jobs::Jobs;
use crate::worker::lane::Lane;
use crate::worker::probe::Probe;
use crate::worker::stop::Stop;
use crate::worker::sweep::Sweep;

use super::issuers::warn_of_unknown_issuers;
use super::reload::Reload;
use super::service_manager::{self, Progress};
use super::signals::Signals;
use super::stop::Ending;
use super::{Core, StartError, core_with, descriptors, open_targets, sources};

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
        let policies =
            Arc::new(Policies::open(&config.policies.dir, config.policies.environment).map_err(StartError::Policy)?);
        let mut certificates = Vec::new();
        let public_tls = certificate(config.public.tls.as_ref(), &mut certificates)?;
        let admin_tls = certificate(config.admin.tls.as_ref(), &mut certificates)?;
        let (public_most, admin_most) = descriptors::share(
            config.public.max_connections,
            config.admin.max_connections,
            descriptors::for_connections(),
        );
        let public = Bound::new(Listener {
            address: config.public.listen,
            tls: public_tls,
            trusted_proxies: config.public.trusted_proxies.clone(),
            client_certificate_header: config.public.client_certificate_header.as_deref().and_then(|n| n.parse().ok()),
            connections: public_most,
        })?;
        let admin = Bound::new(Listener {
            address: config.admin.listen,
            tls: admin_tls,
            trusted_proxies: config.admin.trusted_proxies.clone(),
            client_certificate_header: None,
            connections: admin_most,
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
        warn_of_unknown_issuers(&app.policies.current(), &app.issuers);
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

    /// Serves until `shutdown` or a signal; then ends as `stop` describes.
    ///
    /// # Errors
    /// Where a listener cannot serve.
    pub async fn run_until_stopped(self, shutdown: CancellationToken) -> Result<(), StartError> {
        let mut signals = Signals::listen().map_err(StartError::Signals)?;
        self.probe().await;
        let sns = self.config.events.sns.clone().map(|sns| SnsReceiver::new(sns, self.app.clock.clone()));
        let sns = sns.transpose().map_err(|error| StartError::Source("sns".into(), error.to_string()))?;
        let push = Push { handler: Arc::clone(&self.handler), sns };
        let bounds = Bounds { requests: self.config.public.max_requests, grace: self.config.shutdown.grace };
        let node = node(&self.config, self.public.address(), &self.app.clock);
        let servers =
            Servers::start(self.public, self.admin, Arc::clone(&self.app), push, self.metrics.clone(), bounds)?;
        let handles = servers.handles();
        let mut serving = tokio::spawn(servers.run());

        let workers = TaskTracker::new();
        let (work, background) = (Stop::default(), CancellationToken::new());
        let jobs = Arc::new(Jobs::new(Arc::clone(&self.app), self.inspector.clone()));
        let inspector = self.inspector.clone();
        let asking = work.nothing_new().clone();
        workers.spawn(async move { asking.run_until_cancelled(warn_of_settings(&inspector)).await });
        workers.spawn(Lane::inspection(Arc::clone(&jobs)).run(work.clone()));
        workers.spawn(Lane::storage(jobs, STORAGE_LANE).run(work.clone()));
        workers.spawn(Probe::new(Arc::clone(&self.app), self.inspector.clone()).run(background.clone()));
        workers.spawn(Sweep::new(Arc::clone(&self.app), self.config.sweep.interval).run(work.nothing_new().clone()));
        let retention = Retention {
            audit_days: self.config.store.audit_retention_days,
            dead_letter_days: self.config.store.dead_letter_retention_days,
        };
        workers.spawn(Housekeeping::new(Arc::clone(&self.app), retention).run(background.clone()));
        workers.spawn(Containment::new(Arc::clone(&self.app)).run(work.nothing_new().clone()));
        workers.spawn(Heartbeat::new(Arc::clone(&self.app), node).run(background.clone()));
        let (app, stop) = (Arc::clone(&self.app), background.clone());
        workers.spawn(async move { app.limiter.keep_connected(&stop).await });
        let (app, stop) = (Arc::clone(&self.app), background.clone());
        workers.spawn(async move { stop.run_until_cancelled(app.issuers.warm_up()).await });
        for consumer in self.consumers {
            workers.spawn(consumer.run(work.clone()));
        }
        for certificate in &self.certificates {
            workers.spawn(Arc::clone(certificate).watch(background.clone()));
        }
        if let Some(handle) = self.metrics {
            workers.spawn(upkeep(handle, background.clone()));
        }
        workers.close();

        service_manager::tell(Progress::Ready);
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

        let ending = Ending { app: Arc::clone(&self.app), servers: handles, work, background, workers };
        ending.run(&self.config.shutdown, &mut signals).await;
        if let Some(embedded) = self.embedded {
            embedded.shutdown().await;
        }
        match ended {
            Some(Ok(Err(error))) => Err(StartError::Listener(error)),
            _ => Ok(()),
        }
    }
}

fn certificate(
    tls: Option<&TlsConfig>,
    all: &mut Vec<Arc<CertificateReloader>>,
) -> Result<Option<Arc<CertificateReloader>>, TlsError> {
    let Some(tls) = tls else { return Ok(None) };
    let reloader =
        CertificateReloader::open(tls.certificate.clone(), tls.key.clone(), tls.client_certificates.clone())?;
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

/// Where clients reach the public listener: as configured, or as it is bound. Without a trailing `/`.
pub fn public_url(config: &Config, bound: SocketAddr) -> String {
    match &config.public.url {
        Some(url) => url.as_str().trim_end_matches('/').to_owned(),
        None => {
            let scheme = if config.public.tls.is_some() { "https" } else { "http" };
            format!("{scheme}://{bound}")
        }
    }
}

/// What this node says of itself. A balancer's address is none of a node's; one that listens everywhere has no address that
/// another machine could use, and says the balancer's where nothing else is configured.
fn node(config: &Config, public: SocketAddr, clock: &Clock) -> NodeRecord {
    let scheme = if config.public.tls.is_some() { "https" } else { "http" };
    let url = match &config.public.node_url {
        Some(own) => own.as_str().trim_end_matches('/').to_owned(),
        None if public.ip().is_unspecified() => public_url(config, public),
        None => format!("{scheme}://{public}"),
    };
    let now = clock.now();
    NodeRecord { id: clock.uuid(), url, version: env!("CARGO_PKG_VERSION").to_owned(), started_at: now, seen_at: now }
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
