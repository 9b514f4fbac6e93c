//! The operator's configuration: `vestibule.toml`, and the environment over it.
//!
//! Every setting has a default or is asked for by name; `vestibule.toml` at the top of the project is the annotated
//! example. Loading reports every mistake, not only the first, and a process never starts on a configuration with one.
//! Absent on purpose: what belongs to the platform team's policies.

mod identity;
mod load;
mod possession;
mod validate;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as human;
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use crate::domain::principal::Environment;
use crate::identity::ClientCertificates;
use crate::limits::redis::WhenAway;
use crate::storage::credentials::Credentials;
use crate::telemetry::TelemetryConfig;
use crate::worker::events::EventsConfig;
use crate::worker::inspect::ScannerConfig;

pub use identity::IdentityConfig;
pub use load::{ConfigError, load};
pub use possession::DpopConfig;

/// Everything that an operator sets.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The listener that apps call.
    pub public: PublicConfig,
    /// The listener of operators.
    pub admin: AdminConfig,
    /// The durable state.
    pub store: StoreConfig,
    /// Where requests are counted.
    pub limits: LimitsConfig,
    /// Who may ask, and how that is proven.
    pub identity: IdentityConfig,
    /// The platform team's directory.
    pub policies: PoliciesConfig,
    /// clamd.
    pub scanner: ScannerConfig,
    /// Where storage events come from.
    pub events: EventsConfig,
    /// The search for what events missed.
    pub sweep: SweepConfig,
    /// The audit trail beside its table.
    pub audit: AuditConfig,
    /// How a server ends.
    pub shutdown: ShutdownConfig,
    /// Logs, traces and metrics.
    pub telemetry: TelemetryConfig,
    /// The store inside this process; needed where a target's provider is `embedded`.
    pub embedded: Option<EmbeddedSettings>,
    /// Keys of storage accounts, by the name that `targets.toml` uses.
    pub credentials: BTreeMap<String, Credentials>,
    /// The file that this was read from, to be read again.
    #[serde(skip)]
    pub source: Option<PathBuf>,
}

/// `[public]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PublicConfig {
    /// Address and port.
    pub listen: SocketAddr,
    /// Where clients reach it, for one-time links; made from `listen` where absent, which only loopback allows.
    pub url: Option<Url>,
    /// Where this node alone is reached, for `GET /admin/nodes` and `vestibule drill`; made from `listen` where absent.
    pub node_url: Option<Url>,
    /// Certificate and key; without them only loopback is bound.
    pub tls: Option<TlsConfig>,
    /// Says that a proxy in front ends TLS, so that another address than loopback may be bound without certificates.
    pub behind_proxy: bool,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// The header in which those proxies tell the client's certificate, for example `Client-Cert` (RFC 9440).
    pub client_certificate_header: Option<String>,
    /// Connections at the same time; further ones wait. Fewer where the limit of open files is low.
    pub max_connections: usize,
    /// Requests that are worked on at the same time; further ones are answered with 503. 512 for each core by default, at
    /// most 2,048.
    pub max_requests: usize,
}

impl Default for PublicConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            url: None,
            node_url: None,
            tls: None,
            behind_proxy: false,
            trusted_proxies: Vec::new(),
            client_certificate_header: None,
            max_connections: 12_000,
            max_requests: requests_at_once(),
        }
    }
}

/// A core serves some 20,000 requests a second, so that 512 wait 25 ms: enough for batches to fill, few enough to stay in
/// its cache.
fn requests_at_once() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (512 * cores).min(2048)
}

/// `[admin]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminConfig {
    /// Address and port.
    pub listen: SocketAddr,
    /// Certificate and key; without them only loopback is bound.
    pub tls: Option<TlsConfig>,
    /// Says that a proxy in front ends TLS.
    pub behind_proxy: bool,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// Connections at the same time; further ones wait.
    pub max_connections: usize,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9090)),
            tls: None,
            behind_proxy: false,
            trusted_proxies: Vec::new(),
            max_connections: 1000,
        }
    }
}

