//! The key that signs URLs, kept fresh in the background.
//!
//! Minting reads a snapshot behind an atomic pointer: no I/O, no lock. An account key changes with its file, where it lies in one. A user delegation
//! key is asked for with the gateway's own token, lives [`LIFE`], and is replaced when half of that is over, so that
//! Microsoft Entra ID may be away for hours before the first URL cannot be minted. Then minting fails; it never falls
//! back to another kind of key. Revoking the account's delegation keys ends every URL at once; the next renewal, or a
//! restart, brings new ones.

use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::{ArcSwapOption, Guard};
use azure_storage_blob::BlobServiceClient;
use azure_storage_blob::models::KeyInfo;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use secrecy::SecretString;

use super::error::call;
use super::sas::{DelegationKey, SasKey};
use crate::clock::Clock;
use crate::storage::key_file::{self, KeyFileError, Watch};
use crate::storage::{MintError, StorageError};

/// How long a delegation key lives. Azure allows seven days; a leaked one should be of little use.
const LIFE: Duration = Duration::from_secs(6 * 3600);
/// The key is valid from a little earlier: the service's clock may be behind ours.
const SKEW: Duration = Duration::from_secs(300);
/// How long before a failed request for a key is repeated.
const RETRY: Duration = Duration::from_secs(5);

/// The current signing key.
#[derive(Debug)]
pub(super) struct Keys {
    current: ArcSwapOption<SasKey>,
}

impl Keys {
    /// An account key.
    pub(super) fn fixed(key: SasKey) -> Arc<Self> {
        Arc::new(Self { current: ArcSwapOption::from_pointee(key) })
    }

    /// The account key in a file, which is read again when it changes.
    ///
    /// # Errors
    /// [`KeyFileError`] where the file holds none now.
    pub(super) fn file(path: &Path) -> Result<Arc<Self>, KeyFileError> {
        let (keys, watch) = Self::watched(path)?;
        watch.start();
        Ok(keys)
    }

    fn watched(path: &Path) -> Result<(Arc<Self>, Watch<Self>), KeyFileError> {
        fn read(path: &Path, contents: &SecretString) -> Result<SasKey, KeyFileError> {
            SasKey::account(contents).map_err(|error| KeyFileError::new(path, error))
        }
        let last = key_file::read(path)?;
        let keys = Self::fixed(read(path, &last)?);
        let take = |keys: &Self, path: &Path, contents: &SecretString| {
            keys.current.store(Some(Arc::new(read(path, contents)?)));
            Ok(())
        };
        let watch = Watch::new(path, &last, &keys, take);
        Ok((keys, watch))
    }

    /// User delegation keys, renewed by a background task that ends with the last owner.
    ///
    /// # Errors
    /// [`StorageError::Denied`] where the gateway may not ask for one. A service that is away is waited for.
    pub(super) async fn delegated(service: BlobServiceClient, clock: Clock) -> Result<Arc<Self>, StorageError> {
        let first = match fetch(&service, &clock).await {
            Ok(key) => Some(Arc::new(key)),
            Err(error) if error.is_transient() => {
                tracing::warn!(%error, "no user delegation key yet; no Azure URL can be minted until there is one");
                None
            }
            Err(error) => return Err(error),
        };
        let keys = Arc::new(Self { current: ArcSwapOption::new(first) });
        tokio::spawn(renew(Arc::downgrade(&keys), service, clock));
        Ok(keys)
    }

    /// The key as it stands. No I/O, no lock.
    ///
    /// # Errors
    /// [`MintError::Credentials`] where there is none.
    pub(super) fn current(&self) -> Result<Guard<Option<Arc<SasKey>>>, MintError> {
        let guard = self.current.load();
        if guard.is_some() { Ok(guard) } else { Err(MintError::Credentials) }
    }
}

