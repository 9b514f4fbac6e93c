//! The storage's keys: as configured, and as the hot path reads them.
//!
//! [`Credentials`] is what an operator writes under `[credentials.<name>]`. [`CredentialSource`] is what a signer asks:
//! a snapshot behind an atomic pointer, so that minting neither waits nor locks, while a background task fetches new
//! temporary credentials long before the old ones end. Secrets are redacted in `Debug`, and nothing here has `Display`.
//! Absent on purpose: any way to write a secret back out, and any fallback from configured keys to the default chain.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::{ArcSwapOption, Guard};
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::key_file::{self, KeyFileError, Watch};
use super::{MintError, StorageError};
use crate::clock::Clock;

/// One `[credentials.<name>]` entry: an S3 access key (`access_key_id`, `secret_access_key`, optional `session_token`),
/// an Azure storage account's key (`account_key`), or a file that holds one of them and is read again when it changes
/// (`access_key_file`, `account_key_file`; see [`super::key_file`]).
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Entry")]
pub enum Credentials {
    /// Keys of an S3 user or role.
    AccessKey(AccessKey),
    /// The base64 key of an Azure storage account.
    AccountKey(SecretString),
    /// A file with the keys of an S3 user or role.
    AccessKeyFile(PathBuf),
    /// A file with the base64 key of an Azure storage account.
    AccountKeyFile(PathBuf),
}

/// Keys of an S3 user or role.
#[derive(Clone, Debug)]
pub struct AccessKey {
    /// The public half, for example `AKIA…`.
    pub access_key_id: String,
    /// The secret half.
    pub secret_access_key: SecretString,
    /// The token that goes with temporary keys.
    pub session_token: Option<SecretString>,
}

/// An entry as written, before it is known which provider it is for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    access_key_id: Option<String>,
    secret_access_key: Option<SecretString>,
    session_token: Option<SecretString>,
    account_key: Option<SecretString>,
    access_key_file: Option<PathBuf>,
    account_key_file: Option<PathBuf>,
}

/// An entry that is for no provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "credentials are access_key_id with secret_access_key or access_key_file alone (S3), or account_key or \
     account_key_file alone (Azure)"
)]
pub struct CredentialsError;

impl TryFrom<Entry> for Credentials {
    type Error = CredentialsError;

    fn try_from(entry: Entry) -> Result<Self, CredentialsError> {
        let Entry { access_key_id, secret_access_key, session_token, account_key, access_key_file, account_key_file } =
            entry;
        let access_key = match (access_key_id, secret_access_key, session_token) {
            (Some(access_key_id), Some(secret_access_key), session_token) if AccessKey::is_id(&access_key_id) => {
                Some(AccessKey { access_key_id, secret_access_key, session_token })
            }
            (None, None, None) => None,
            _ => return Err(CredentialsError),
        };
        match (access_key, account_key, access_key_file, account_key_file) {
            (Some(key), None, None, None) => Ok(Self::AccessKey(key)),
            (None, Some(key), None, None) => Ok(Self::AccountKey(key)),
            (None, None, Some(file), None) => Ok(Self::AccessKeyFile(file)),
            (None, None, None, Some(file)) => Ok(Self::AccountKeyFile(file)),
            _ => Err(CredentialsError),
        }
    }
}

impl AccessKey {
    /// Whether this can be the public half: it goes into addresses and logs as it is.
    pub(super) fn is_id(text: &str) -> bool {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    }
}

/// S3 credentials as they stand at one moment.
pub struct Snapshot {
    /// The public half.
    pub access_key_id: String,
    secret_access_key: SecretString,
    session_token: Option<SessionToken>,
    /// When they stop working; `None` for keys without an end.
    pub expires_at: Option<Timestamp>,
}

struct SessionToken {
    plain: SecretString,
    /// Percent-encoded once here, because every URL carries it.
    encoded: SecretString,
}

