//! Object Lock on LocalStack, below the gateway: locks, holds, defaults, and what `target check` says.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{
    DefaultRetention, ObjectLockConfiguration, ObjectLockEnabled, ObjectLockLegalHold, ObjectLockLegalHoldStatus,
    ObjectLockRetentionMode, ObjectLockRule,
};
use vestibule::domain::retention::{Kept, Retention, RetentionMode};
use vestibule::domain::target::Target;
use vestibule::storage::s3::iam_policy;
use vestibule::storage::{CheckStatus, ObjectStore, StorageError};

use crate::conformance::Fixture;
use crate::s3::{Bucket, open, owner, target};

fn retaining(served: &Bucket, staging: &Bucket, mode: RetentionMode) -> Target {
    Target { retention: Some(Retention { mode, days: 30 }), ..target(&served.name, Some(&staging.name)) }
}

/// A bucket with Object Lock and a plain one for staging.
async fn fixture() -> (Fixture, String) {
    let (served, staging) = (Bucket::create_locking().await, Bucket::create(false).await);
    let store = open(&retaining(&served, &staging, RetentionMode::Governance)).await;
    let name = served.name.clone();
    (Fixture::new(Arc::new(store), reqwest::Client::new()).keeping((served, staging)), name)
}

/// The bucket's own default retention.
pub(crate) async fn set_default(bucket: &str, mode: ObjectLockRetentionMode, days: i32) {
    let default = DefaultRetention::builder().mode(mode).days(days).build();
    let lock = ObjectLockConfiguration::builder()
        .object_lock_enabled(ObjectLockEnabled::Enabled)
        .rule(ObjectLockRule::builder().default_retention(default).build())
        .build();
    owner().put_object_lock_configuration().bucket(bucket).object_lock_configuration(lock).send().await.unwrap();
}

pub(crate) async fn set_hold(bucket: &str, key: &str, version: Option<&str>, status: ObjectLockLegalHoldStatus) {
    let hold = ObjectLockLegalHold::builder().status(status).build();
    let put = owner().put_object_legal_hold().bucket(bucket).key(key).set_version_id(version.map(str::to_owned));
    put.legal_hold(hold).send().await.unwrap();
}

#[tokio::test]
async fn a_locked_copy_stays_and_its_lock_only_grows() {
    super::a_locked_copy_stays_and_its_lock_only_grows(&fixture().await.0).await;
}

#[tokio::test]
async fn only_the_named_bytes_are_locked() {
    super::only_the_named_bytes_are_locked(&fixture().await.0).await;
}

