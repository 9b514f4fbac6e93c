//! Puts the parts together: from a configuration to running listeners and workers.
//!
//! Everything that can be wrong is found before a port is served. What the command line needs without listeners is
//! [`core()`]; what a server needs is [`Application`].

mod application;
mod descriptors;
mod issuers;
mod reload;
mod service_manager;
mod signals;
mod sources;
mod stop;
mod targets;

use std::sync::Arc;

use secrecy::SecretString;

use crate::app::{AnonymousRefusals, App, HealthBoard, LimitRefusals, ScannerState, Settings, Targets, Work};
use crate::audit::JsonLines;
use crate::clock::Clock;
use crate::config::Config;
use crate::identity::oidc::Issuers;
use crate::identity::{Authenticator, KeyringError, Proofs, StoredNonceKeys};
use crate::limits::Limiter;
use crate::limits::redis::{RedisLimits, RedisOptions, RedisUrl};
use crate::policy::{Mistake, Policies};
use crate::store::postgres::{self, PostgresOptions, PostgresStore, PostgresUrl};
use crate::store::sqlite::{SqliteOptions, SqliteStore};
use crate::store::{OnCommit, Store, StoreError};

pub use application::{Application, public_url};
pub use issuers::{CheckedIssuers, check_issuers};
pub use targets::{credentials_of, look_at_targets, open_targets};