async fn renew(keys: Weak<Keys>, service: BlobServiceClient, clock: Clock) {
    let mut failed = false;
    loop {
        let Some(owned) = keys.upgrade() else { return };
        let ends = owned.current.load().as_ref().and_then(|key| key.expires_at());
        drop(owned);
        tokio::time::sleep(if failed { RETRY } else { wait(ends, clock.now()) }).await;
        match fetch(&service, &clock).await {
            Ok(key) => {
                let Some(owned) = keys.upgrade() else { return };
                owned.current.store(Some(Arc::new(key)));
                failed = false;
            }
            Err(error) => {
                tracing::warn!(%error, "the user delegation key could not be renewed");
                failed = true;
            }
        }
    }
}

/// Until half of what is left of the key's life is over; the service may have granted less than was asked for.
fn wait(expires_at: Option<Timestamp>, now: Timestamp) -> Duration {
    let left = expires_at.map_or(Duration::ZERO, |at| Duration::try_from(at.duration_since(now)).unwrap_or_default());
    (left / 2).max(RETRY)
}

async fn fetch(service: &BlobServiceClient, clock: &Clock) -> Result<SasKey, StorageError> {
    let unexpected = |what: &str| StorageError::Unexpected(format!("a user delegation key {what}"));
    let now = clock.now();
    let info = KeyInfo { start: Some(offset(now - SKEW)?), expiry: Some(offset(now + LIFE)?), ..KeyInfo::default() };
    let info = info.try_into().map_err(|_| unexpected("cannot be asked for"))?;
    let key = call(service.get_user_delegation_key(info, None)).await?;
    let key = key.into_model().map_err(|_| unexpected("that cannot be read"))?;
    let time = |at: Option<azure_core::time::OffsetDateTime>| {
        at.and_then(|at| Timestamp::from_second(at.unix_timestamp()).ok())
            .ok_or_else(|| unexpected("without its times"))
    };
    let text = |value: Option<String>| value.ok_or_else(|| unexpected("with a part missing"));
    let key = DelegationKey {
        object_id: text(key.signed_oid)?,
        tenant_id: text(key.signed_tid)?,
        starts_at: time(key.signed_start)?,
        expires_at: time(key.signed_expiry)?,
        service: text(key.signed_service)?,
        version: text(key.signed_version)?,
        value: BASE64.encode(key.value.ok_or_else(|| unexpected("without its value"))?).into(),
    };
    SasKey::delegation(&key).map_err(|_| unexpected("that is empty"))
}

/// The clients' own time type, in whole seconds: the key's times are part of what it signs.
fn offset(at: Timestamp) -> Result<azure_core::time::OffsetDateTime, StorageError> {
    azure_core::time::OffsetDateTime::from_unix_timestamp(at.as_second())
        .map_err(|_| StorageError::Unexpected("a time beyond the calendar".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_account_key_signs_the_next_url() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("account");
        std::fs::write(&path, "aHVzaA==\n").unwrap();
        let (keys, mut watch) = Keys::watched(&path).unwrap();
        let place = super::super::sas::Place::new("https://acct.blob.core.windows.net", "acct", "staged");
        let signed = || {
            let sas = super::super::sas::Sas {
                permissions: "c",
                blob: "a",
                expires_at: Timestamp::UNIX_EPOCH,
                https_only: true,
                correlation: None,
                version: None,
                content_disposition: None,
                content_type: None,
            };
            keys.current().unwrap().as_ref().unwrap().sign(&place, &sas)
        };
        let first = signed();
        assert!(watch.look());
        assert_eq!(signed(), first);
        std::fs::write(&path, "c2lsZW5jZQ==\n").unwrap();
        assert!(watch.look());
        let second = signed();
        assert_ne!(second, first);
        std::fs::write(&path, "no base64!").unwrap();
        assert!(watch.look());
        assert_eq!(signed(), second, "the key before stays in use");
    }

    #[test]
    fn a_key_is_renewed_when_half_of_its_life_is_over() {
        let now: Timestamp = "2026-11-21T20:00:00Z".parse().unwrap();
        assert_eq!(wait(Some(now + LIFE), now), LIFE / 2);
        assert_eq!(wait(Some(now + Duration::from_secs(60)), now), Duration::from_secs(30));
        assert_eq!(wait(Some(now - Duration::from_secs(60)), now), RETRY);
        assert_eq!(wait(None, now), RETRY);
    }
}
