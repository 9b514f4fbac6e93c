//! Azure Blob Storage: the store whose URLs are shared access signatures.
//!
//! Roles: *Storage Blob Data Contributor* on each container, *Storage Blob Delegator* on the account (it only allows
//! asking for the keys that sign), and, for tags, *Storage Blob Data Owner* on the served container instead; see
//! [`AzureStore::rbac_roles`]. Creates no container: blobs under the staging prefix and under the apps' prefixes.
//! A URL says one blob, one permission and an end. It cannot say size, type or digest; those are checked after the
//! upload. `c` without `w` means that nothing is overwritten. An upload is one Put Blob of at most 5,000 MiB.
//! Caveats: a listing names no versions; metadata names lose what Azure does not allow (`-` becomes `_`); tags do not
//! exist in accounts with a hierarchical namespace and are left out there; the emulator's URLs carry no `scid`.

mod blobs;
mod check;
mod copy;
mod delegation;
mod error;
mod identity;
mod lock;
pub mod sas;
pub mod shared_key;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use azure_core::http::ClientOptions;
use azure_storage_blob::{
    BlobClient, BlobClientOptions, BlobContainerClient, BlobContainerClientOptions, BlobServiceClient,
    BlobServiceClientOptions,
};
use jiff::Timestamp;
use url::Url;

use self::delegation::Keys;
use self::sas::{Place, Sas, SasKey};
use super::credentials::Credentials;
use super::key_file::KeyFileError;
use super::s3::presigner::content_disposition;
use super::{
    ByteStream, CheckItem, Listing, MintError, MintedDownload, MintedUpload, ObjectStore, Provider, ServedAttributes,
    SignedUrl, StorageError, StoredObject,
};
use crate::clock::Clock;
use crate::domain::bytes::StoredBytes;
use crate::domain::grant::{DownloadGrant, UploadGrant, UploadMethod};
use crate::domain::key::{Area, ObjectKey, Prefix};
use crate::domain::retention::{Kept, Lock, Retention};
use crate::domain::target::{ProviderSettings, Target};

pub use check::RoleAssignment;
pub use shared_key::AzureCredential;

/// The shortest life, in seconds, that a URL may be cut to because its key ends.
const USEFUL: i64 = 30;
/// How many seconds before its key's end a URL ends: the service's clock may be ahead.
const SKEW: i64 = 5;

/// One container, or two, of one account.
pub struct AzureStore {
    account: String,
    endpoint: Url,
    served: Container,
    staging: Container,
    keys: Arc<Keys>,
    options: ClientOptions,
    by_token: bool,
    retention: Option<Retention>,
    clock: Clock,
}

struct Container {
    name: String,
    place: Place,
}

