//! Shared Key authorisation for Microsoft's clients, which come without it.
//!
//! [`SharedKeyPolicy`] signs every try of a request with an account key ("Authorize with Shared Key", the form of
//! version 2015-02-21 and later for the Blob and Queue services); [`client_options`] puts it, or a bearer token, below
//! any client of `azure_storage_blob` or `azure_storage_queue`:
//! `QueueClientOptions { client_options: client_options(…)?, ..Default::default() }` with `None` as the credential.
//! The key lives only as a keyed HMAC state and is never printed. Absent on purpose: Shared Key Lite, Table and File.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use azure_core::credentials::TokenCredential;
use azure_core::http::headers::HeaderName;
use azure_core::http::policies::auth::BearerTokenAuthorizationPolicy;
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{
    ClientOptions, Context, ExponentialRetryOptions, HttpClientOptions, Request, RetryOptions, Transport,
    new_http_client,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use super::OpenError;
use crate::clock::Clock;
use crate::storage::key_file::{self, KeyFileError, Watch};

/// HMAC-SHA256 with its key schedule done; cloning it is cheaper than keying it.
pub(super) type Keyed = Hmac<Sha256>;

/// The scope of a token for Azure Storage, the same for blobs and queues.
const SCOPE: &str = "https://storage.azure.com/.default";

/// How the gateway itself proves who it is.
#[derive(Clone)]
pub enum AzureCredential {
    /// The account's key, base64 as the portal shows it: Azurite, and accounts without Microsoft Entra ID.
    AccountKey(SecretString),
    /// The same in a file, which is read again when it changes.
    AccountKeyFile(PathBuf),
    /// Tokens of Microsoft Entra ID; https only.
    Token(Arc<dyn TokenCredential>),
}

impl fmt::Debug for AzureCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AzureCredential::AccountKey(_) => "AccountKey([redacted])",
            AzureCredential::AccountKeyFile(_) => "AccountKeyFile",
            AzureCredential::Token(_) => "Token",
        })
    }
}

/// An account key that is not base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the account key is not base64; copy it from the portal as it is")]
pub struct AccountKeyError;

/// Keys an HMAC with a base64 key, as account keys and user delegation keys are written.
pub(super) fn keyed(key: &SecretString) -> Result<Keyed, AccountKeyError> {
    let bytes = BASE64.decode(key.expose_secret().trim()).map_err(|_| AccountKeyError)?;
    if bytes.is_empty() {
        return Err(AccountKeyError);
    }
    Keyed::new_from_slice(&bytes).map_err(|_| AccountKeyError)
}

/// Options for any client of the official storage crates: authorisation, a shared connection pool, and few retries, so
/// that a store that is away is reported within seconds. Pass `None` as the client's own credential.
///
/// `http` replaces the connection pool, for an endpoint whose certificate a private authority signed; it must not
/// decompress answers, because lengths and ranges are those of the stored bytes.
///
/// # Errors
/// [`OpenError::AccountKey`] or [`OpenError::AccountKeyFile`] where the key is not base64.
pub fn client_options(
    account: &str,
    credential: &AzureCredential,
    http: Option<reqwest::Client>,
    clock: Clock,
) -> Result<ClientOptions, OpenError> {
    let policy: Arc<dyn Policy> = match credential {
        AzureCredential::AccountKeyFile(path) => SharedKeyPolicy::file(account, path, clock)?,
        AzureCredential::AccountKey(key) => Arc::new(SharedKeyPolicy::new(account, key, clock)?),
        AzureCredential::Token(token) => Arc::new(BearerTokenAuthorizationPolicy::new(Arc::clone(token), [SCOPE])),
    };
    let transport = Transport::new(match http {
        Some(client) => Arc::new(client),
        None => new_http_client(Some(HttpClientOptions { automatic_decompression: false })),
    });
    Ok(ClientOptions {
        per_try_policies: vec![policy],
        retry: RetryOptions::exponential(ExponentialRetryOptions {
            max_retries: 3,
            max_total_elapsed: azure_core::time::Duration::seconds(10),
            ..ExponentialRetryOptions::default()
        }),
        transport: Some(transport),
        ..ClientOptions::default()
    })
}

/// Signs each try with an account key. Goes into `ClientOptions::per_try_policies`: the date is part of the signature.
pub struct SharedKeyPolicy {
    account: String,
    key: ArcSwap<Keyed>,
    clock: Clock,
}

impl SharedKeyPolicy {
    /// A policy for one account.
    ///
    /// # Errors
    /// [`AccountKeyError`] where the key is not base64.
    pub fn new(account: &str, key: &SecretString, clock: Clock) -> Result<Self, AccountKeyError> {
        Ok(Self { account: account.to_owned(), key: ArcSwap::from_pointee(keyed(key)?), clock })
    }

