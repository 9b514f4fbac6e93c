//! S3 against LocalStack: the conformance suite twice, then what is S3's own.
//!
//! The suite's keys are the same in both areas, so that both runs stage in a bucket of its own: `unversioned`, and `versioned`.
//! LocalStack checks signatures here. What it does not check (POST policy signatures, undeclared form fields) is
//! proved in `signing_s3` against botocore.

mod forms;
mod puts;
mod reads;
mod settings;

use std::sync::Arc;

use aws_sdk_s3::types::{
    BucketLocationConstraint, BucketVersioningStatus, CreateBucketConfiguration, VersioningConfiguration,
};
use vestibule::domain::principal::Environment;
use vestibule::domain::target::{ProviderSettings, Target};
use vestibule::storage::credentials::{AccessKey, Credentials};
use vestibule::storage::s3::{self, S3Store};

use crate::conformance::Fixture;
use crate::harness;

mod unversioned {
    crate::conformance::conformance_suite!(super::unversioned_fixture);
}

mod versioned {
    crate::conformance::conformance_suite!(super::versioned_fixture);
}

async fn unversioned_fixture() -> Fixture {
    fixture(false).await
}

async fn versioned_fixture() -> Fixture {
    fixture(true).await
}

async fn fixture(versioned: bool) -> Fixture {
    let (served, staging) = (Bucket::create(versioned).await, Bucket::create(versioned).await);
    let store = open(&target(&served.name, Some(&staging.name))).await;
    Fixture::new(Arc::new(store), reqwest::Client::new()).keeping((served, staging))
}

/// A target on LocalStack.
pub(crate) fn target(bucket: &str, staging: Option<&str>) -> Target {
    Target {
        name: "menus".parse().unwrap(),
        environment: Environment::Test,
        residency: "eu".into(),
        staging_prefix: "incoming/".parse().unwrap(),
        staging_bucket: staging.map(str::to_owned),
        provider: ProviderSettings::S3 {
            bucket: bucket.to_owned(),
            region: harness::env("VESTIBULE_TEST_S3_REGION"),
            endpoint: Some(harness::env("VESTIBULE_TEST_S3_ENDPOINT").parse().unwrap()),
            path_style: true,
        },
        credentials: None,
        retention: None,
    }
}

fn access_key() -> AccessKey {
    AccessKey { access_key_id: "test".into(), secret_access_key: "test".into(), session_token: None }
}

pub(crate) async fn open(target: &Target) -> S3Store {
    s3::open(target, Some(&Credentials::AccessKey(access_key()))).await.unwrap()
}

/// A client with every right, to arrange what the tests need.
pub(crate) fn owner() -> aws_sdk_s3::Client {
    let config = aws_sdk_s3::config::Builder::new()
        .behavior_version_latest()
        .region(aws_sdk_s3::config::Region::new(harness::env("VESTIBULE_TEST_S3_REGION")))
        .credentials_provider(aws_credential_types::Credentials::from_keys("test", "test", None))
        .endpoint_url(harness::env("VESTIBULE_TEST_S3_ENDPOINT"))
        .force_path_style(true);
    aws_sdk_s3::Client::from_conf(config.build())
}

/// A bucket of one test, removed with everything in it when dropped.
pub(crate) struct Bucket {
    pub name: String,
    /// It has Object Lock.
    locking: bool,
}

impl Bucket {
    pub(crate) async fn create(versioned: bool) -> Self {
        let bucket = Self::make(false).await;
        if versioned {
            let on = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
            owner().put_bucket_versioning().bucket(&bucket.name).versioning_configuration(on).send().await.unwrap();
        }
        bucket
    }

    /// One with Object Lock, and so with versions. What is locked in it must be in governance mode, or end with the test.
    pub(crate) async fn create_locking() -> Self {
        Self::make(true).await
    }

    async fn make(locking: bool) -> Self {
        let name = harness::unique("s3");
        let region = BucketLocationConstraint::from(harness::env("VESTIBULE_TEST_S3_REGION").as_str());
        let place = CreateBucketConfiguration::builder().location_constraint(region).build();
        let create = owner().create_bucket().bucket(&name).create_bucket_configuration(place);
        create.object_lock_enabled_for_bucket(locking).send().await.unwrap();
        Self { name, locking }
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        let (name, locking) = (self.name.clone(), self.locking);
        // Drop cannot wait for a future on the test's own runtime.
        let removal = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap()
                .block_on(remove(&name, locking));
        });
        if removal.join().is_err() && !std::thread::panicking() {
            panic!("the bucket {} was not removed", self.name);
        }
    }
}

async fn remove(bucket: &str, locking: bool) {
    let owner = owner();
    loop {
        let page = owner.list_object_versions().bucket(bucket).send().await.unwrap();
        let versions = page.versions().iter().map(|object| (object.key(), object.version_id()));
        let markers = page.delete_markers().iter().map(|marker| (marker.key(), marker.version_id()));
        let found: Vec<_> = versions.chain(markers).collect();
        if found.is_empty() {
            break;
        }
        for (key, version) in found {
            let version = version.map(str::to_owned);
            let removal = owner.delete_object().bucket(bucket).key(key.unwrap()).set_version_id(version);
            let removal = removal.set_bypass_governance_retention(locking.then_some(true));
            removal.send().await.unwrap();
        }
    }
    owner.delete_bucket().bucket(bucket).send().await.unwrap();
}
