//! The store inside the process: S3's protocol on a directory, for one node without a cloud account.
//!
//! [`EmbeddedServer::start`] opens the data directory and serves it over HTTP to whoever holds a URL that the gateway
//! minted; [`EmbeddedStore`] is the gateway's own way to the same directory and takes no detour through HTTP. The protocol
//! is spoken by `s3s`, with this module's own operations behind it and a gate of its own in front (see `gate` for what is
//! refused there, `disk` and `record` for what a crash can and cannot do). Directory: `credentials.json`, `lock`, `tmp/`,
//! `buckets/<bucket>/…`. Absent on purpose: versions, multipart uploads, replication, TLS (a proxy ends it), and any way to
//! reach an object without a signature. `docs/decisions/0004-embedded-store.md` says why it is our own.

mod announced;
mod credentials;
mod disk;
mod events;
mod form;
mod gate;
mod layout;
mod listing;
mod lock;
mod multipart;
mod receive;
mod record;
mod s3;
mod server;
mod store;
mod watch;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::clock::Clock;
use crate::storage::credentials::{AccessKey, CredentialSource};
use crate::storage::s3::{AddressError, Location, Presigner};

pub use store::EmbeddedStore;

/// The region that signatures name.
pub const REGION: &str = "embedded";

/// How the store is set up.
#[derive(Clone, Debug)]
pub struct EmbeddedConfig {
    /// The data directory; made if it is not there. One process at a time.
    pub dir: PathBuf,
    /// Where to listen; port 0 takes a free one. Not loopback only where a proxy or a firewall stands before it.
    pub listen: SocketAddr,
    /// The address that clients use, where it is not `http://<listen>`: URLs are minted for it, and a proxy must pass its
    /// `Host` on.
    pub public_url: Option<Url>,
    /// Web origins whose scripts may use URLs, for example `https://app.example`; compared exactly.
    pub origins: Vec<String>,
    /// Largest object in bytes. S3's own limit for one PUT is 5 GiB.
    pub max_object_bytes: u64,
}

impl EmbeddedConfig {
    /// S3's limit for one PUT, in bytes.
    pub const MAX_OBJECT_BYTES: u64 = 5 << 30;

    /// A store in `dir` that listens on `listen`, with no web origins.
    pub fn new(dir: impl Into<PathBuf>, listen: SocketAddr) -> Self {
        Self {
            dir: dir.into(),
            listen,
            public_url: None,
            origins: Vec::new(),
            max_object_bytes: Self::MAX_OBJECT_BYTES,
        }
    }
}

/// Why the store could not be started or a bucket not be had.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// The data directory cannot be used, or another process uses it.
    #[error("cannot use the data directory {path}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// The address cannot be bound.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What failed.
        source: io::Error,
    },
    /// The bucket's name or the public address is not one.
    #[error("cannot mint URLs for the bucket")]
    Address(#[from] AddressError),
}