    /// A policy for one account whose key lies in a file, which is read again when it changes.
    fn file(account: &str, path: &Path, clock: Clock) -> Result<Arc<Self>, KeyFileError> {
        let (policy, watch) = Self::watched(account, path, clock)?;
        watch.start();
        Ok(policy)
    }

    fn watched(account: &str, path: &Path, clock: Clock) -> Result<(Arc<Self>, Watch<Self>), KeyFileError> {
        let wrong = |error| KeyFileError::new(path, error);
        let last = key_file::read(path)?;
        let policy = Arc::new(Self::new(account, &last, clock).map_err(wrong)?);
        let take = |policy: &Self, path: &Path, contents: &SecretString| {
            let key = keyed(contents).map_err(|error| KeyFileError::new(path, error))?;
            policy.key.store(Arc::new(key));
            Ok(())
        };
        let watch = Watch::new(path, &last, &policy, take);
        Ok((policy, watch))
    }

    fn authorization(&self, request: &Request) -> String {
        let mut mac = Keyed::clone(&self.key.load());
        mac.update(string_to_sign(&self.account, request).as_bytes());
        format!("SharedKey {}:{}", self.account, BASE64.encode(mac.finalize().into_bytes()))
    }
}

impl fmt::Debug for SharedKeyPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedKeyPolicy").field("account", &self.account).finish_non_exhaustive()
    }
}

#[async_trait]
impl Policy for SharedKeyPolicy {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        let date = jiff::fmt::rfc2822::DateTimePrinter::new()
            .timestamp_to_rfc9110_string(&self.clock.now())
            .map_err(|error| azure_core::Error::new(azure_core::error::ErrorKind::DataConversion, error))?;
        request.insert_header("x-ms-date", date);
        request.insert_header("authorization", self.authorization(request));
        match next.split_first() {
            Some((following, rest)) => following.send(ctx, request, rest).await,
            None => Err(azure_core::Error::with_message(
                azure_core::error::ErrorKind::Other,
                "a signing policy cannot be the last of a pipeline",
            )),
        }
    }
}

/// The headers with a line of their own, in this order. The date stands in `x-ms-date` and leaves its line empty.
const LINES: [&str; 11] = [
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
];

fn string_to_sign(account: &str, request: &Request) -> String {
    let header = |name: &'static str| request.headers().get_optional_str(&HeaderName::from_static(name));
    let mut text = String::with_capacity(512);
    text.push_str(request.method().as_str());
    text.push('\n');
    for name in LINES {
        if name == "content-length" {
            // The transport writes this header after the signature; the body knows it already. Zero is left empty.
            match header(name).map(str::to_owned).or_else(|| request.body().len().map(|length| length.to_string())) {
                Some(length) if length != "0" => text.push_str(&length),
                _ => {}
            }
        } else {
            text.push_str(header(name).unwrap_or_default().trim());
        }
        text.push('\n');
    }
    push_headers(&mut text, request);
    push_resource(&mut text, account, request);
    text
}

fn push_headers(text: &mut String, request: &Request) {
    let mut headers: Vec<(String, &str)> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str().to_ascii_lowercase(), value.as_str()))
        .filter(|(name, _)| name.starts_with("x-ms-"))
        .collect();
    headers.sort_by_cached_key(|(name, _)| (collation(name), name.clone()));
    for (name, value) in headers {
        text.push_str(&name);
        text.push(':');
        text.push_str(value.trim());
        text.push('\n');
    }
}

/// The service sorts names as .NET's invariant culture does, not by bytes: hyphens count for nothing, then `_`, digits,
/// letters. Only metadata names can tell the difference. Microsoft's own clients carry the same table.
fn collation(name: &str) -> Vec<u8> {
    let rank = |b: u8| match b {
        b'0'..=b'9' => 0x40 | (b & 0x0f),
        b'a'..=b'z' => b,
        _ => 0x20,
    };
    name.bytes().filter(|&b| b != b'-').map(rank).collect()
}

fn push_resource(text: &mut String, account: &str, request: &Request) {
    text.push('/');
    text.push_str(account);
    text.push_str(request.url().path());
    let mut pairs: Vec<(String, String)> =
        request.url().query_pairs().map(|(name, value)| (name.to_ascii_lowercase(), value.into_owned())).collect();
    pairs.sort();
    let mut previous: Option<&str> = None;
    for (name, value) in &pairs {
        if previous == Some(name) {
            text.push(',');
        } else {
            text.push('\n');
            text.push_str(name);
            text.push(':');
        }
        text.push_str(value);
        previous = Some(name);
    }
}