/// Why nothing could be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The policy directory has mistakes.
    #[error("the policy directory has {} mistake(s):\n{}", .0.len(), lines(.0))]
    Policy(Vec<Mistake>),
    /// The database cannot be used.
    #[error("cannot open the database: {0}")]
    Store(#[from] StoreError),
    /// The Redis of the rate limits cannot be used.
    #[error("limits.url: {0}")]
    Limits(String),
    /// Nobody could be asked about people.
    #[error("identity: {0}")]
    Identity(String),
    /// The audit lines cannot be written.
    #[error("cannot open the audit file {0}: {1}")]
    Audit(String, std::io::Error),
    /// Targets cannot be opened.
    #[error("{} target(s) cannot be opened:\n{}", .0.len(), lines(.0))]
    Targets(Vec<String>),
    /// An event source cannot be opened.
    #[error("cannot open the event source {0}: {1}")]
    Source(String, String),
    /// The gateway has no keys of its own.
    #[error("cannot read the gateway's keys: {0}")]
    Keys(#[from] KeyringError),
    /// The embedded store cannot be started.
    #[error("cannot start the embedded store: {0}")]
    Embedded(#[from] crate::storage::embedded::EmbeddedError),
    /// A listener cannot be started.
    #[error(transparent)]
    Serve(#[from] crate::http::ServeError),
    /// Signals cannot be received, so that nothing could be stopped in order.
    #[error("cannot receive signals: {0}")]
    Signals(std::io::Error),
    /// A listener ended by itself.
    #[error("a listener ended: {0}")]
    Listener(std::io::Error),
    /// Certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] crate::http::TlsError),
}

fn lines<T: std::fmt::Display>(items: &[T]) -> String {
    items.iter().map(|item| format!("  - {item}")).collect::<Vec<_>>().join("\n")
}

/// The use cases over an open database and policy set.
pub struct Core {
    /// The use cases.
    pub app: Arc<App>,
    /// The audit lines beside the table, to be reopened after rotation.
    pub audit: Option<Arc<JsonLines>>,
}

/// Opens database and policies.
///
/// # Errors
/// [`StartError`] where one of them cannot be used.
pub async fn core(config: &Config, targets: Targets, public_url: String, clock: Clock) -> Result<Core, StartError> {
    let policies =
        Arc::new(Policies::open(&config.policies.dir, config.policies.environment).map_err(StartError::Policy)?);
    core_with(config, policies, targets, public_url, clock).await
}

async fn core_with(
    config: &Config,
    policies: Arc<Policies>,
    targets: Targets,
    public_url: String,
    clock: Clock,
) -> Result<Core, StartError> {
    let audit = match config.audit.json_lines.as_deref() {
        None => None,
        Some("stdout") => Some(Arc::new(JsonLines::stdout())),
        Some(path) => {
            let file = JsonLines::file(path.as_ref()).map_err(|error| StartError::Audit(path.to_owned(), error))?;
            Some(Arc::new(file))
        }
    };
    let on_commit = audit.clone().map(|sink| {
        let hook: OnCommit = Arc::new(move |lines: &str| sink.write(lines));
        hook
    });
    let store = open_store(config, &clock, on_commit).await?;
    let issuers = Issuers::new(&config.identity.issuers, clock.clone());
    let keys = Arc::new(StoredNonceKeys::open(Arc::clone(&store), &clock).await?);
    let proofs = Proofs::new(Arc::clone(&store), clock.clone(), &public_url, config.identity.dpop.into(), keys);
    let app = App {
        issuers: issuers.map_err(|error| StartError::Identity(error.to_string()))?,
        authenticator: Authenticator::new(Arc::clone(&store), clock.clone(), proofs),
        store,
        policies,
        targets: Arc::new(targets),
        limiter: open_limiter(config, &clock)?,
        throttled: LimitRefusals::default(),
        clock,
        scanner: Arc::new(ScannerState::default()),
        board: HealthBoard::default(),
        anonymous: AnonymousRefusals::default(),
        work: Work::default(),
        settings: Settings {
            public_url,
            redirect_ttl: std::time::Duration::from_secs(60),
            access_tokens: config.identity.access_tokens,
            event_grid_key: config.events.eventgrid.as_ref().map(|push| push.key.clone()),
            expiry_grace: config.sweep.expiry_grace,
        },
    };
    Ok(Core { app: Arc::new(app), audit })
}

/// Counters of this node, or those in the Redis that the configuration names. Nothing is connected yet.
fn open_limiter(config: &Config, clock: &Clock) -> Result<Limiter, StartError> {
    let settings = config.limits.clone();
    let Some(url) = settings.url else { return Ok(Limiter::local(clock.clone())) };
    let options = RedisOptions {
        when_away: settings.when_away,
        deadline: settings.deadline,
        max_in_flight: settings.max_in_flight,
        prefix: settings.prefix,
    };
    let redis = RedisUrl::parse(&url).and_then(|url| RedisLimits::new(&url, options, clock.clone()));
    redis.map(|redis| Limiter::Redis(Box::new(redis))).map_err(StartError::Limits)
}

/// The database that the configuration names, for whoever only reads: nothing is created, migrated or written.
///
/// # Errors
/// [`StoreError`] where it cannot be used, or where its schema is not this program's.
pub async fn open_store_as_it_is(config: &Config, clock: &Clock) -> Result<Arc<dyn Store>, StoreError> {
    match &config.store.url {
        None => Ok(Arc::new(SqliteStore::open_as_it_is(&config.store.sqlite(), SqliteOptions::default())?)),
        Some(url) => Ok(Arc::new(open_postgres(config, url, clock, None).await?)),
    }
}

/// The database that the configuration names. A SQLite file is brought up to date; PostgreSQL only where that is asked
/// for, since another node may still be running the version before.
async fn open_store(config: &Config, clock: &Clock, on_commit: Option<OnCommit>) -> Result<Arc<dyn Store>, StoreError> {
    let Some(url) = &config.store.url else {
        return Ok(Arc::new(SqliteStore::open(&config.store.sqlite(), SqliteOptions::default(), on_commit)?));
    };
    if config.store.migrate {
        let done = postgres::migrate(&postgres_url(url)?, clock.now()).await?;
        if !done.is_empty() {
            tracing::info!(migrations = ?done, "the schema was brought up to date");
        }
    }
    Ok(Arc::new(open_postgres(config, url, clock, on_commit).await?))
}

fn postgres_url(url: &SecretString) -> Result<PostgresUrl, StoreError> {
    PostgresUrl::parse(url).map_err(|mistake| StoreError::Schema(format!("store.url: {mistake}")))
}

async fn open_postgres(
    config: &Config,
    url: &SecretString,
    clock: &Clock,
    on_commit: Option<OnCommit>,
) -> Result<PostgresStore, StoreError> {
    let (committers, readers) = (config.store.committers, config.store.readers);
    let options = PostgresOptions { committers, readers, ..PostgresOptions::default() };
    PostgresStore::open(postgres_url(url)?, options, clock.clone(), on_commit).await
}
