//! What a configuration must say beyond the types of its settings.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use secrecy::ExposeSecret;

use crate::limits::redis::RedisUrl;
use crate::store::postgres::PostgresUrl;
use crate::worker::events::push::eventgrid::SHORTEST_KEY;
use crate::worker::inspect::Concurrency;

use super::{Config, LimitsConfig, StoreConfig, TlsConfig};

/// Inspections at the same time on one server; each holds a connection to clamd and some memory.
const CONCURRENCY: std::ops::RangeInclusive<usize> = 1..=256;
/// Connections of one kind to the database.
const CONNECTIONS: std::ops::RangeInclusive<usize> = 1..=64;
/// Connections and requests at the same time.
const AT_ONCE: std::ops::RangeInclusive<usize> = 10..=1_000_000;
const LONGEST_END: Duration = Duration::from_secs(600);
const LONGEST_GRACE: Duration = Duration::from_secs(24 * 3600);

/// Every mistake that only shows when settings are seen together.
pub(super) fn mistakes(config: &Config) -> Vec<String> {
    let mut found = Vec::new();
    let public = &config.public;
    found.extend(exposed("public", public.listen, public.tls.as_ref(), public.behind_proxy));
    let admin = &config.admin;
    found.extend(exposed("admin", admin.listen, admin.tls.as_ref(), admin.behind_proxy));
    if public.listen == admin.listen && public.listen.port() != 0 {
        found.push("admin.listen: must differ from public.listen".into());
    }
    if public.url.is_none() && !public.listen.ip().is_loopback() {
        found.push("public.url: is needed where public.listen is not loopback; one-time links start with it".into());
    }
    for (name, url) in [("url", &public.url), ("node_url", &public.node_url)] {
        if let Some(url) = url
            && (!matches!(url.scheme(), "http" | "https") || url.query().is_some() || url.fragment().is_some())
        {
            found.push(format!(
                "public.{name}: must be an http or https address without query, for example https://files.example"
            ));
        }
    }
    for tls in [public.tls.as_ref(), admin.tls.as_ref()].into_iter().flatten() {
        for file in [&tls.certificate, &tls.key] {
            if !file.is_file() {
                found.push(format!("tls: there is no file {}", file.display()));
            }
        }
    }
    if !config.policies.dir.is_dir() {
        found.push(format!("policies.dir: there is no directory {}", config.policies.dir.display()));
    }
    found.extend(store(&config.store));
    found.extend(limits(&config.limits));
    found.extend(super::identity::mistakes(&config.identity));
    found.extend(super::possession::mistakes(config));
    for (name, days) in [
        ("audit_retention_days", config.store.audit_retention_days),
        ("dead_letter_retention_days", config.store.dead_letter_retention_days),
    ] {
        if days == 0 {
            found.push(format!("store.{name}: must be at least 1"));
        }
    }
    for (name, count) in [
        ("public.max_connections", public.max_connections),
        ("public.max_requests", public.max_requests),
        ("admin.max_connections", admin.max_connections),
    ] {
        if !AT_ONCE.contains(&count) {
            found.push(format!("{name}: must be 10 to 1000000"));
        }
    }
    let shutdown = &config.shutdown;
    if shutdown.drain > LONGEST_END || !(Duration::from_secs(1)..=LONGEST_END).contains(&shutdown.grace) {
        found.push("shutdown: drain must be at most 10m, and grace 1s to 10m".into());
    }
    if config.sweep.interval < Duration::from_millis(100) {
        found.push("sweep.interval: must be at least 100ms".into());
    }
    if config.sweep.expiry_grace > LONGEST_GRACE {
        found.push("sweep.expiry_grace: must be at most 24h; objects that never arrive hold quota until then".into());
    }
    if matches!(config.scanner.concurrency, Concurrency::Fixed(number) if !CONCURRENCY.contains(&number)) {
        found.push("scanner.concurrency: must be \"auto\", or 1 to 256 and below clamd's MaxThreads".into());
    }
    let addresses = &config.scanner.addresses;
    if addresses.is_empty() {
        found.push("scanner.addresses: must name at least one clamd".into());
    }
    if addresses.iter().collect::<HashSet<_>>().len() < addresses.len() {
        found.push("scanner.addresses: name the same clamd twice".into());
    }
    let key = config.events.eventgrid.as_ref().map(|push| push.key.expose_secret().len());
    if key.is_some_and(|length| length < SHORTEST_KEY) {
        found.push(format!("events.eventgrid.key: must have at least {SHORTEST_KEY} characters"));
    }
    if config.embedded.as_ref().is_some_and(|embedded| !embedded.listen.ip().is_loopback()) {
        found.push("embedded.listen: the embedded store speaks plain HTTP and is bound to loopback only".into());
    }
    let named = config.events.sqs.iter().map(|source| &source.credentials);
    let named = named.chain(config.events.azure_queues.iter().map(|source| &source.credentials));
    for name in named.flatten() {
        if !config.credentials.contains_key(name) {
            found.push(format!("events: there is no [credentials.{name}]"));
        }
    }
    found
}

