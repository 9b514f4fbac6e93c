//! Where the certificates of SNS may come from, and what is checked about them.
//!
//! A message names the URL of the certificate that signed it, so the host decides everything: only
//! `https://sns.<region>.amazonaws.com` (and `.com.cn`) is asked, and TLS proves that it answers. The region must look
//! like one: `sns.s3.amazonaws.com` would be the bucket of whoever owns the name `sns`. The file holds a leaf without
//! its chain, so that no path can be built; its dates are checked. Absent on purpose: following redirects.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::Client;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use url::Url;
use webpki::{EndEntityCert, Error, KeyUsage};

/// How long a fetch may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest certificate file in bytes; Amazon's have about 2,000.
const MAX_FILE: usize = 64 * 1024;

/// Whether SNS itself answers under this URL: https, its host in some region, the default port, no user.
pub fn is_amazon_sns(url: &Url) -> bool {
    let region = url.host_str().and_then(|host| {
        let rest = host.strip_prefix("sns.")?;
        rest.strip_suffix(".amazonaws.com").or_else(|| rest.strip_suffix(".amazonaws.com.cn"))
    });
    url.scheme() == "https"
        && url.port().is_none()
        && url.username().is_empty()
        && url.password().is_none()
        && region.is_some_and(is_region)
}

/// `eu-central-1`, `us-gov-west-1`: two letters, words, a number.
fn is_region(region: &str) -> bool {
    let parts: Vec<&str> = region.split('-').collect();
    let letters = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
    match parts.as_slice() {
        [country, words @ .., number] => {
            country.len() == 2
                && letters(country)
                && !words.is_empty()
                && words.iter().all(|word| letters(word))
                && (1..=2).contains(&number.len())
                && number.bytes().all(|b| b.is_ascii_digit())
        }
        _ => false,
    }
}

/// A certificate, fetched once.
#[derive(Debug)]
pub(super) struct Certificate {
    der: CertificateDer<'static>,
    /// DER SubjectPublicKeyInfo.
    pub(super) key: Vec<u8>,
}

impl Certificate {
    fn from_pem(pem: &[u8]) -> Option<Self> {
        let der = CertificateDer::from_pem_slice(pem).ok()?.into_owned();
        let key = EndEntityCert::try_from(&der).ok()?.subject_public_key_info().to_vec();
        Some(Self { der, key })
    }

    /// Whether `now` lies within the certificate's dates.
    ///
    /// `webpki` shows no dates; it checks them first when it builds a path. No anchor is given, so that the path ends
    /// right after: the issuer is unknown, or (LocalStack) the certificate is an authority's own. All else is a refusal.
    pub(super) fn is_valid_at(&self, now: Timestamp) -> bool {
        let Ok(certificate) = EndEntityCert::try_from(&self.der) else {
            return false;
        };
        let seconds = u64::try_from(now.as_second()).unwrap_or(0);
        let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let path = certificate.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &[],
            &[],
            time,
            KeyUsage::server_auth(),
            None,
            None,
        );
        matches!(path, Err(Error::UnknownIssuer | Error::CaUsedAsEndEntity))
    }
}

/// Fetches a certificate. The caller has checked the host.
///
/// # Errors
/// A text for the log, without the URL.
pub(super) async fn fetch(http: &Client, url: &Url) -> Result<Arc<Certificate>, String> {
    let body = get(http, url).await?;
    Certificate::from_pem(&body).map(Arc::new).ok_or_else(|| "the signing certificate is unreadable".to_owned())
}

/// GET with a deadline and a bound; the answer must be a success.
///
/// # Errors
/// A text for the log, without the URL, which may carry a token.
pub(super) async fn get(http: &Client, url: &Url) -> Result<Vec<u8>, String> {
    let away = |error: reqwest::Error| error.without_url().to_string();
    let mut answer = http.get(url.clone()).timeout(TIMEOUT).send().await.map_err(away)?;
    if !answer.status().is_success() {
        return Err(format!("HTTP {}", answer.status()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(away)? {
        if body.len() + chunk.len() > MAX_FILE {
            return Err("the answer is too long".to_owned());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hosts_of_sns_are_trusted() {
        for url in [
            "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0.pem",
            "https://sns.us-gov-west-1.amazonaws.com/?Action=ConfirmSubscription",
            "https://sns.cn-north-1.amazonaws.com.cn/a.pem",
            "https://sns.us-east-1.amazonaws.com:443/a.pem",
        ] {
            assert!(is_amazon_sns(&url.parse().unwrap()), "{url}");
        }
        for url in [
            "http://sns.eu-central-1.amazonaws.com/a.pem",
            "https://sns.eu-central-1.amazonaws.com:8443/a.pem",
            "https://sns.eu-central-1.amazonaws.com.evil.example/a.pem",
            "https://evil.example/sns.eu-central-1.amazonaws.com/a.pem",
            "https://sns.eu-central-1.amazonaws.com@evil.example/a.pem",
            "https://me:x@sns.eu-central-1.amazonaws.com/a.pem",
            "https://xsns.eu-central-1.amazonaws.com/a.pem",
            "https://sns.s3.amazonaws.com/a.pem",
            "https://sns.s3-us-west-2.amazonaws.com/a.pem",
            "https://sns.s3.eu-central-1.amazonaws.com/a.pem",
            "https://sns.amazonaws.com/a.pem",
            "https://sns.-1.amazonaws.com/a.pem",
            "https://127.0.0.1/a.pem",
            "file:///a.pem",
        ] {
            assert!(!is_amazon_sns(&url.parse().unwrap()), "{url}");
        }
    }

    #[test]
    fn a_file_that_is_no_certificate_is_none() {
        assert!(Certificate::from_pem(b"").is_none());
        assert!(Certificate::from_pem(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").is_none());
    }
}
