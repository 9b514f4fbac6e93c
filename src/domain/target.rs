//! A target: one bucket or container, as `targets.toml` describes it.
//!
//! Holds no secret: `credentials` names an entry of the server's own configuration, or is absent where the provider's
//! default chain is meant.

use serde::{Deserialize, Serialize};
use url::Url;

use super::ids::TargetName;
use super::key::Prefix;
use super::principal::Environment;
use super::retention::Retention;

/// A bucket or container with what policy needs to know about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name in manifests and scopes.
    pub name: TargetName,
    /// Real or for trying things out.
    pub environment: Environment,
    /// Where the data resides, for example `eu`; compared with what a class demands.
    pub residency: std::sync::Arc<str>,
    /// The prefix under which clients write.
    pub staging_prefix: Prefix,
    /// A bucket or container of its own for staging; the same as the served one where absent.
    pub staging_bucket: Option<String>,
    /// How it is reached.
    pub provider: ProviderSettings,
    /// The name of a `[credentials.<name>]` entry; the provider's default chain where absent.
    pub credentials: Option<String>,
    /// How long served copies are kept from being deleted; not at all by the gateway's doing where absent. Such a target
    /// stages in a bucket of its own.
    pub retention: Option<Retention>,
}

/// How a target is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "provider", rename_all = "lowercase")]
pub enum ProviderSettings {
    /// Amazon S3 or a server that speaks its protocol.
    S3 {
        /// The bucket.
        bucket: String,
        /// The region that signs, for example `eu-central-1`.
        region: String,
        /// The address of an S3-compatible server; Amazon's own where absent.
        #[serde(default)]
        endpoint: Option<Url>,
        /// `https://host/bucket/key` instead of `https://bucket.host/key`.
        #[serde(default)]
        path_style: bool,
    },
    /// Azure Blob Storage.
    Azure {
        /// The storage account.
        account: String,
        /// The container.
        container: String,
        /// The account's blob address; `https://<account>.blob.core.windows.net` where absent.
        #[serde(default)]
        endpoint: Option<Url>,
    },
    /// The store inside this process.
    Embedded {
        /// The bucket's name: a directory below the store's.
        bucket: String,
    },
}

impl ProviderSettings {
    /// The bucket or container of served copies.
    pub fn bucket(&self) -> &str {
        match self {
            ProviderSettings::S3 { bucket, .. } | ProviderSettings::Embedded { bucket } => bucket,
            ProviderSettings::Azure { container, .. } => container,
        }
    }
}

impl Target {
    /// The bucket or container of served copies.
    pub fn bucket(&self) -> &str {
        self.provider.bucket()
    }

    /// The bucket or container that clients write into.
    pub fn staging(&self) -> &str {
        self.staging_bucket.as_deref().unwrap_or_else(|| self.bucket())
    }
}
