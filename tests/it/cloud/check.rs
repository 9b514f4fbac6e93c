//! `vestibule target check` on real buckets and a real container: what it finds, what it names, how it exits.

use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, CorsConfiguration, CorsRule, ExpirationStatus,
    LifecycleExpiration, LifecycleRule, LifecycleRuleFilter, PublicAccessBlockConfiguration,
};

use super::place::Place;
use super::{Setup, sources};
use crate::s3::owner;

/// What the annotated example and docs/targets.md ask for.
async fn set_up(bucket: &str) {
    let block = PublicAccessBlockConfiguration::builder()
        .block_public_acls(true)
        .ignore_public_acls(true)
        .block_public_policy(true)
        .restrict_public_buckets(true)
        .build();
    let owner = owner();
    owner.put_public_access_block().bucket(bucket).public_access_block_configuration(block).send().await.unwrap();
    let rule = CorsRule::builder()
        .allowed_origins("https://desk.example")
        .set_allowed_methods(Some(["PUT", "POST", "GET"].map(str::to_owned).to_vec()))
        .set_allowed_headers(Some(
            ["content-type", "if-none-match", "x-amz-checksum-sha256"].map(str::to_owned).to_vec(),
        ))
        .build()
        .unwrap();
    let cors = CorsConfiguration::builder().cors_rules(rule).build().unwrap();
    owner.put_bucket_cors().bucket(bucket).cors_configuration(cors).send().await.unwrap();
    let rule = |id: &str, prefix: &str| {
        let filter = LifecycleRuleFilter::builder().prefix(prefix).build();
        LifecycleRule::builder().id(id).status(ExpirationStatus::Enabled).filter(filter)
    };
    let expire = rule("staging", "incoming/").expiration(LifecycleExpiration::builder().days(1).build());
    let abort = AbortIncompleteMultipartUpload::builder().days_after_initiation(1).build();
    let abort = rule("multipart", "").abort_incomplete_multipart_upload(abort);
    let rules = BucketLifecycleConfiguration::builder().rules(expire.build().unwrap()).rules(abort.build().unwrap());
    let put = owner.put_bucket_lifecycle_configuration().bucket(bucket);
    put.lifecycle_configuration(rules.build().unwrap()).send().await.unwrap();
}

#[tokio::test]
async fn a_bucket_that_is_set_up_has_only_good_lines_and_succeeds() {
    let place = Place::versioned_s3().await;
    set_up(place.name()).await;
    let (lines, keep) = sources::direct(&place).await;
    let cloud = Setup::at(place).hearing(lines, keep).start().await;
    let (code, printed, errors) = cloud.gateway.run(&["target", "check", "cloud"]);
    assert_eq!(code, 0, "{printed}\n{errors}");
    let (found, policy) = printed.split_once("\n\n").unwrap();
    assert!(found.lines().count() >= 7 && found.lines().all(|line| line.starts_with("ok ")), "{found}");
    assert!(policy.contains(&format!("arn:aws:s3:::{}/*", cloud.place.name())), "{policy}");
    assert!(policy.contains("s3:PutObject") && !policy.contains("s3:*"), "{policy}");
}

#[tokio::test]
async fn a_bare_bucket_fails_and_each_missing_setting_is_named() {
    let place = Place::s3().await;
    owner().delete_public_access_block().bucket(place.name()).send().await.unwrap();
    let cloud = Setup::at(place).start().await;
    let (code, printed, errors) = cloud.gateway.run(&["target", "check", "cloud"]);
    assert_eq!(code, 1, "{printed}\n{errors}");
    assert!(errors.contains("cloud: 1 setting(s) missing"), "{errors}");
    let bucket = cloud.place.name();
    for (mark, what, remedy) in [
        ("MISSING", "public access", "put-public-access-block"),
        ("advice ", "lifecycle of staging", "incoming/"),
        ("advice ", "lifecycle of multipart uploads", "add one"),
        ("advice ", "notifications", "sweep"),
        ("advice ", "CORS", "browser"),
        ("advice ", "versioning", "off"),
    ] {
        let line = printed.lines().find(|line| line.contains(&format!("{bucket}: {what}:"))).unwrap_or_default();
        assert!(line.starts_with(mark) && line.contains(remedy), "{what}: {printed}");
    }
}

#[tokio::test]
async fn a_container_is_checked_and_the_roles_are_printed() {
    let cloud = Setup::at(Place::azure().await).start().await;
    let (code, printed, errors) = cloud.gateway.run(&["target", "check", "cloud"]);
    assert_eq!(code, 0, "{printed}\n{errors}");
    let container = cloud.place.name();
    for line in [format!("ok       container {container}"), format!("ok       public access of {container}")] {
        assert!(printed.lines().any(|found| found.starts_with(&line)), "{line}: {printed}");
    }
    assert!(printed.contains("Storage Blob Data Owner"), "{printed}");

    let (code, _, errors) = cloud.gateway.run(&["target", "check", "clodu"]);
    assert_eq!(code, 1);
    assert!(errors.contains("there is no target clodu; targets are: cloud"), "{errors}");
}
