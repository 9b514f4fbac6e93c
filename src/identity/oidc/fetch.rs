//! Reads an issuer's documents: bounded in time and in size, over TLS, from the host that was asked.
//!
//! Plain HTTP is for loopback only, which is where tests and development have their providers; a document of another machine
//! never sends the gateway to its own. A redirect is followed within the same origin and never to another host, where
//! somebody else's keys might lie.

use std::time::Duration;

use reqwest::Client;
use reqwest::header::CACHE_CONTROL;
use reqwest::redirect::{Attempt, Policy};
use serde::Deserialize;
use url::{Host, Url};

/// Longest wait for one document.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Largest document in bytes.
const LARGEST: u64 = 256 * 1024;
const MOST_REDIRECTS: usize = 3;

/// A document, and for how long it may be kept.
pub(super) struct Document {
    pub(super) body: Vec<u8>,
    pub(super) max_age: Option<Duration>,
}

/// What discovery tells; everything else in the document is the business of clients.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: Url,
}

/// A client with a connection pool of its own.
///
/// # Errors
/// Where there is no TLS provider.
pub(super) fn client() -> Result<Client, reqwest::Error> {
    Client::builder().redirect(Policy::custom(within_the_origin)).timeout(TIMEOUT).connect_timeout(TIMEOUT / 2).build()
}

fn within_the_origin(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let first = attempt.previous().first().map(Url::origin);
    if attempt.previous().len() > MOST_REDIRECTS || first != Some(attempt.url().origin()) {
        return attempt.error("redirected to another host, or too often");
    }
    attempt.follow()
}

/// Whether documents may be read from there: https, or http on this machine; without user and fragment.
pub fn is_safe(url: &Url) -> bool {
    let scheme = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(url));
    let bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    scheme && bare && url.has_host()
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Whether a document that lies at `document` may say that keys lie at `keys`: one of another machine says nothing about
/// this one, in whatever way that is written.
fn may_name(document: &Url, keys: &Url) -> bool {
    let here = match keys.host() {
        Some(Host::Ipv6(address)) if address.to_ipv4_mapped().is_some_and(|address| address.is_loopback()) => true,
        Some(Host::Domain(name)) => name.trim_end_matches('.').rsplit('.').next() == Some("localhost"),
        _ => is_loopback(keys),
    };
    is_safe(keys) && (!here || is_loopback(document))
}

/// Reads one document.
///
/// # Errors
/// A sentence for the log.
pub(super) async fn get(http: &Client, url: &Url) -> Result<Document, String> {
    if !is_safe(url) {
        return Err(format!("{url} is not https"));
    }
    let told = |error: reqwest::Error| {
        let cause = std::iter::successors(std::error::Error::source(&error), |error| error.source()).last();
        let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
        format!("{url}: {}{cause}", error.without_url())
    };
    let mut answer = http.get(url.clone()).send().await.map_err(told)?;
    if !answer.status().is_success() {
        return Err(format!("{url}: HTTP {}", answer.status().as_u16()));
    }
    let cache = answer.headers().get(CACHE_CONTROL).and_then(|value| value.to_str().ok()).and_then(max_age);
    let mut body = Vec::new();
    loop {
        match answer.chunk().await.map_err(told)? {
            None => return Ok(Document { body, max_age: cache }),
            Some(part) if (body.len() + part.len()) as u64 <= LARGEST => body.extend_from_slice(&part),
            Some(_) => return Err(format!("{url}: larger than {LARGEST} bytes")),
        }
    }
}

/// Where an issuer's keys lie, from its discovery document (OpenID Connect Discovery 4).
///
/// # Errors
/// A sentence for the log.
pub(super) async fn discover(http: &Client, issuer: &str) -> Result<Url, String> {
    let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let url: Url = url.parse().map_err(|_| format!("{issuer} is no address"))?;
    let document = get(http, &url).await?;
    let metadata: Metadata =
        serde_json::from_slice(&document.body).map_err(|_| format!("{url}: no discovery document with a jwks_uri"))?;
    if metadata.issuer != issuer {
        return Err(format!("{url}: it is of the issuer {:?}, not of {issuer:?}", shorten(&metadata.issuer)));
    }
    if !may_name(&url, &metadata.jwks_uri) {
        return Err(format!("{url}: its jwks_uri is not https, or on this machine"));
    }
    Ok(metadata.jwks_uri)
}

fn shorten(text: &str) -> String {
    text.chars().take(200).collect()
}

/// The seconds of `max-age` (RFC 9111 section 5.2.2.1); none may be kept where the answer says so.
fn max_age(header: &str) -> Option<Duration> {
    let directives = || header.split(',').map(|directive| directive.trim().to_ascii_lowercase());
    if directives().any(|directive| directive == "no-store" || directive == "no-cache") {
        return Some(Duration::ZERO);
    }
    let seconds = directives().find_map(|directive| directive.strip_prefix("max-age=").map(str::to_owned))?;
    seconds.trim_matches('"').parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_come_over_tls_or_from_this_machine() {
        for url in
            ["https://login.example/jwks", "http://127.0.0.1:4400/jwks", "http://[::1]/a", "http://localhost:1/a"]
        {
            assert!(is_safe(&url.parse().expect("an address")), "{url}");
        }
        for url in [
            "http://login.example/jwks",
            "http://127.0.0.1.evil.example/",
            "http://localhost.evil.example/",
            "http://10.0.0.1/",
            "https://me:x@login.example/",
            "https://login.example/#a",
            "file:///etc/passwd",
            "ftp://login.example/",
        ] {
            assert!(!is_safe(&url.parse().expect("an address")), "{url}");
        }
    }

    #[test]
    fn a_document_of_another_machine_names_no_keys_on_this_one() {
        let may = |document: &str, keys: &str| may_name(&document.parse().unwrap(), &keys.parse().unwrap());
        let (here, there) = ("http://127.0.0.1:4400/a", "https://login.example/a");
        assert!(may(here, "http://localhost:1/jwks") && may(here, there) && may(there, "https://keys.example/jwks"));
        for keys in [
            "http://127.0.0.1:9090/jwks",
            "https://127.0.0.2/jwks",
            "https://[::1]/jwks",
            "https://[::ffff:127.0.0.1]/jwks",
            "https://localhost/jwks",
            "https://keys.localhost./jwks",
            "https://2130706433/jwks",
            "http://keys.example/jwks",
        ] {
            assert!(!may(there, keys), "{keys}");
        }
    }

    #[test]
    fn the_age_that_an_answer_allows_is_read() {
        let age = |header: &str| max_age(header).map(|age| age.as_secs());
        assert_eq!(age("public, max-age=22272, must-revalidate"), Some(22_272));
        assert_eq!(age("Max-Age=\"60\""), Some(60));
        assert_eq!(age("max-age=60, no-store"), Some(0));
        assert_eq!(age("private"), None);
        assert_eq!(age("max-age=soon"), None);
    }
}
