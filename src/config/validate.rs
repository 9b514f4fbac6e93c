//! What a configuration must say beyond the types of its settings.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Config, TlsConfig};

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
    if let Some(url) = &public.url
        && (!matches!(url.scheme(), "http" | "https") || url.query().is_some() || url.fragment().is_some())
    {
        found.push(
            "public.url: must be an http or https address without query, for example https://files.example".into(),
        );
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
    for (name, days) in [
        ("audit_retention_days", config.store.audit_retention_days),
        ("dead_letter_retention_days", config.store.dead_letter_retention_days),
    ] {
        if days == 0 {
            found.push(format!("store.{name}: must be at least 1"));
        }
    }
    if config.sweep.interval < Duration::from_millis(100) {
        found.push("sweep.interval: must be at least 100ms".into());
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

    #[test]
    fn plain_http_stays_on_loopback_unless_a_proxy_ends_tls() {
        let mut config = Config::default();
        config.policies.dir = ".".into();
        assert_eq!(mistakes(&config), Vec::<String>::new());
        config.public.listen = "0.0.0.0:8080".parse().unwrap();
        assert_eq!(mistakes(&config).len(), 1);
        config.public.behind_proxy = true;
        assert_eq!(mistakes(&config), Vec::<String>::new());
    }
}