/// Why a target cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The target is none of Azure.
    #[error("the target is not an Azure container")]
    Provider,
    /// The credentials are those of another provider.
    #[error("an Azure target takes account_key or account_key_file, or no credentials for Microsoft Entra ID")]
    Credentials,
    /// The account or a container has a name that Azure does not allow.
    #[error("'{0}' is no name of a storage account or container")]
    Name(String),
    /// The endpoint cannot be used as it is.
    #[error("the endpoint must be an http or https address without a query")]
    Endpoint,
    /// Tokens would travel unencrypted.
    #[error("Microsoft Entra ID needs an https endpoint; with http only account_key works")]
    Insecure,
    /// The account key is not base64.
    #[error(transparent)]
    AccountKey(#[from] shared_key::AccountKeyError),
    /// The file of the account key holds none.
    #[error(transparent)]
    AccountKeyFile(#[from] KeyFileError),
    /// No identity could be set up; the variables `AZURE_…` name one that cannot be used.
    #[error("the identity for Microsoft Entra ID cannot be set up; see the variables AZURE_…")]
    Identity,
    /// The account does not let the gateway ask for a user delegation key.
    #[error("no user delegation key; the gateway needs the role Storage Blob Delegator on the account: {0}")]
    Delegation(StorageError),
}

/// Opens a target with an account key, or as the identity of the default chain where no credentials are given.
///
/// Asks for the first user delegation key; needs a Tokio runtime for renewing it.
///
/// # Errors
/// [`OpenError`]. A service that is away is no error: URLs are refused until it is back.
pub async fn open(target: &Target, credentials: Option<&Credentials>, clock: Clock) -> Result<AzureStore, OpenError> {
    AzureStore::connect(target, credential(credentials)?, None, clock).await
}

/// The account key, or the identity of the default chain where no credentials are given.
///
/// # Errors
/// [`OpenError::Credentials`] for another provider's, [`OpenError::Identity`] where no identity can be set up.
pub fn credential(credentials: Option<&Credentials>) -> Result<AzureCredential, OpenError> {
    match credentials {
        Some(Credentials::AccountKey(key)) => Ok(AzureCredential::AccountKey(key.clone())),
        Some(Credentials::AccountKeyFile(path)) => Ok(AzureCredential::AccountKeyFile(path.clone())),
        Some(_) => Err(OpenError::Credentials),
        None => Ok(AzureCredential::Token(identity::default_chain().map_err(|_| OpenError::Identity)?)),
    }
}

impl AzureStore {
    /// As [`open`], with any credential, and with `http` as the connection pool where the endpoint's certificate is
    /// signed by a private authority.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn connect(
        target: &Target,
        credential: AzureCredential,
        http: Option<reqwest::Client>,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let ProviderSettings::Azure { account, endpoint, .. } = &target.provider else {
            return Err(OpenError::Provider);
        };
        let endpoint = match endpoint {
            Some(endpoint) => endpoint.clone(),
            None => Url::parse(&format!("https://{account}.blob.core.windows.net"))
                .map_err(|_| OpenError::Name(account.clone()))?,
        };
        if !matches!(endpoint.scheme(), "http" | "https") || endpoint.query().is_some() || !endpoint.has_host() {
            return Err(OpenError::Endpoint);
        }
        let by_token = matches!(credential, AzureCredential::Token(_));
        if by_token && endpoint.scheme() != "https" {
            return Err(OpenError::Insecure);
        }
        check_name(account, 24, "")?;
        let container = |name: &str| {
            check_name(name, 63, "-")?;
            let place = Place::new(endpoint.as_str().trim_end_matches('/'), account, name);
            Ok::<_, OpenError>(Container { name: name.to_owned(), place })
        };
        let (served, staging) = (container(target.bucket())?, container(target.staging())?);
        let options = shared_key::client_options(account, &credential, http, clock.clone())?;
        let keys = match &credential {
            AzureCredential::AccountKey(key) => Keys::fixed(SasKey::account(key)?),
            AzureCredential::AccountKeyFile(path) => Keys::file(path)?,
            AzureCredential::Token(_) => {
                let service = service(&endpoint, &options).map_err(|_| OpenError::Endpoint)?;
                Keys::delegated(service, clock.clone()).await.map_err(OpenError::Delegation)?
            }
        };
        let retention = target.retention;
        Ok(Self { account: account.clone(), endpoint, served, staging, keys, options, by_token, retention, clock })
    }

    fn container(&self, area: Area) -> &Container {
        match area {
            Area::Staging => &self.staging,
            Area::Served => &self.served,
        }
    }

    /// An address with the account's name in its path is an emulator's; in its host, Azure's.
    fn is_emulator(&self) -> bool {
        self.endpoint.path().trim_matches('/') == self.account
    }

    /// A client of one blob. The address is built here: the official `blob_client()` writes `/` as `%2F`.
    fn blob(&self, key: &ObjectKey) -> Result<BlobClient, StorageError> {
        let url = self.container(key.area()).place.url(key.path());
        let options = BlobClientOptions { client_options: self.options.clone(), version: sas::VERSION.to_owned() };
        BlobClient::new(address(&url)?, None, Some(options)).map_err(|error| error::translate(&error))
    }

    fn container_client(&self, area: Area) -> Result<BlobContainerClient, StorageError> {
        let url = self.container(area).place.url("");
        let options =
            BlobContainerClientOptions { client_options: self.options.clone(), version: sas::VERSION.to_owned() };
        BlobContainerClient::new(address(url.trim_end_matches('/'))?, None, Some(options))
            .map_err(|error| error::translate(&error))
    }

    fn service_client(&self) -> Result<BlobServiceClient, StorageError> {
        service(&self.endpoint, &self.options).map_err(|error| error::translate(&error))
    }

    /// Signs; the second value is when the URL really ends.
    fn mint(&self, area: Area, mut sas: Sas<'_>, from: Timestamp) -> Result<(SignedUrl, Timestamp), MintError> {
        let key = self.keys.current()?;
        let key = key.as_ref().ok_or(MintError::Credentials)?;
        let wanted = sas.expires_at.as_second();
        if wanted <= from.as_second() {
            return Err(MintError::Grant);
        }
        let last = key.expires_at().map_or(i64::MAX, |at| at.as_second() - SKEW);
        if last < wanted && last - from.as_second() < USEFUL {
            return Err(MintError::Credentials);
        }
        sas.expires_at = Timestamp::from_second(wanted.min(last)).map_err(|_| MintError::Grant)?;
        let url = key.sign(&self.container(area).place, &sas);
        Ok((SignedUrl::new(url), sas.expires_at))
    }

    fn https_only(&self) -> bool {
        self.endpoint.scheme() == "https"
    }
}

fn service(endpoint: &Url, options: &ClientOptions) -> azure_core::Result<BlobServiceClient> {
    let options = BlobServiceClientOptions { client_options: options.clone(), version: sas::VERSION.to_owned() };
    BlobServiceClient::new(endpoint.clone(), None, Some(options))
}

fn address(url: &str) -> Result<Url, StorageError> {
    Url::parse(url).map_err(|_| StorageError::Unexpected("an address that cannot be written".into()))
}

