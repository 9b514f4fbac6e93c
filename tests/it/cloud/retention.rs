//! Retention with the whole gateway: Object Lock on LocalStack, and Azurite, which has no such thing.

use std::time::{Duration, Instant};

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::DateTimeFormat;
use aws_sdk_s3::types::{
    BucketVersioningStatus, MetadataDirective, ObjectLockConfiguration, ObjectLockEnabled, ObjectLockLegalHoldStatus,
    ObjectLockMode, ObjectLockRetentionMode, VersioningConfiguration,
};
use serde_json::{Value, json};

use super::place::Place;
use super::{Cloud, Setup, disguised, jpeg, killed};
use crate::gateway::PATIENCE;
use crate::retention::{set_default, set_hold};
use crate::s3::owner;

const GOVERNANCE: &str = "retention = { mode = 'governance', period = '30d' }";

async fn setup(place: Place, staging: Place, more: &str) -> Setup {
    Setup::at(place).sweeping("1s").staging_in(staging, more)
}

async fn started(more: &str) -> Cloud {
    setup(Place::locking_s3().await, Place::s3().await, more).await.start().await
}

/// The key under which an object is served.
fn served(object: &Value) -> String {
    object["path"].as_str().unwrap().to_owned()
}

async fn until_logged(cloud: &Cloud, what: &str) {
    let started = Instant::now();
    while !cloud.gateway.log().contains(what) {
        assert!(started.elapsed() < PATIENCE, "{what} was never logged:\n{}", cloud.gateway.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Deletes and is refused with the date that the record shows.
async fn refused_with_its_date(cloud: &Cloud, object: &Value) {
    let path = format!("/objects/{}", object["objectId"].as_str().unwrap());
    let (status, problem) = cloud.gateway.delete(&path).await;
    assert_eq!((status, problem["code"].as_str()), (403, Some("retention_active")), "{problem}");
    assert_eq!(problem["retainedUntil"], object["retainedUntil"], "{problem}");
}

#[tokio::test]
async fn a_promoted_object_is_locked_once_and_nobody_deletes_it() {
    let cloud = started(GOVERNANCE).await;
    for more in [json!({}), json!({ "method": "POST" })] {
        let object = cloud.store(&jpeg(), more, "visible").await;
        let head = owner().head_object().bucket(cloud.place.name()).key(served(&object)).send().await.unwrap();
        assert_eq!(head.object_lock_mode, Some(ObjectLockMode::Governance));
        let until = head.object_lock_retain_until_date.unwrap().fmt(DateTimeFormat::DateTime).unwrap();
        assert_eq!(object["retainedUntil"], until);
        refused_with_its_date(&cloud, &object).await;
        let id = object["objectId"].as_str().unwrap();
        let (status, problem) =
            cloud.gateway.admin_post(&format!("/admin/objects/{id}/delete"), json!({ "reason": "wrong file" })).await;
        assert_eq!((status, problem["code"].as_str()), (403, Some("retention_active")), "{problem}");

        // The storage itself refuses it too, and lets nobody shorten it with a URL's means.
        let removal = owner().delete_object().bucket(cloud.place.name()).key(served(&object));
        let refused = removal.set_version_id(head.version_id).send().await.unwrap_err();
        assert_eq!(refused.into_service_error().code(), Some("AccessDenied"));
        assert_eq!(cloud.gateway.download(id).await, jpeg().bytes);
    }
    assert_eq!(cloud.place.keys().await.len(), 2, "one version each");

    // What is rejected was staged where nothing is kept.
    cloud.store(&disguised(), json!({}), "rejected").await;
    let (code, printed, _) = cloud.gateway.run(&["target", "check", "cloud"]);
    assert!(
        printed.contains("ok       ") && printed.contains("kept for 30 days in governance mode"),
        "{code}: {printed}"
    );
    assert!(printed.contains("s3:PutObjectRetention") && !printed.contains("Bypass"), "{printed}");
}

#[tokio::test]
async fn killed_between_copy_and_lock_and_between_lock_and_record_one_locked_version_is_there() {
    for (point, versions) in [("promote.copied", 2), ("promote.locked", 1)] {
        let setup = setup(Place::locking_s3().await, Place::s3().await, GOVERNANCE).await;
        let mut cloud = killed::standing_at(setup, point).await;
        let upload = jpeg();
        let (id, issued) = cloud.issue(&upload, json!({})).await;
        assert_eq!(cloud.send(&issued, &upload.bytes).await, 200);
        killed::killed_and_started_again(&mut cloud).await;
        let object = cloud.gateway.wait_for(&id, "visible").await;
        let page = owner().list_object_versions().bucket(cloud.place.name()).send().await.unwrap();
        assert_eq!(page.versions().len(), versions, "{point}: {:?}", page.versions());
        let mut locked = 0;
        for version in page.versions() {
            let head = owner().head_object().bucket(cloud.place.name()).key(version.key().unwrap());
            let head = head.set_version_id(version.version_id().map(str::to_owned)).send().await.unwrap();
            locked += usize::from(head.object_lock_mode.is_some());
        }
        assert_eq!(locked, 1, "{point}");
        refused_with_its_date(&cloud, &object).await;
        assert_eq!(cloud.gateway.download(&id).await, upload.bytes);
    }
}

#[tokio::test]
async fn a_bucket_that_keeps_by_itself_is_recognised_without_being_told() {
    let cloud = started("").await;
    set_default(cloud.place.name(), ObjectLockRetentionMode::Governance, 7).await;
    let object = cloud.store(&jpeg(), json!({}), "visible").await;
    assert!(object["retainedUntil"].is_string(), "{object}");
    refused_with_its_date(&cloud, &object).await;
}

#[tokio::test]
async fn a_legal_hold_that_somebody_placed_is_met_when_it_matters() {
    let cloud = started("").await;
    let object = cloud.store(&jpeg(), json!({}), "visible").await;
    assert!(object["retainedUntil"].is_null(), "{object}");
    let (bucket, key) = (cloud.place.name().to_owned(), served(&object));
    set_hold(&bucket, &key, None, ObjectLockLegalHoldStatus::On).await;
    let path = format!("/objects/{}", object["objectId"].as_str().unwrap());
    let (status, problem) = cloud.gateway.delete(&path).await;
    assert_eq!((status, problem["code"].as_str()), (403, Some("retention_active")), "{problem}");
    assert!(
        problem["retainedUntil"].is_null() && problem["detail"].as_str().unwrap().contains("legal hold"),
        "{problem}"
    );
    set_hold(&bucket, &key, None, ObjectLockLegalHoldStatus::Off).await;
    assert_eq!(cloud.gateway.delete(&path).await.0, 204);
    cloud.place.wait("the deleted bytes to go", |keys| keys.is_empty()).await;
}

#[tokio::test]
async fn a_removal_that_meets_a_lock_waits_long_and_is_never_lost() {
    let cloud = started("").await;
    let object = cloud.store(&jpeg(), json!({}), "visible").await;
    let (bucket, key) = (cloud.place.name().to_owned(), served(&object));
    // Somebody with the account's rights writes over the copy and puts a hold on what they wrote.
    let copy = owner().copy_object().bucket(&bucket).key(&key).copy_source(format!("{bucket}/{key}"));
    let copied = copy.metadata_directive(MetadataDirective::Replace).send().await.unwrap();
    set_hold(&bucket, &key, copied.version_id(), ObjectLockLegalHoldStatus::On).await;
    let id = object["objectId"].as_str().unwrap();
    assert_eq!(cloud.gateway.delete(&format!("/objects/{id}")).await.0, 204, "the copy that is served is not held");
    until_logged(&cloud, "kept_by_storage").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let tries = cloud.metric("vestibule_job_retries_total{kind=\"purge\"}").await;
    assert!((tries - 1.0).abs() < f64::EPSILON, "{tries} tries in three seconds");
    assert!(
        cloud.gateway.log().contains("tried again") && cloud.gateway.log().contains("delay=3600s")
            || cloud.gateway.log().contains("\"delay\":\"3600s\""),
        "{}",
        cloud.gateway.log()
    );
    set_hold(&bucket, &key, copied.version_id(), ObjectLockLegalHoldStatus::Off).await;
}

#[tokio::test]
async fn without_object_lock_nothing_is_promoted_until_the_bucket_has_it() {
    let cloud = setup(Place::s3().await, Place::s3().await, GOVERNANCE).await.start().await;
    let upload = jpeg();
    let (id, issued) = cloud.issue(&upload, json!({})).await;
    assert_eq!(cloud.send(&issued, &upload.bytes).await, 200);
    until_logged(&cloud, "cannot_retain").await;
    let (_, object) = cloud.gateway.get(&format!("/objects/{id}")).await;
    assert_eq!(object["state"], "promoting", "{object}");
    let (_, health) = cloud.gateway.admin_get("/readyz").await;
    let target = health["dependencies"].as_array().unwrap().iter().find(|one| one["name"] == "target:cloud").unwrap();
    assert!(target["detail"].as_str().unwrap().contains("has no Object Lock"), "{health}");
    let (code, printed, _) = cloud.gateway.run(&["target", "check", "cloud"]);
    assert!(code == 1 && printed.contains("nothing is promoted"), "{printed}");

    let on = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    owner().put_bucket_versioning().bucket(cloud.place.name()).versioning_configuration(on).send().await.unwrap();
    let lock = ObjectLockConfiguration::builder().object_lock_enabled(ObjectLockEnabled::Enabled).build();
    let put = owner().put_object_lock_configuration().bucket(cloud.place.name()).object_lock_configuration(lock);
    put.send().await.unwrap();
    let object = cloud.gateway.wait_for(&id, "visible").await;
    refused_with_its_date(&cloud, &object).await;
    // The bucket of this test was made without Object Lock, and is removed as such.
    let page = owner().list_object_versions().bucket(cloud.place.name()).send().await.unwrap();
    for version in page.versions() {
        let removal = owner().delete_object().bucket(cloud.place.name()).key(version.key().unwrap());
        let removal = removal.set_version_id(version.version_id().map(str::to_owned));
        removal.bypass_governance_retention(true).send().await.unwrap();
    }
}

#[tokio::test]
async fn on_an_account_without_immutability_policies_nothing_is_promoted() {
    let cloud = setup(Place::azure().await, Place::azure().await, GOVERNANCE).await.start().await;
    let upload = jpeg();
    let (id, issued) = cloud.issue(&upload, json!({})).await;
    assert_eq!(cloud.send(&issued, &upload.bytes).await, 201);
    until_logged(&cloud, "the account has no immutability policies").await;
    let (_, object) = cloud.gateway.get(&format!("/objects/{id}")).await;
    assert_eq!(object["state"], "promoting", "{object}");
    assert!(cloud.gateway.post("/request-download", json!({ "objectId": id })).await.0 == 409);
    let (code, printed, errors) = cloud.gateway.run(&["target", "check", "cloud"]);
    assert!(code == 1 && printed.contains("keeps no single versions"), "{printed}{errors}");
}
