//! What `check` says about a bucket, and the policy that it prints.

use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, ExpirationStatus, LifecycleExpiration, LifecycleRule, LifecycleRuleFilter,
};
use vestibule::storage::s3::iam_policy;
use vestibule::storage::{CheckStatus, ObjectStore};

use super::{Bucket, open, target};

async fn status(bucket: &str, what: &str) -> (CheckStatus, String) {
    let items = open(&target(bucket, None)).await.check().await;
    let name = format!("{bucket}: {what}");
    let item = items.into_iter().find(|item| item.name == name).unwrap_or_else(|| panic!("no item {name}"));
    (item.status, item.detail)
}

#[tokio::test]
async fn a_prepared_bucket_is_found_good() {
    for item in open(&target("vestibule-images", None)).await.check().await {
        let expected = if item.name.ends_with("versioning") { CheckStatus::Advice } else { CheckStatus::Good };
        assert_eq!(item.status, expected, "{item:?}");
    }
    let (_, notifications) = status("vestibule-images", "notifications").await;
    assert!(notifications.contains("vestibule-events"), "{notifications}");
    let (_, origins) = status("vestibule-images", "CORS").await;
    assert!(origins.contains("http://localhost:3000 may PUT"), "{origins}");
}

#[tokio::test]
async fn a_bare_bucket_is_told_what_it_lacks() {
    let bucket = Bucket::create(false).await;
    super::owner().delete_public_access_block().bucket(&bucket.name).send().await.unwrap();
    assert_eq!(status(&bucket.name, "public access").await.0, CheckStatus::Missing);
    for what in ["CORS", "versioning", "lifecycle of staging", "lifecycle of multipart uploads", "notifications"] {
        assert_eq!(status(&bucket.name, what).await.0, CheckStatus::Advice, "{what}");
    }
    assert_eq!(status(&bucket.name, "object lock").await.0, CheckStatus::Good);
}

#[tokio::test]
async fn a_rule_that_would_expire_served_copies_is_an_error() {
    let bucket = Bucket::create(false).await;
    let set = |prefix: &str| {
        let rule = LifecycleRule::builder()
            .id("expire")
            .status(ExpirationStatus::Enabled)
            .filter(LifecycleRuleFilter::builder().prefix(prefix).build())
            .expiration(LifecycleExpiration::builder().days(1).build());
        let rules = BucketLifecycleConfiguration::builder().rules(rule.build().unwrap()).build().unwrap();
        super::owner().put_bucket_lifecycle_configuration().bucket(&bucket.name).lifecycle_configuration(rules).send()
    };
    for (prefix, expected) in
        [("", CheckStatus::Missing), ("incoming/", CheckStatus::Good), ("incoming/a/", CheckStatus::Advice)]
    {
        set(prefix).await.unwrap();
        assert_eq!(status(&bucket.name, "lifecycle of staging").await.0, expected, "{prefix:?}");
    }
}

#[tokio::test]
async fn a_bucket_that_cannot_be_read_is_never_good() {
    for item in open(&target("no-such-bucket-here", None)).await.check().await {
        assert_eq!(item.status, CheckStatus::Unknown, "{item:?}");
    }
}

#[test]
fn the_policy_names_both_buckets_and_nothing_more() {
    let policy = iam_policy(&target("menus", Some("menus-staging"))).unwrap();
    let objects = &policy["Statement"][0]["Resource"];
    assert_eq!(objects[0], "arn:aws:s3:::menus/*");
    assert_eq!(objects[1], "arn:aws:s3:::menus-staging/incoming/*");
    assert_eq!(policy["Statement"][1]["Resource"][1], "arn:aws:s3:::menus-staging");
    let text = policy.to_string();
    assert!(!text.contains("s3:*") && !text.contains("\"*\""), "{text}");
    assert!(!text.contains("s3:Put") || !text.contains("PutBucket"), "nothing changes a bucket's settings");
}