#[tokio::test]
async fn in_compliance_mode_not_even_the_owner_deletes_before_the_date() {
    let (fixture, bucket) = fixture().await;
    let (key, bytes) = fixture.serve("menu.jpg", b"menu").await;
    let lock = super::lock(RetentionMode::Compliance, 5);
    fixture.store.lock(&key, &bytes, &lock).await.unwrap();
    assert!(fixture.store.kept(&key, &bytes).await.unwrap().covers(&lock));
    let removal = owner().delete_object().bucket(&bucket).key(key.path()).set_version_id(bytes.version.clone());
    let refused = removal.bypass_governance_retention(true).send().await.unwrap_err();
    assert_eq!(refused.into_service_error().code(), Some("AccessDenied"));
    assert_eq!(fixture.read(&key, &bytes).await.unwrap(), b"menu");
    // The date has passed as soon as the storage lets it go.
    let started = std::time::Instant::now();
    while fixture.store.delete(&key, bytes.version.as_deref()).await.is_err() {
        assert!(started.elapsed() < Duration::from_secs(30), "it is kept after its date");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(fixture.store.head(&key).await.unwrap(), None);
}

#[tokio::test]
async fn a_legal_hold_keeps_without_a_date() {
    let (fixture, bucket) = fixture().await;
    let (key, bytes) = fixture.serve("menu.jpg", b"menu").await;
    set_hold(&bucket, key.path(), bytes.version.as_deref(), ObjectLockLegalHoldStatus::On).await;
    assert_eq!(fixture.store.kept(&key, &bytes).await.unwrap(), Kept { lock: None, legal_hold: true });
    let refused = fixture.store.delete(&key, bytes.version.as_deref()).await.unwrap_err();
    assert_eq!(refused.to_string(), "the storage keeps the bytes as long as a legal hold is on them");
    set_hold(&bucket, key.path(), bytes.version.as_deref(), ObjectLockLegalHoldStatus::Off).await;
    fixture.store.delete(&key, bytes.version.as_deref()).await.unwrap();
}

#[tokio::test]
async fn a_longer_default_of_the_bucket_is_left_as_it_is() {
    let (fixture, bucket) = fixture().await;
    set_default(&bucket, ObjectLockRetentionMode::Governance, 90).await;
    let (key, bytes) = fixture.serve("menu.jpg", b"menu").await;
    let own = fixture.store.kept(&key, &bytes).await.unwrap();
    fixture.store.lock(&key, &bytes, &super::lock(RetentionMode::Governance, 600)).await.unwrap();
    assert_eq!(fixture.store.kept(&key, &bytes).await.unwrap(), own);
    assert!(own.covers(&super::lock(RetentionMode::Governance, 89 * 86_400)));
}

#[tokio::test]
async fn a_bucket_without_object_lock_retains_nothing_and_says_so() {
    let (served, staging) = (Bucket::create(true).await, Bucket::create(false).await);
    let store = open(&retaining(&served, &staging, RetentionMode::Governance)).await;
    let probed = store.probe().await.unwrap_err();
    assert_eq!(probed.to_string(), format!("the storage cannot retain: the bucket {} has no Object Lock", served.name));
    let fixture = Fixture::new(Arc::new(store), reqwest::Client::new());
    let (key, bytes) = fixture.serve("menu.jpg", b"menu").await;
    let refused = fixture.store.lock(&key, &bytes, &super::lock(RetentionMode::Governance, 600)).await;
    assert!(matches!(refused, Err(StorageError::CannotRetain(_))), "{refused:?}");
}

async fn status(target: &Target, bucket: &str) -> (CheckStatus, String) {
    let items = open(target).await.check().await;
    let item = items.into_iter().find(|item| item.name == format!("{bucket}: object lock")).unwrap();
    (item.status, item.detail)
}

#[tokio::test]
async fn the_check_compares_bucket_and_target_in_both_directions() {
    let (locking, plain) = (Bucket::create_locking().await, Bucket::create(false).await);
    let (locked, bare) = (locking.name.as_str(), plain.name.as_str());
    let demanding = retaining(&locking, &plain, RetentionMode::Compliance);
    let silent = target(locked, Some(bare));
    let cannot = retaining(&plain, &locking, RetentionMode::Governance);

    let (found, detail) = status(&demanding, locked).await;
    assert_eq!(
        (found, detail.as_str()),
        (CheckStatus::Good, "on; served copies are kept for 30 days in compliance mode")
    );
    assert_eq!(status(&demanding, bare).await.0, CheckStatus::Good, "staging needs no lock");
    let (found, detail) = status(&silent, locked).await;
    assert!(found == CheckStatus::Advice && detail.contains("[<target>.retention]"), "{detail}");
    let (found, detail) = status(&cannot, bare).await;
    assert!(found == CheckStatus::Missing && detail.contains("nothing is promoted"), "{detail}");
    assert_eq!(status(&cannot, locked).await.0, CheckStatus::Good, "possible, and nothing is kept by itself");

    set_default(locked, ObjectLockRetentionMode::Governance, 7).await;
    let (found, detail) = status(&demanding, locked).await;
    assert!(found == CheckStatus::Missing && detail.contains("7 days in governance mode"), "{detail}");
    let (found, detail) = status(&silent, locked).await;
    assert!(found == CheckStatus::Advice && detail.contains("7 days in governance mode"), "{detail}");
    let (found, detail) = status(&cannot, locked).await;
    assert!(found == CheckStatus::Missing && detail.contains("rejected uploads"), "{detail}");
    let laxer = Target { retention: Some(Retention { mode: RetentionMode::Governance, days: 1 }), ..demanding };
    let (found, detail) = status(&laxer, locked).await;
    assert!(found == CheckStatus::Good && detail.ends_with("or 7 days in governance mode if longer"), "{detail}");
}

#[test]
fn the_policy_lets_the_gateway_lock_served_copies_and_never_lift_a_lock() {
    let plain = iam_policy(&target("menus", Some("menus-in"))).unwrap();
    assert!(!plain.to_string().contains("Retention"), "{plain}");
    let retention = Some(Retention { mode: RetentionMode::Governance, days: 1 });
    let policy = iam_policy(&Target { retention, ..target("menus", Some("menus-in")) }).unwrap();
    let own = &policy["Statement"][2];
    assert_eq!(own["Resource"], serde_json::json!(["arn:aws:s3:::menus/*"]));
    assert!(own["Action"].to_string().contains("s3:PutObjectRetention"), "{own}");
    let text = policy.to_string();
    for never in ["Bypass", "PutObjectLegalHold", "PutBucketObjectLock", "s3:*"] {
        assert!(!text.contains(never), "{never}");
    }
}
