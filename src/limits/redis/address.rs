//! Where Redis is: an address with its password, which is never shown.
//!
//! `redis://` is for this machine, `rediss://` is TLS. A server elsewhere without TLS has to be asked for by name
//! (`?tls=none`), as the database's address has to say its `sslmode`.

use std::str::FromStr;

use redis::{Client, ConnectionInfo, TlsCertificates};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

/// Parameters of an address that are understood.
const PARAMETERS: [&str; 2] = ["tls", "ca"];

/// An address such as `redis://127.0.0.1:6379/0` or `rediss://user:password@redis.example/0?ca=/etc/redis-ca.pem`.
#[derive(Clone, Debug)]
pub struct RedisUrl {
    /// Without its parameters.
    address: SecretString,
    /// A file with the certificates of the authority that signs the server's; those of the system where absent.
    ca: Option<String>,
}

impl RedisUrl {
    /// Reads an address.
    ///
    /// # Errors
    /// What is wrong with it, in words, without repeating it.
    pub fn parse(text: &SecretString) -> Result<Self, String> {
        let mut url = Url::parse(text.expose_secret()).map_err(|error| format!("is no address: {error}"))?;
        let tls = match url.scheme() {
            "redis" => false,
            "rediss" => true,
            _ => return Err("must begin with redis:// or rediss://".into()),
        };
        if let Some((name, _)) = url.query_pairs().find(|(name, _)| !PARAMETERS.contains(&name.as_ref())) {
            // Not the value: it may be a password under a misspelt name.
            return Err(format!("has the parameter '{name}'; known are {}", PARAMETERS.join(", ")));
        }
        let parameter = |wanted: &str| {
            let mut pairs = url.query_pairs();
            pairs.find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
        };
        let (plain, ca) = (parameter("tls"), parameter("ca"));
        if plain.as_ref().is_some_and(|value| value != "none" || tls) {
            return Err("may say tls=none with redis://, and nothing else of tls".into());
        }
        if ca.is_some() && !tls {
            return Err("names a ca, which only rediss:// needs".into());
        }
        let Some(host) = url.host_str().filter(|host| !host.is_empty()) else { return Err("names no host".into()) };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let local = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        if !tls && !local && plain.is_none() {
            return Err("must begin with rediss://, since the server is not on this machine; ?tls=none where the way \
                        there is safe by other means"
                .into());
        }
        let number = url.path().trim_start_matches('/');
        if !number.is_empty() && number.parse::<u16>().is_err() {
            return Err("must end with the number of a database, for example /0".into());
        }
        url.set_query(None);
        Ok(Self { address: String::from(url).into(), ca })
    }

    /// A client that has not connected.
    ///
    /// # Errors
    /// What cannot be used, in words.
    pub(super) fn client(&self) -> Result<Client, String> {
        // The driver's text could repeat the address.
        let unusable = |_| "cannot be used; see docs/rate-limits.md".to_owned();
        let info: ConnectionInfo =
            redis::IntoConnectionInfo::into_connection_info(self.address.expose_secret()).map_err(unusable)?;
        match &self.ca {
            None => Client::open(info).map_err(unusable),
            Some(file) => {
                let root_cert = std::fs::read(file).map_err(|error| format!("ca={file} cannot be read: {error}"))?;
                let certificates = TlsCertificates { client_tls: None, root_cert: Some(root_cert) };
                Client::build_with_tls(info, certificates).map_err(|_| format!("ca={file} holds no certificate"))
            }
        }
    }
}

impl FromStr for RedisUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(&SecretString::from(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_elsewhere_needs_tls_or_says_that_it_has_none() {
        for good in [
            "redis://127.0.0.1:6379/0",
            "redis://localhost",
            "redis://:secret@[::1]:6379/2",
            "rediss://user:secret@redis.example:6380/1?ca=/etc/ca.pem",
            "redis://redis.internal/0?tls=none",
        ] {
            let url = RedisUrl::from_str(good).unwrap_or_else(|mistake| panic!("{good} {mistake}"));
            assert!(!format!("{url:?}").contains("secret"));
        }
        assert!(RedisUrl::from_str("redis://:secret@127.0.0.1:6379/2").unwrap().client().is_ok());
    }

    #[test]
    fn every_mistake_is_told_without_repeating_the_password() {
        for (bad, word) in [
            ("http://u:secret@127.0.0.1", "redis://"),
            ("redis://u:secret@redis.example/0", "rediss://"),
            ("redis://u:secret@redis.example/0?tls=secret", "tls=none"),
            ("rediss://u:secret@redis.example/0?tls=none", "tls=none"),
            ("redis://u:secret@127.0.0.1/0?ca=/x", "rediss://"),
            ("redis://127.0.0.1/0?passwrod=secret", "passwrod"),
            ("redis://127.0.0.1/secret", "number of a database"),
            ("secret", "is no address"),
        ] {
            let told = RedisUrl::from_str(bad).unwrap_err();
            assert!(told.contains(word) && !told.contains("secret"), "{told}");
        }
    }
}