/// The names that Azure allows, as far as they matter in an address.
fn check_name(name: &str, longest: usize, also: &str) -> Result<(), OpenError> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || also.contains(c);
    if (3..=longest).contains(&name.len()) && name.chars().all(allowed) {
        Ok(())
    } else {
        Err(OpenError::Name(name.to_owned()))
    }
}

impl fmt::Debug for AzureStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AzureStore")
            .field("endpoint", &self.endpoint.as_str())
            .field("served", &self.served.name)
            .field("staging", &self.staging.name)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl ObjectStore for AzureStore {
    fn provider(&self) -> Provider {
        Provider::Azure
    }

    fn mint_upload(&self, grant: &UploadGrant) -> Result<MintedUpload, MintError> {
        if grant.key.area() != Area::Staging {
            return Err(MintError::Grant);
        }
        if grant.method != UploadMethod::Put {
            return Err(MintError::Unsupported);
        }
        let sas = Sas {
            permissions: "c",
            blob: grant.key.path(),
            expires_at: grant.expires_at,
            https_only: self.https_only(),
            // Azurite leaves the line of `scid` empty in its own string to sign, whatever the URL says.
            correlation: (!self.is_emulator()).then(|| grant.id.uuid()),
            version: None,
            content_disposition: None,
            content_type: None,
        };
        let (url, expires_at) = self.mint(Area::Staging, sas, grant.issued_at)?;
        let headers = vec![
            ("content-type", grant.content_type.as_str().to_owned()),
            ("content-length", grant.size.to_string()),
            // The permission already forbids it; the header makes an honest client's mistake a 409 instead of a 403.
            ("if-none-match", "*".to_owned()),
            ("x-ms-blob-type", "BlockBlob".to_owned()),
        ];
        Ok(MintedUpload { url, headers, fields: None, expires_at })
    }

    fn mint_download(&self, grant: &DownloadGrant) -> Result<MintedDownload, MintError> {
        if grant.key.area() != Area::Served {
            return Err(MintError::Grant);
        }
        let disposition = content_disposition(grant);
        let sas = Sas {
            permissions: "r",
            blob: grant.key.path(),
            expires_at: grant.expires_at,
            https_only: self.https_only(),
            correlation: (!self.is_emulator()).then(|| grant.id.uuid()),
            version: grant.bytes.version.as_deref(),
            content_disposition: Some(&disposition),
            content_type: Some(grant.content_type.as_str()),
        };
        let (url, expires_at) = self.mint(Area::Served, sas, grant.issued_at)?;
        Ok(MintedDownload { url, expires_at })
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<StoredObject>, StorageError> {
        blobs::head(&self.blob(key)?).await
    }

    async fn get(&self, key: &ObjectKey, bytes: &StoredBytes) -> Result<ByteStream, StorageError> {
        blobs::get(&self.blob(key)?, bytes).await
    }

    async fn copy(
        &self,
        from: &ObjectKey,
        bytes: &StoredBytes,
        to: &ObjectKey,
        attributes: &ServedAttributes,
    ) -> Result<StoredBytes, StorageError> {
        let source = self.container(from.area()).place.url(from.path());
        copy::copy(&self.blob(to)?, source, bytes, attributes).await
    }

    async fn delete(&self, key: &ObjectKey, version: Option<&str>) -> Result<(), StorageError> {
        blobs::delete(&self.blob(key)?, version, self.clock.now()).await
    }

    async fn lock(&self, key: &ObjectKey, bytes: &StoredBytes, lock: &Lock) -> Result<(), StorageError> {
        lock::lock(&self.blob(key)?, bytes, lock).await
    }

    async fn kept(&self, key: &ObjectKey, bytes: &StoredBytes) -> Result<Kept, StorageError> {
        lock::kept(&self.blob(key)?, bytes.version.as_deref()).await
    }

    async fn list(
        &self,
        area: Area,
        prefix: &Prefix,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Listing, StorageError> {
        blobs::list(&self.container_client(area)?, prefix, cursor, limit).await
    }

    async fn set_tags(&self, key: &ObjectKey, tags: &[(String, String)]) -> Result<(), StorageError> {
        blobs::set_tags(&self.blob(key)?, tags).await
    }

    async fn tags(&self, key: &ObjectKey) -> Result<Vec<(String, String)>, StorageError> {
        blobs::tags(&self.blob(key)?).await
    }

    async fn probe(&self) -> Result<(), StorageError> {
        error::call(self.container_client(Area::Served)?.get_properties(None)).await?;
        if self.staging.name != self.served.name {
            error::call(self.container_client(Area::Staging)?.get_properties(None)).await?;
        }
        if self.retention.is_some() { self.can_retain().await } else { Ok(()) }
    }

    async fn check(&self) -> Vec<CheckItem> {
        self.checked().await
    }
}

#[cfg(test)]
mod tests;