impl Snapshot {
    fn new(key: &AccessKey, expires_at: Option<Timestamp>) -> Self {
        let session_token = key.session_token.as_ref().map(|token| {
            let mut encoded = String::new();
            super::s3::encode::push(&mut encoded, token.expose_secret());
            SessionToken { plain: token.clone(), encoded: encoded.into() }
        });
        Self {
            access_key_id: key.access_key_id.clone(),
            secret_access_key: key.secret_access_key.clone(),
            session_token,
            expires_at,
        }
    }

    /// The secret half: for deriving a signing key and nothing else.
    pub(super) fn secret(&self) -> &str {
        self.secret_access_key.expose_secret()
    }

    /// The session token, as a form field carries it.
    pub(super) fn token(&self) -> Option<&str> {
        self.session_token.as_ref().map(|token| token.plain.expose_secret())
    }

    /// The session token, as a query carries it.
    pub(super) fn encoded_token(&self) -> Option<&str> {
        self.session_token.as_ref().map(|token| token.encoded.expose_secret())
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("access_key_id", &self.access_key_id)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// Where a signer gets S3 credentials from.
#[derive(Debug)]
pub struct CredentialSource {
    current: ArcSwapOption<Snapshot>,
}

/// How long before a retry, where the chain does not answer.
const RETRY: Duration = Duration::from_secs(5);
/// Longest time between two looks at the chain: a rotated profile or role is noticed within it.
const LONGEST: Duration = Duration::from_secs(300);
/// How long the chain may take to answer.
const DEADLINE: Duration = Duration::from_secs(20);

impl CredentialSource {
    /// Keys that never change.
    pub fn fixed(key: &AccessKey) -> Arc<Self> {
        Arc::new(Self { current: ArcSwapOption::from_pointee(Snapshot::new(key, None)) })
    }

    /// Temporary keys that end at `expires_at` and are not renewed.
    pub fn temporary(key: &AccessKey, expires_at: Timestamp) -> Arc<Self> {
        Arc::new(Self { current: ArcSwapOption::from_pointee(Snapshot::new(key, Some(expires_at))) })
    }

    /// The keys in a file, which is read again when it changes: within [`super::key_file::LOOK`], as long as somebody owns
    /// the source.
    ///
    /// # Errors
    /// [`KeyFileError`] where the file holds no keys now.
    pub fn file(path: &Path) -> Result<Arc<Self>, KeyFileError> {
        let (source, watch) = Self::watched(path)?;
        watch.start();
        Ok(source)
    }

    fn watched(path: &Path) -> Result<(Arc<Self>, Watch<Self>), KeyFileError> {
        fn read(path: &Path, contents: &SecretString) -> Result<Snapshot, KeyFileError> {
            key_file::access_key(path, contents).map(|(key, expires_at)| Snapshot::new(&key, expires_at))
        }
        let contents = key_file::read(path)?;
        let source = Arc::new(Self { current: ArcSwapOption::from_pointee(read(path, &contents)?) });
        let take = |source: &Self, path: &Path, contents: &SecretString| {
            source.current.store(Some(Arc::new(read(path, contents)?)));
            Ok(())
        };
        let watch = Watch::new(path, &contents, &source, take);
        Ok((source, watch))
    }

    /// The default chain of the AWS SDKs: environment, profile, web identity, container, instance. A background task
    /// renews them, at the latest when half of their remaining life is over, and ends with the last owner.
    ///
    /// # Errors
    /// [`StorageError::Denied`] where the chain has no credentials now: a server that cannot sign says so at start.
    pub async fn default_chain(region: &str, clock: Clock) -> Result<Arc<Self>, StorageError> {
        let none = || StorageError::Denied("the AWS default chain holds no credentials".into());
        let config = aws_config::defaults(aws_config::BehaviorVersion::latest())
            .region(aws_config::Region::new(region.to_owned()))
            .load()
            .await;
        let chain = config.credentials_provider().ok_or_else(none)?;
        let first = fetch(&chain).await.ok_or_else(none)?;
        let source = Arc::new(Self { current: ArcSwapOption::from_pointee(first) });
        tokio::spawn(renew(Arc::downgrade(&source), chain, clock));
        Ok(source)
    }

    /// The credentials as they stand. No I/O, no lock.
    ///
    /// # Errors
    /// [`MintError::Credentials`] where there are none.
    pub(super) fn current(&self) -> Result<Guard<Option<Arc<Snapshot>>>, MintError> {
        let guard = self.current.load();
        if guard.is_some() { Ok(guard) } else { Err(MintError::Credentials) }
    }

    /// The same credentials for an SDK client.
    pub fn provider(self: &Arc<Self>) -> SharedCredentialsProvider {
        SharedCredentialsProvider::new(ForSdk(Arc::clone(self)))
    }
}

async fn fetch(chain: &SharedCredentialsProvider) -> Option<Snapshot> {
    let found = match tokio::time::timeout(DEADLINE, chain.provide_credentials()).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            tracing::warn!(%error, "the AWS default chain gave no credentials");
            return None;
        }
        Err(_) => {
            tracing::warn!("the AWS default chain did not answer in time");
            return None;
        }
    };
    let key = AccessKey {
        access_key_id: found.access_key_id().to_owned(),
        secret_access_key: found.secret_access_key().into(),
        session_token: found.session_token().map(Into::into),
    };
    Some(Snapshot::new(&key, found.expiry().and_then(|at| Timestamp::try_from(at).ok())))
}

