//! Proofs of possession: `[identity.dpop]`, and what the public listener does about certificates of clients.

use std::time::Duration;

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as human;
use serde::Deserialize;

use crate::identity::{ClientCertificates, ProofRules};

use super::Config;

const LIFE: std::ops::RangeInclusive<Duration> = Duration::from_secs(30)..=Duration::from_secs(3600);
const AGE: std::ops::RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(300);
const SKEW: Duration = Duration::from_secs(300);

/// `[identity.dpop]` (RFC 9449).
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DpopConfig {
    /// Whether each proof needs a nonce of the gateway's, so that none can be made in advance.
    pub nonces: bool,
    /// How long a nonce is good; a new one is sent along once half of it is over. 30s to 1h.
    #[serde(with = "human")]
    pub nonce_life: Duration,
    /// How old a proof may be. 5s to 5m.
    #[serde(with = "human")]
    pub max_age: Duration,
    /// How far a client's clock may be off, in both directions. At most 5m.
    #[serde(with = "human")]
    pub clock_skew: Duration,
}

impl Default for DpopConfig {
    fn default() -> Self {
        Self {
            nonces: true,
            nonce_life: Duration::from_secs(300),
            max_age: Duration::from_secs(60),
            clock_skew: Duration::from_secs(60),
        }
    }
}

impl From<DpopConfig> for ProofRules {
    fn from(own: DpopConfig) -> Self {
        let DpopConfig { nonces, nonce_life, max_age, clock_skew } = own;
        Self { nonces, nonce_life, max_age, clock_skew }
    }
}

/// What is wrong with it.
pub(super) fn mistakes(config: &Config) -> Vec<String> {
    let mut found = Vec::new();
    let dpop = &config.identity.dpop;
    if !LIFE.contains(&dpop.nonce_life) {
        found.push("identity.dpop.nonce_life: must be 30s to 1h".into());
    }
    if !AGE.contains(&dpop.max_age) {
        found.push("identity.dpop.max_age: must be 5s to 5m; a proof is made for one request".into());
    }
    if dpop.clock_skew > SKEW {
        found.push("identity.dpop.clock_skew: must be at most 5m".into());
    }
    let asks = |tls: &Option<super::TlsConfig>| tls.as_ref().map(|tls| tls.client_certificates.clone());
    if let Some(ClientCertificates::Ca(file)) = asks(&config.public.tls)
        && !file.is_file()
    {
        found.push(format!("public.tls.client_certificates: there is no file {}", file.display()));
    }
    if asks(&config.admin.tls).is_some_and(|own| own != ClientCertificates::Off) {
        found.push("admin.tls.client_certificates: is for the public listener; no operator's token is bound".into());
    }
    if let Some(name) = &config.public.client_certificate_header {
        if name.parse::<http::HeaderName>().is_err() {
            found.push("public.client_certificate_header: is no name of a header".into());
        }
        if config.public.trusted_proxies.is_empty() {
            found.push("public.client_certificate_header: is believed from trusted_proxies only; name them".into());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(toml: &str) -> Vec<String> {
        let config: Config = toml::from_str(toml).unwrap();
        mistakes(&config)
    }

    #[test]
    fn defaults_are_strict_and_good() {
        let config = Config::default();
        assert!(config.identity.dpop.nonces && mistakes(&config).is_empty());
    }

    #[test]
    fn bounds_are_kept() {
        for (toml, name) in [
            ("[identity.dpop]\nnonce_life = '29s'", "identity.dpop.nonce_life"),
            ("[identity.dpop]\nmax_age = '6m'", "identity.dpop.max_age"),
            ("[identity.dpop]\nclock_skew = '301s'", "identity.dpop.clock_skew"),
            ("[public]\nclient_certificate_header = 'client-cert'", "public.client_certificate_header"),
            (
                "[public]\ntrusted_proxies = ['127.0.0.1']\nclient_certificate_header = 'client cert'",
                "public.client_certificate_header",
            ),
            (
                "[public.tls]\ncertificate = 'a'\nkey = 'b'\nclient_certificates = { ca = '/nowhere.pem' }",
                "public.tls.client_certificates",
            ),
            ("[admin.tls]\ncertificate = 'a'\nkey = 'b'\nclient_certificates = 'any'", "admin.tls.client_certificates"),
        ] {
            let found = read(toml);
            assert!(found.len() == 1 && found[0].starts_with(name), "{toml}: {found:?}");
        }
        let good = "[public]\ntrusted_proxies = ['127.0.0.1']\nclient_certificate_header = 'Client-Cert'\n\
                    [identity.dpop]\nnonces = false\nclock_skew = '0s'";
        assert!(read(good).is_empty());
    }
}