#[cfg(test)]
mod tests {
    use azure_core::http::Method;

    use super::*;

    fn request(method: Method, url: &str, headers: &[(&'static str, &'static str)]) -> Request {
        let mut request = Request::new(url.parse().unwrap(), method);
        for &(name, value) in headers {
            request.insert_header(name, value);
        }
        request
    }

    #[test]
    fn the_published_example_of_container_metadata_is_canonicalised_as_printed() {
        // learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key, "Get Container Metadata".
        let request = request(
            Method::Get,
            "http://myaccount.blob.core.windows.net/mycontainer?restype=container&comp=metadata&timeout=20",
            &[("x-ms-version", "2015-02-21"), ("x-ms-date", "Fri, 26 Jun 2015 23:39:12 GMT")],
        );
        assert_eq!(
            string_to_sign("myaccount", &request),
            "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2015-02-21\n\
             /myaccount/mycontainer\ncomp:metadata\nrestype:container\ntimeout:20"
        );
    }

    #[test]
    fn the_published_rules_for_repeated_parameters_are_kept() {
        // The same page, "Constructing the canonicalized resource string": a list of values is sorted and joined.
        let request = request(
            Method::Get,
            "http://myaccount.blob.core.windows.net/mycontainer?restype=container&comp=list&include=snapshots&include=metadata&include=uncommittedblobs",
            &[],
        );
        assert!(string_to_sign("myaccount", &request).ends_with(
            "/myaccount/mycontainer\ncomp:list\ninclude:metadata,snapshots,uncommittedblobs\nrestype:container"
        ));
    }

    #[test]
    fn a_body_has_its_length_signed_and_an_empty_one_has_not() {
        let url = "http://127.0.0.1:10000/devstoreaccount1/c/a%20b?comp=block";
        let mut put = request(Method::Put, url, &[("content-type", "text/plain"), ("if-match", "\"0x1\"")]);
        put.set_body(azure_core::Bytes::from_static(b"hello"));
        assert_eq!(
            string_to_sign("devstoreaccount1", &put),
            "PUT\n\n\n5\n\ntext/plain\n\n\n\"0x1\"\n\n\n\n/devstoreaccount1/devstoreaccount1/c/a%20b\ncomp:block"
        );
        let empty = request(Method::Put, url, &[("content-length", "0")]);
        assert!(string_to_sign("devstoreaccount1", &empty).starts_with("PUT\n\n\n\n"));
    }

    #[test]
    fn names_sort_with_underscores_before_digits_before_letters() {
        let request = request(
            Method::Put,
            "https://a.blob.core.windows.net/c/b",
            &[
                ("x-ms-meta-ab", "4"),
                ("x-ms-meta-a", "1"),
                ("x-ms-meta-a0", "3"),
                ("x-ms-meta-a_z", "2"),
                ("x-ms-blob-type", "0"),
                ("accept", "unsigned"),
            ],
        );
        let mut text = String::new();
        push_headers(&mut text, &request);
        assert_eq!(text, "x-ms-blob-type:0\nx-ms-meta-a:1\nx-ms-meta-a_z:2\nx-ms-meta-a0:3\nx-ms-meta-ab:4\n");
    }

    #[test]
    fn keys_that_are_not_base64_are_refused_and_never_printed() {
        assert!(SharedKeyPolicy::new("a", &"hush!".into(), Clock::system()).is_err());
        assert!(SharedKeyPolicy::new("a", &"".into(), Clock::system()).is_err());
        let credential = AzureCredential::AccountKey("aHVzaA==".into());
        let policy = SharedKeyPolicy::new("a", &"aHVzaA==".into(), Clock::system()).unwrap();
        let printed = format!("{credential:?} {policy:?}");
        assert!(!printed.contains("aHVzaA") && !printed.contains("hush"), "{printed}");
    }

    #[test]
    fn a_changed_account_key_signs_the_next_request() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("account");
        std::fs::write(&path, "aHVzaA==").unwrap();
        let (policy, mut watch) = SharedKeyPolicy::watched("acct", &path, Clock::system()).unwrap();
        let signed = || policy.authorization(&request(Method::Get, "https://acct.blob.core.windows.net/a", &[]));
        let first = signed();
        std::fs::write(&path, "c2lsZW5jZQ==").unwrap();
        assert!(watch.look());
        let second = signed();
        assert_ne!(second, first);
        std::fs::write(&path, "hush!").unwrap();
        assert!(watch.look());
        assert_eq!(signed(), second, "the key before stays in use");
    }
}