/// The running store.
pub struct EmbeddedServer {
    inner: Arc<server::Inner>,
    local_addr: SocketAddr,
    endpoint: Url,
    dir: PathBuf,
    receiver: Option<mpsc::Receiver<String>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl EmbeddedServer {
    /// Opens the directory, makes its keys at the first start, removes what a crash left behind, and serves.
    ///
    /// # Errors
    /// [`EmbeddedError`] where the directory or the address cannot be used.
    pub async fn start(config: EmbeddedConfig, clock: Clock) -> Result<Self, EmbeddedError> {
        let (dir, opening, at) = (config.dir.clone(), config.dir.clone(), clock.clone());
        let opened = tokio::task::spawn_blocking(move || {
            let disk = disk::Disk::open(&opening, at.clone())?;
            let keys = credentials::Keys::load(&opening, &at)?;
            Ok::<_, io::Error>((disk, keys))
        });
        let opened = opened.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        let (disk, keys) = opened.map_err(|source| EmbeddedError::Directory { path: dir.clone(), source })?;
        let bound = async {
            let listener = TcpListener::bind(config.listen).await?;
            let local_addr = listener.local_addr()?;
            Ok::<_, io::Error>((listener, local_addr))
        };
        let (listener, local_addr) =
            bound.await.map_err(|source| EmbeddedError::Listen { address: config.listen, source })?;
        let endpoint = match config.public_url.clone() {
            Some(url) => url,
            None => Url::parse(&format!("http://{local_addr}")).map_err(|_| AddressError::Endpoint)?,
        };
        let (events, receiver) = events::Events::channel(clock.clone());
        let inner = Arc::new(server::Inner::new(&config, clock, disk, keys, events));
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(server::accept(listener, Arc::clone(&inner), stop.clone(), tasks.clone()));
        Ok(Self { inner, local_addr, endpoint, dir, receiver: Some(receiver), stop, tasks })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The address that URLs are minted for.
    pub fn endpoint(&self) -> &Url {
        &self.endpoint
    }

    /// Keys for an independent reader, such as an AWS SDK: they list and read, and nothing else. The region is [`REGION`].
    pub fn reader(&self) -> &AccessKey {
        &self.inner.keys.reader
    }

    /// The gateway's way to a bucket and to its staging bucket, often the same; both are made if they are not there.
    ///
    /// # Errors
    /// [`EmbeddedError`] where a name is no bucket's name or the directory fails.
    pub async fn store(&self, bucket: &str, staging_bucket: &str) -> Result<EmbeddedStore, EmbeddedError> {
        let presigner = presigner(bucket, staging_bucket, self.endpoint.clone(), &self.inner.keys)?;
        for name in [bucket, staging_bucket] {
            let (disk, name) = (Arc::clone(&self.inner.disk), name.to_owned());
            let made = tokio::task::spawn_blocking(move || disk.make_bucket(&name)).await;
            made.unwrap_or_else(|error| Err(io::Error::other(error)))
                .map_err(|source| EmbeddedError::Directory { path: self.dir.clone(), source })?;
        }
        Ok(EmbeddedStore::new(Arc::clone(&self.inner.disk), presigner, bucket, staging_bucket))
    }

    /// The notifications of what clients do, each the body of an S3 event message; `None` the second time.
    pub fn take_events(&mut self) -> Option<mpsc::Receiver<String>> {
        self.receiver.take()
    }

    /// Takes no new connection, lets requests in flight finish for up to ten seconds, then ends them. What was not
    /// answered was not published, or will be found.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(server::DRAIN, self.tasks.wait()).await.is_err() {
            tracing::warn!("the embedded store ended with requests in flight");
        }
    }
}

impl EmbeddedStore {
    /// A bucket and its staging bucket in the directory of a store that another process may be serving. Nothing can be
    /// written through it, and the URLs that it mints lead nowhere.
    ///
    /// # Errors
    /// [`EmbeddedError`] where there is no such directory, or a name is no bucket's name.
    pub fn look_at(dir: &Path, bucket: &str, staging_bucket: &str, clock: &Clock) -> Result<Self, EmbeddedError> {
        let unusable = |source| EmbeddedError::Directory { path: dir.to_path_buf(), source };
        if !dir.join("buckets").is_dir() {
            return Err(unusable(io::ErrorKind::NotFound.into()));
        }
        let keys = credentials::Keys::load(dir, clock).map_err(unusable)?;
        let nowhere = Url::parse("http://127.0.0.1:1").map_err(|_| AddressError::Endpoint)?;
        let presigner = presigner(bucket, staging_bucket, nowhere, &keys)?;
        let disk = Arc::new(disk::Disk::look_at(dir, clock.clone()));
        Ok(EmbeddedStore::new(disk, presigner, bucket, staging_bucket))
    }
}

fn presigner(
    bucket: &str,
    staging_bucket: &str,
    endpoint: Url,
    keys: &credentials::Keys,
) -> Result<Presigner, AddressError> {
    let location = Location {
        bucket: bucket.to_owned(),
        staging_bucket: staging_bucket.to_owned(),
        region: REGION.to_owned(),
        endpoint: Some(endpoint),
        path_style: true,
    };
    Presigner::new(&location, CredentialSource::fixed(&keys.signer))
}

impl Drop for EmbeddedServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl fmt::Debug for EmbeddedServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedServer").field("endpoint", &self.endpoint.as_str()).field("dir", &self.dir).finish()
    }
}
