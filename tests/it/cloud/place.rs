//! Where a test's objects lie: a bucket of its own on LocalStack, or a container of its own on Azurite.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_s3::primitives::ByteStream;
use azure_storage_blob::{BlobContainerClient, BlobContainerClientOptions};
use futures::future::BoxFuture;
use url::Url;
use vestibule::clock::Clock;
use vestibule::domain::grant::{UploadGrant, UploadMethod};
use vestibule::domain::ids::{GrantId, ObjectId};
use vestibule::domain::key::{Area, ObjectKey, Prefix};
use vestibule::domain::principal::Environment;
use vestibule::domain::target::{ProviderSettings, Target};
use vestibule::storage::azure::{self, AzureCredential, shared_key::client_options};
use vestibule::storage::credentials::Credentials;
use vestibule::storage::{MintedUpload, ObjectStore};

use crate::gateway::PATIENCE;
use crate::harness::{env, unique};
use crate::s3::{Bucket, owner};

/// Undoes a part of a test's preparations when it goes out of scope, on a runtime of its own: the future must make its
/// own clients, because pooled connections belong to the runtime that opened them.
pub struct Undo(Option<BoxFuture<'static, ()>>);

impl Undo {
    pub fn new(undo: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Some(Box::pin(undo)))
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        let Some(undo) = self.0.take() else { return };
        let thread = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(undo);
        });
        if thread.join().is_err() && !std::thread::panicking() {
            panic!("something of this test was not removed");
        }
    }
}

/// A bucket or container.
pub enum Place {
    S3(Bucket),
    Azure { container: String, store: Arc<dyn ObjectStore>, _undo: Undo },
}

/// What Azurite's account key allows, which is everything.
pub fn azure_options() -> azure_core::http::ClientOptions {
    let key = AzureCredential::AccountKey(env("VESTIBULE_TEST_AZURITE_KEY").into());
    client_options(&env("VESTIBULE_TEST_AZURITE_ACCOUNT"), &key, None, Clock::system()).unwrap()
}

fn container_client(name: &str) -> BlobContainerClient {
    let url: Url = format!("{}/{name}", env("VESTIBULE_TEST_AZURITE_BLOB")).parse().unwrap();
    let options = BlobContainerClientOptions { client_options: azure_options(), ..Default::default() };
    BlobContainerClient::new(url, None, Some(options)).unwrap()
}

impl Place {
    pub async fn s3() -> Self {
        Self::S3(Bucket::create(false).await)
    }

    pub async fn versioned_s3() -> Self {
        Self::S3(Bucket::create(true).await)
    }

    /// With Object Lock.
    pub async fn locking_s3() -> Self {
        Self::S3(Bucket::create_locking().await)
    }

    pub async fn azure() -> Self {
        let container = unique("cloud");
        container_client(&container).create(None).await.unwrap();
        let name = container.clone();
        let undo = Undo::new(async move {
            container_client(&name).delete(None).await.unwrap();
        });
        let target = Target {
            name: "cloud".parse().unwrap(),
            environment: Environment::Live,
            residency: "eu".into(),
            staging_prefix: "incoming/".parse().unwrap(),
            staging_bucket: None,
            provider: ProviderSettings::Azure {
                account: env("VESTIBULE_TEST_AZURITE_ACCOUNT"),
                container: container.clone(),
                endpoint: Some(env("VESTIBULE_TEST_AZURITE_BLOB").parse().unwrap()),
            },
            credentials: None,
            retention: None,
        };
        let key = Credentials::AccountKey(env("VESTIBULE_TEST_AZURITE_KEY").into());
        let store = azure::open(&target, Some(&key), Clock::system()).await.unwrap();
        Self::Azure { container, store: Arc::new(store), _undo: undo }
    }

    pub fn is_azure(&self) -> bool {
        matches!(self, Self::Azure { .. })
    }

    /// The bucket's or container's name.
    pub fn name(&self) -> &str {
        match self {
            Self::S3(bucket) => &bucket.name,
            Self::Azure { container, .. } => container,
        }
    }

    /// The table of `targets.toml`, without its heading.
    pub fn target_toml(&self) -> String {
        let own = match self {
            Self::S3(bucket) => format!(
                "provider = 's3'\nbucket = '{}'\nregion = '{}'\nendpoint = '{}'\npath_style = true\ncredentials = 'aws'",
                bucket.name,
                env("VESTIBULE_TEST_S3_REGION"),
                env("VESTIBULE_TEST_S3_ENDPOINT")
            ),
            Self::Azure { container, .. } => format!(
                "provider = 'azure'\naccount = '{}'\ncontainer = '{container}'\nendpoint = '{}'\ncredentials = 'azurite'",
                env("VESTIBULE_TEST_AZURITE_ACCOUNT"),
                env("VESTIBULE_TEST_AZURITE_BLOB")
            ),
        };
        format!("{own}\nresidency = 'eu'\nenvironment = 'live'\n")
    }

    /// Every key, once for each version that still holds bytes.
    pub async fn keys(&self) -> Vec<String> {
        match self {
            Self::S3(bucket) => {
                let page = owner().list_object_versions().bucket(&bucket.name).send().await.unwrap();
                page.versions().iter().map(|object| object.key().unwrap().to_owned()).collect()
            }
            Self::Azure { store, .. } => {
                let page = store.list(Area::Served, &Prefix::root(), None, 1000).await.unwrap();
                page.objects.into_iter().map(|(key, _)| key).collect()
            }
        }
    }

    /// Polls [`Place::keys`].
    pub async fn wait(&self, what: &str, enough: impl Fn(&[String]) -> bool) {
        let started = Instant::now();
        loop {
            let keys = self.keys().await;
            if enough(&keys) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "waited in vain for {what}: {keys:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Writes under any key with the account's own rights: what a storage that enforces nothing would let in.
    pub async fn write(&self, key: &str, media: &str, bytes: &[u8]) {
        match self {
            Self::S3(bucket) => {
                let body = ByteStream::from(bytes.to_vec());
                let put = owner().put_object().bucket(&bucket.name).key(key).content_type(media).body(body);
                put.send().await.unwrap();
            }
            Self::Azure { store, .. } => {
                let key = ObjectKey::parse(Area::Staging, key).unwrap();
                store.delete(&key, None).await.unwrap();
                put_minted(&mint(store.as_ref(), key, media, bytes), bytes).await;
            }
        }
    }
}

fn mint(store: &dyn ObjectStore, key: ObjectKey, media: &str, bytes: &[u8]) -> MintedUpload {
    let clock = Clock::system();
    let grant = UploadGrant {
        id: GrantId::from_uuid(clock.uuid()),
        object: ObjectId::from_uuid(clock.uuid()),
        key,
        method: UploadMethod::Put,
        size: bytes.len() as u64,
        content_type: media.parse().unwrap(),
        sha256: None,
        issued_at: clock.now(),
        expires_at: clock.now() + Duration::from_secs(300),
    };
    store.mint_upload(&grant).unwrap()
}

async fn put_minted(minted: &MintedUpload, bytes: &[u8]) {
    let mut request = reqwest::Client::new().put(minted.url.expose()).body(bytes.to_vec());
    for (name, value) in &minted.headers {
        if *name != "content-length" {
            request = request.header(*name, value);
        }
    }
    crate::conformance::accepted(request.send().await.unwrap()).await;
}