/// Runs until nobody holds the source any more.
async fn renew(source: Weak<CredentialSource>, chain: SharedCredentialsProvider, clock: Clock) {
    loop {
        let Some(owned) = source.upgrade() else { return };
        let wait = next_look(owned.current.load().as_ref().and_then(|held| held.expires_at), clock.now());
        drop(owned);
        tokio::time::sleep(wait).await;
        let Some(owned) = source.upgrade() else { return };
        look(&owned, &chain).await;
    }
}

/// Asks the chain once. What was fetched last stays in use while the chain is away; its own expiry then ends the minting.
/// An unchanged answer keeps its pointer, so that the cached signing key stays good.
async fn look(source: &CredentialSource, chain: &SharedCredentialsProvider) {
    let Some(fresh) = fetch(chain).await else { return };
    let same = source.current.load().as_ref().is_some_and(|held| {
        held.access_key_id == fresh.access_key_id
            && held.secret() == fresh.secret()
            && held.token() == fresh.token()
            && held.expires_at == fresh.expires_at
    });
    if !same {
        source.current.store(Some(Arc::new(fresh)));
    }
}

/// Half of the remaining life, between [`RETRY`] and [`LONGEST`].
fn next_look(expires_at: Option<Timestamp>, now: Timestamp) -> Duration {
    let remaining = expires_at.map_or(LONGEST * 2, |at| Duration::try_from(at.duration_since(now)).unwrap_or_default());
    (remaining / 2).clamp(RETRY, LONGEST)
}

/// Hands the snapshot to an SDK client, so that calls and URLs are signed with the same keys.
#[derive(Debug)]
struct ForSdk(Arc<CredentialSource>);

impl ProvideCredentials for ForSdk {
    fn provide_credentials<'a>(&'a self) -> aws_credential_types::provider::future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        use aws_credential_types::provider::{error::CredentialsError, future};
        let held = self.0.current.load();
        future::ProvideCredentials::ready(held.as_ref().map_or_else(
            || Err(CredentialsError::not_loaded("no storage credentials")),
            |held| {
                Ok(aws_credential_types::Credentials::new(
                    &held.access_key_id,
                    held.secret(),
                    held.token().map(str::to_owned),
                    held.expires_at.map(Into::into),
                    "vestibule",
                ))
            },
        ))
    }
}

#[cfg(test)]
mod tests;
