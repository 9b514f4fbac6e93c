//! Object Lock on LocalStack, below the gateway: locks, holds, defaults, and what `target check` says.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{
    DefaultRetention, ObjectLockConfiguration, ObjectLockEnabled, ObjectLockLegalHold, ObjectLockLegalHoldStatus,
    ObjectLockRetentionMode, ObjectLockRule,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::Method;
use vestibule::domain::grant::UploadMethod;
use vestibule::domain::key::Area;
use vestibule::domain::retention::{Kept, Retention, RetentionMode};
use vestibule::domain::target::Target;
use vestibule::storage::s3::iam_policy;
use vestibule::storage::{CheckStatus, ObjectStore, StorageError};

use crate::conformance::{Fixture, refused};
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

#[tokio::test]
async fn no_url_changes_retention_or_a_hold_even_where_the_bucket_knows_both() {
    let (served, staging) = (Bucket::create_locking().await, Bucket::create_locking().await);
    let store = open(&retaining(&served, &staging, RetentionMode::Governance)).await;
    let fixture = Fixture::new(Arc::new(store), reqwest::Client::new()).keeping((served, staging));
    let (key, bytes) = fixture.serve("menu.jpg", b"menu").await;
    let lock = super::lock(RetentionMode::Governance, 600);
    fixture.store.lock(&key, &bytes, &lock).await.unwrap();

    // Not with the URL of a download, by any sub-resource or method.
    let url = fixture.store.mint_download(&fixture.download(&key, &bytes)).unwrap().url;
    for sub_resource in ["retention", "legal-hold", "acl", "tagging", ""] {
        for method in [Method::PUT, Method::DELETE, Method::POST] {
            let asked = fixture.http.request(method, format!("{}&{sub_resource}", url.expose()));
            let asked = asked.header("x-amz-bypass-governance-retention", "true").body("<Retention/>");
            refused(sub_resource, asked.send().await.unwrap()).await;
        }
    }
    assert_eq!(fixture.store.kept(&key, &bytes).await.unwrap(), Kept { lock: Some(lock), legal_hold: false });

    // Not with that of an upload, by what is sent along.
    for wish in super::WISHES {
        let key = fixture.key(Area::Staging, "other.jpg");
        let minted = fixture.store.mint_upload(&fixture.upload(&key, UploadMethod::Put, b"menu")).unwrap();
        refused(wish.0, fixture.send(&super::wishing(minted, &[wish]), Method::PUT, b"menu").await).await;
        assert_eq!(fixture.store.head(&key).await.unwrap(), None, "{wish:?}");
    }
}

/// Amazon refuses a field that the policy does not name. LocalStack does not compare fields with the policy at all, and so
/// cannot show it; the policy itself is what is looked at here.
#[tokio::test]
async fn a_forms_policy_has_no_condition_under_which_a_lock_could_be_asked_for() {
    let (fixture, _) = fixture().await;
    let key = fixture.key(Area::Staging, "menu.jpg");
    let minted = fixture.store.mint_upload(&fixture.upload(&key, UploadMethod::Post, b"menu")).unwrap();
    let fields = minted.fields.unwrap().0;
    let policy = fields.iter().find_map(|(name, value)| (name == "policy").then_some(value)).unwrap();
    let policy: serde_json::Value = serde_json::from_slice(&BASE64.decode(policy).unwrap()).unwrap();
    let mut named: Vec<String> = Vec::new();
    for condition in policy["conditions"].as_array().unwrap() {
        match condition {
            serde_json::Value::Object(one) => named.extend(one.keys().cloned()),
            other => named.push(other[0].as_str().unwrap().to_owned()),
        }
    }
    named.sort();
    let expected = [
        "Content-Type",
        "bucket",
        "content-length-range",
        "key",
        "x-amz-algorithm",
        "x-amz-checksum-algorithm",
        "x-amz-checksum-sha256",
        "x-amz-credential",
        "x-amz-date",
        "x-grant-id",
    ];
    assert_eq!(named, expected);
}