/// A file or a database, never both: nobody could tell which one counts.
fn store(store: &StoreConfig) -> Vec<String> {
    let mut found = Vec::new();
    if store.url.is_some() && store.path.is_some() {
        found.push("store.url: is given beside store.path; leave one of them out".into());
    }
    if let Some(Err(mistake)) = store.url.as_ref().map(PostgresUrl::parse) {
        found.push(format!("store.url: {mistake}"));
    }
    if store.url.is_none() && store.migrate {
        found.push("store.migrate: is for PostgreSQL; a SQLite file is always brought up to date".into());
    }
    for (name, count) in [("committers", store.committers), ("readers", store.readers)] {
        if !CONNECTIONS.contains(&count) {
            found.push(format!("store.{name}: must be 1 to 64; each node opens so many connections"));
        }
    }
    found
}

fn limits(limits: &LimitsConfig) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(Err(mistake)) = limits.url.as_ref().map(RedisUrl::parse) {
        found.push(format!("limits.url: {mistake}"));
    }
    if !(Duration::from_millis(10)..=Duration::from_secs(5)).contains(&limits.deadline) {
        found.push("limits.deadline: must be 10ms to 5s; every limited request may wait that long".into());
    }
    if !(1..=100_000).contains(&limits.max_in_flight) {
        found.push("limits.max_in_flight: must be 1 to 100000".into());
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
    if !(1..=64).contains(&limits.prefix.len()) || !limits.prefix.bytes().all(plain) {
        found.push("limits.prefix: must be 1 to 64 letters, digits, '-', '_', '.' and ':'".into());
    }
    found
}

/// Plain HTTP is bound to loopback only, unless a proxy is said to end TLS.
fn exposed(section: &str, listen: SocketAddr, tls: Option<&TlsConfig>, behind_proxy: bool) -> Option<String> {
    (tls.is_none() && !behind_proxy && !listen.ip().is_loopback()).then(|| {
        format!(
            "{section}.listen: {listen} is not loopback; set {section}.tls, or {section}.behind_proxy = true where a proxy \
             ends TLS"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::events::config::EventGridPush;

    /// The setting of each mistake.
    fn settings(config: &Config) -> Vec<String> {
        mistakes(config).iter().map(|line| line.split(':').next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn numbers_out_of_range_and_short_keys_are_mistakes() {
        let mut config = Config::default();
        config.policies.dir = ".".into();
        config.sweep.expiry_grace = Duration::from_secs(24 * 3600 + 1);
        config.scanner.concurrency = Concurrency::Fixed(0);
        config.events.eventgrid = Some(EventGridPush { key: "fifteen letters".into() });
        assert_eq!(settings(&config), ["sweep.expiry_grace", "scanner.concurrency", "events.eventgrid.key"]);
        assert!(!mistakes(&config).concat().contains("fifteen"));
        config.scanner.concurrency = Concurrency::Fixed(100_000);
        assert!(settings(&config).contains(&"scanner.concurrency".to_owned()));
        config.scanner.addresses = vec!["tcp:h:1".parse().unwrap(); 2];
        assert!(settings(&config).contains(&"scanner.addresses".to_owned()));
        config.scanner.addresses.clear();
        assert!(settings(&config).contains(&"scanner.addresses".to_owned()));
    }

    #[test]
    fn the_state_lies_in_a_file_or_in_a_database() {
        let mut config = Config::default();
        config.policies.dir = ".".into();
        config.store.url = Some("postgres://vestibule:secret@127.0.0.1/vestibule".into());
        assert_eq!(mistakes(&config), Vec::<String>::new());
        config.store.path = Some("data/vestibule.db".into());
        config.store.committers = 0;
        assert_eq!(settings(&config), ["store.url", "store.committers"]);
        config.store = StoreConfig { migrate: true, ..StoreConfig::default() };
        assert_eq!(settings(&config), ["store.migrate"]);
        config.store.url = Some("postgres://vestibule:secret@db.example/vestibule".into());
        let told = mistakes(&config).concat();
        assert!(told.starts_with("store.url") && told.contains("sslmode") && !told.contains("secret"), "{told}");
    }

    #[test]
    fn a_redis_elsewhere_needs_tls_and_numbers_have_bounds() {
        let mut config = Config::default();
        config.policies.dir = ".".into();
        config.limits.url = Some("redis://:secret@127.0.0.1/0".into());
        assert_eq!(mistakes(&config), Vec::<String>::new());
        config.limits.url = Some("redis://:secret@redis.example/0".into());
        config.limits.deadline = Duration::from_secs(6);
        config.limits.max_in_flight = 0;
        config.limits.prefix = "a{b}".into();
        assert_eq!(settings(&config), ["limits.url", "limits.deadline", "limits.max_in_flight", "limits.prefix"]);
        assert!(!mistakes(&config).concat().contains("secret"));
    }

    #[test]
    fn plain_http_stays_on_loopback_unless_a_proxy_ends_tls() {
        let mut config = Config::default();
        config.policies.dir = ".".into();
        assert_eq!(mistakes(&config), Vec::<String>::new());
        config.public.listen = "0.0.0.0:8080".parse().unwrap();
        assert_eq!(settings(&config), ["public.listen", "public.url"]);
        config.public.behind_proxy = true;
        assert_eq!(settings(&config), ["public.url"], "links cannot be made from 0.0.0.0");
        config.public.url = Some("https://files.example".parse().unwrap());
        assert_eq!(mistakes(&config), Vec::<String>::new());
    }
}