/// A certificate chain and its key, as PEM files; read again when they change.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The certificate, then its intermediates.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
    /// Whether clients are asked for a certificate; on the public listener alone.
    #[serde(default)]
    pub client_certificates: ClientCertificates,
}

/// `[store]`: either a SQLite file or a PostgreSQL database.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// The SQLite file; `data/vestibule.db` where neither it nor `url` is given.
    pub path: Option<PathBuf>,
    /// The PostgreSQL database, for example `postgres://user:password@db.example/vestibule?sslmode=verify-full`.
    pub url: Option<SecretString>,
    /// Whether `serve` brings the schema of PostgreSQL up to date, instead of asking for `vestibule migrate up`.
    pub migrate: bool,
    /// Connections to PostgreSQL that write, each with a batch of its own.
    pub committers: usize,
    /// Connections to PostgreSQL that read, at most.
    pub readers: usize,
    /// Days that audit entries are kept.
    pub audit_retention_days: u16,
    /// Days that messages which nobody could read are kept.
    pub dead_letter_retention_days: u16,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            path: None,
            url: None,
            migrate: false,
            committers: 2,
            readers: 8,
            audit_retention_days: 400,
            dead_letter_retention_days: 30,
        }
    }
}

impl StoreConfig {
    /// The SQLite file, where no database is named.
    pub fn sqlite(&self) -> PathBuf {
        self.path.clone().unwrap_or_else(|| "data/vestibule.db".into())
    }
}

/// `[limits]`: each node counts for itself, or all of them in one Redis.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// The Redis, for example `rediss://user:password@redis.example/0`.
    pub url: Option<SecretString>,
    /// What a node does while Redis does not answer.
    pub when_away: WhenAway,
    /// Longest wait for an answer.
    #[serde(with = "human")]
    pub deadline: Duration,
    /// Requests of this node that may wait for an answer at the same time.
    pub max_in_flight: usize,
    /// What every key begins with.
    pub prefix: String,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            url: None,
            when_away: WhenAway::Deny,
            deadline: Duration::from_millis(250),
            max_in_flight: 1024,
            prefix: "vestibule".into(),
        }
    }
}

/// `[policies]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PoliciesConfig {
    /// The directory with `targets.toml`, `classifications.toml` and `apps/`.
    pub dir: PathBuf,
    /// `live` or `test`: a directory with a target of the other environment is refused, at start and at each reload. Both
    /// are served where absent.
    pub environment: Option<Environment>,
}

impl Default for PoliciesConfig {
    fn default() -> Self {
        Self { dir: "policies".into(), environment: None }
    }
}

/// `[sweep]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SweepConfig {
    /// Time between two sweeps.
    #[serde(with = "human")]
    pub interval: Duration,
    /// How long after an upload URL's expiry bytes may still arrive: a PUT that began in time may end later. At most
    /// 24 hours.
    #[serde(with = "human")]
    pub expiry_grace: Duration,
}

impl Default for SweepConfig {
    fn default() -> Self {
        Self { interval: Duration::from_secs(30), expiry_grace: Duration::from_secs(60) }
    }
}

/// `[shutdown]`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShutdownConfig {
    /// How long `/readyz` says that the node is leaving while it still accepts and answers: as long as balancers take to
    /// notice, and clients to come back on another connection.
    #[serde(with = "human")]
    pub drain: Duration,
    /// How long requests and jobs under way may take after that; what is left is given back.
    #[serde(with = "human")]
    pub grace: Duration,
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self { drain: Duration::from_secs(5), grace: Duration::from_secs(20) }
    }
}

/// `[audit]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditConfig {
    /// JSON lines beside the table: `stdout` or a file's path; none where absent.
    pub json_lines: Option<String>,
}

/// `[embedded]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddedSettings {
    /// The data directory.
    pub dir: PathBuf,
    /// Address and port of the S3 protocol.
    pub listen: SocketAddr,
}
