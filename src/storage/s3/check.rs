//! `vestibule target check` for S3: what the buckets have, against what the gateway needs.
//!
//! Reads six settings of each bucket and changes nothing. A setting that may not be read is `Unknown`, never `Good`.
//! [`iam_policy`] prints the smallest policy under which everything in this module works.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{
    BucketVersioningStatus, CorsRule, DefaultRetention, ExpirationStatus, LifecycleRule, ObjectLockRetentionMode,
};
use serde_json::{Value, json};

use super::S3Store;
use super::address::{Location, Partition};
use super::client::{code, failure};
use crate::domain::retention::{Retention, RetentionMode};
use crate::domain::target::Target;
use crate::storage::CheckStatus::{Advice, Good, Missing, Unknown};
use crate::storage::{CheckItem, CheckStatus, StorageError};

/// What was found, and what to do.
type Finding = (CheckStatus, String);

pub(super) async fn check(store: &S3Store) -> Vec<CheckItem> {
    let mut items = Vec::new();
    for bucket in store.buckets() {
        let staging = bucket == store.location.staging_bucket;
        let mut item = |what: &str, (status, detail): Finding| {
            items.push(CheckItem { name: format!("{bucket}: {what}"), status, detail });
        };
        item("public access", public_access(store, bucket).await);
        item("CORS", cors(store, bucket, staging).await);
        item("versioning", versioning(store, bucket).await);
        item("object lock", object_lock(store, bucket, staging).await);
        if staging {
            for (what, finding) in lifecycle(store, bucket).await {
                item(what, finding);
            }
            item("notifications", notifications(store, bucket).await);
        }
    }
    items
}

/// The finding where a setting could not be read: `absent` if it is just not there.
fn unread<E: ProvideErrorMetadata>(
    operation: &str,
    error: &SdkError<E, HttpResponse>,
    missing_code: &str,
    absent: Finding,
) -> Finding {
    if code(error) == missing_code { absent } else { (Unknown, failure(operation, error).to_string()) }
}

async fn public_access(store: &S3Store, bucket: &str) -> Finding {
    let advice = "block all public access: put-public-access-block with all four settings true";
    match store.client.get_public_access_block().bucket(bucket).send().await {
        Ok(found) => {
            let all = found.public_access_block_configuration().is_some_and(|block| {
                [
                    block.block_public_acls(),
                    block.ignore_public_acls(),
                    block.block_public_policy(),
                    block.restrict_public_buckets(),
                ]
                .iter()
                .all(|setting| *setting == Some(true))
            });
            if all {
                (Good, "all four blocks are on".into())
            } else {
                (Missing, format!("not all four are on; {advice}"))
            }
        }
        Err(error) => {
            let absent = (Missing, format!("not set on the bucket; {advice}"));
            unread("GetPublicAccessBlock", &error, "NoSuchPublicAccessBlockConfiguration", absent)
        }
    }
}

/// What a client sends with a PUT and a browser asks about first.
const UPLOAD_HEADERS: [&str; 3] = ["content-type", "if-none-match", "x-amz-checksum-sha256"];

/// Whether one of the patterns, each with at most one `*`, allows the header.
fn allows(patterns: &[String], header: &str) -> bool {
    patterns.iter().map(|pattern| pattern.to_ascii_lowercase()).any(|pattern| match pattern.split_once('*') {
        Some((start, end)) => {
            header.len() >= start.len() + end.len() && header.starts_with(start) && header.ends_with(end)
        }
        None => pattern == header,
    })
}

async fn cors(store: &S3Store, bucket: &str, staging: bool) -> Finding {
    match store.client.get_bucket_cors().bucket(bucket).send().await {
        Ok(found) => {
            let rules = found.cors_rules();
            let told: Vec<_> = rules
                .iter()
                .map(|rule| format!("{} may {}", rule.allowed_origins().join(", "), rule.allowed_methods().join(", ")))
                .collect();
            let told = told.join("; ");
            if rules.iter().any(|rule| rule.allowed_origins().iter().any(|origin| origin == "*")) {
                return (Advice, format!("{told}; name the apps' origins instead of *"));
            }
            let mut puts = rules.iter().filter(|rule| rule.allowed_methods().iter().any(|method| method == "PUT"));
            let sends = |rule: &CorsRule| UPLOAD_HEADERS.iter().all(|header| allows(rule.allowed_headers(), header));
            if staging && !puts.any(sends) {
                let headers = UPLOAD_HEADERS.join(", ");
                return (Advice, format!("{told}; uploads from a page need PUT with the headers {headers}"));
            }
            (Good, format!("{told}; compare with the origins of the manifests"))
        }
        Err(error) => {
            let absent = (Advice, "no rule; pages in a browser can neither upload nor read here".into());
            unread("GetBucketCors", &error, "NoSuchCORSConfiguration", absent)
        }
    }
}

async fn versioning(store: &S3Store, bucket: &str) -> Finding {
    match store.client.get_bucket_versioning().bucket(bucket).send().await {
        Ok(found) if found.status() == Some(&BucketVersioningStatus::Enabled) => {
            (Good, "on; downloads name the version that was judged; let a lifecycle rule expire old ones".into())
        }
        Ok(_) => (Advice, "off; the ETag alone names the bytes, and what an operator deletes is gone".into()),
        Err(error) => (Unknown, failure("GetBucketVersioning", &error).to_string()),
    }
}

async fn object_lock(store: &S3Store, bucket: &str, staging: bool) -> Finding {
    let served = bucket == store.location.bucket;
    match (store.object_lock(bucket).await, store.retention.filter(|_| served)) {
        (Ok(Some(_)), _) if staging => {
            (Missing, "default retention here keeps rejected uploads; stage in a bucket without it".into())
        }
        (Ok(default), Some(retention)) => retains(retention, default.as_ref()),
        (Ok(Some(default)), None) => (
            Advice,
            format!(
                "the bucket itself keeps copies for {}; deletion by apps waits for it; say so with a table [<target>.retention] \
                 in targets.toml",
                told(&default)
            ),
        ),
        (Ok(None), None) if served && !staging => (
            Advice,
            "possible, and nothing asks for it; add a table [<target>.retention] with mode and period to targets.toml"
                .into(),
        ),
        (Ok(None), None) => (Good, "possible, without a default retention".into()),
        (Err(StorageError::CannotRetain(_)), Some(retention)) => (
            Missing,
            format!(
                "none, and targets.toml demands {retention}: nothing is promoted; put-bucket-versioning and then \
                 put-object-lock-configuration with ObjectLockEnabled, or a new bucket"
            ),
        ),
        (Err(StorageError::CannotRetain(_)), None) => (Good, "none".into()),
        (Err(error), _) => (Unknown, error.to_string()),
    }
}

/// The bucket's own default beside what the target demands. The gateway makes every lock longer or stricter, but a lock
/// that the bucket has put on already may not let itself be made stricter.
fn retains(retention: Retention, default: Option<&DefaultRetention>) -> Finding {
    match default {
        Some(default)
            if retention.mode == RetentionMode::Compliance
                && default.mode() == Some(&ObjectLockRetentionMode::Governance) =>
        {
            let detail =
                format!("targets.toml demands {retention}, and the bucket itself {}; make both one", told(default));
            (Missing, detail)
        }
        Some(default) => (Good, format!("on; served copies are kept for {retention}, or {} if longer", told(default))),
        None => (Good, format!("on; served copies are kept for {retention}")),
    }
}

fn told(default: &DefaultRetention) -> String {
    let period = match (default.days(), default.years()) {
        (Some(days), _) => format!("{days} days"),
        (None, Some(years)) => format!("{years} years"),
        (None, None) => "a time".to_owned(),
    };
    let mode = default.mode().map_or("no", ObjectLockRetentionMode::as_str).to_ascii_lowercase();
    format!("{period} in {mode} mode")
}

async fn lifecycle(store: &S3Store, bucket: &str) -> Vec<(&'static str, Finding)> {
    const EXPIRY: &str = "lifecycle of staging";
    const ABORT: &str = "lifecycle of multipart uploads";
    let prefix = store.staging_prefix.as_str();
    let no_expiry = || {
        (
            Advice,
            format!(
                "no rule expires {prefix}; add one of 30 days, a second net below the sweep that leaves reviewers their time"
            ),
        )
    };
    let no_abort = || (Advice, "no rule aborts incomplete multipart uploads; add one of a day".to_owned());
    let found = match store.client.get_bucket_lifecycle_configuration().bucket(bucket).send().await {
        Ok(found) => found,
        Err(error) => {
            let finding =
                |absent| unread("GetBucketLifecycleConfiguration", &error, "NoSuchLifecycleConfiguration", absent);
            return vec![(EXPIRY, finding(no_expiry())), (ABORT, finding(no_abort()))];
        }
    };
    let enabled = || found.rules().iter().filter(|rule| rule.status() == &ExpirationStatus::Enabled);
    let covers = |rule: &&LifecycleRule| prefix_of(rule).is_some_and(|covered| prefix.starts_with(covered));
    let expires = |rule: &&LifecycleRule| rule.expiration().is_some_and(|expiration| expiration.days().is_some());
    let shared = store.location.staging_bucket == store.location.bucket;
    let too_wide = |rule: &LifecycleRule| shared && prefix_of(rule).is_none_or(|covered| covered.len() < prefix.len());
    let expiry = match enabled().filter(covers).find(expires) {
        Some(rule) if too_wide(rule) => {
            (Missing, format!("rule {} expires served copies too; limit it to {prefix}", rule.id().unwrap_or("?")))
        }
        Some(rule) => (Good, format!("rule {} expires what nobody promoted", rule.id().unwrap_or("?"))),
        None => no_expiry(),
    };
    let abort = match enabled().filter(covers).find(|rule| rule.abort_incomplete_multipart_upload().is_some()) {
        Some(rule) => (Good, format!("rule {} aborts incomplete ones", rule.id().unwrap_or("?"))),
        None => no_abort(),
    };
    vec![(EXPIRY, expiry), (ABORT, abort)]
}

/// A rule's prefix in any of the three places where it may stand, empty for the whole bucket; `None` where the rule also
/// asks for a tag, and so covers nothing for certain.
fn prefix_of(rule: &LifecycleRule) -> Option<&str> {
    #[allow(deprecated, reason = "old rules carry their prefix here")]
    let old = rule.prefix();
    let filter = rule.filter();
    let both = filter.and_then(|filter| filter.and());
    if filter.is_some_and(|filter| filter.tag().is_some()) || both.is_some_and(|both| !both.tags().is_empty()) {
        return None;
    }
    let new = filter.and_then(|filter| filter.prefix()).or_else(|| both.and_then(|both| both.prefix()));
    Some(new.or(old).unwrap_or_default())
}

async fn notifications(store: &S3Store, bucket: &str) -> Finding {
    match store.client.get_bucket_notification_configuration().bucket(bucket).send().await {
        Ok(found) => {
            let queues = found.queue_configurations().iter().map(|queue| queue.queue_arn().to_owned());
            let topics = found.topic_configurations().iter().map(|topic| topic.topic_arn().to_owned());
            let bridge = found.event_bridge_configuration().map(|_| "EventBridge".to_owned());
            let told: Vec<_> = queues.chain(topics).chain(bridge).collect();
            if told.is_empty() {
                (Advice, "none; uploads are noticed by the sweep alone, which is slower".into())
            } else {
                (Good, format!("sent to {}", told.join(", ")))
            }
        }
        Err(error) => (Unknown, failure("GetBucketNotificationConfiguration", &error).to_string()),
    }
}

/// The smallest IAM policy that suffices for a target; `None` where it is no S3 target.
///
/// Version 2012-10-17 of the policy language. With a staging bucket of its own, clients' URLs can only write there.
pub fn iam_policy(target: &Target) -> Option<Value> {
    let location = Location::of(target)?;
    let partition = Partition::of(&location.region).name;
    let arn = |bucket: &str| format!("arn:{partition}:s3:::{bucket}");
    let served = format!("{}/*", arn(&location.bucket));
    let staged = format!("{}/{}*", arn(&location.staging_bucket), target.staging_prefix);
    let (buckets, objects) = if location.bucket == location.staging_bucket {
        (vec![arn(&location.bucket)], vec![served])
    } else {
        (vec![arn(&location.bucket), arn(&location.staging_bucket)], vec![served, staged])
    };
    let mut policy = json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "VestibuleObjects",
                "Effect": "Allow",
                "Action": [
                    "s3:PutObject", "s3:GetObject", "s3:GetObjectVersion", "s3:DeleteObject", "s3:DeleteObjectVersion",
                    "s3:PutObjectTagging", "s3:GetObjectTagging"
                ],
                "Resource": objects
            },
            {
                "Sid": "VestibuleBuckets",
                "Effect": "Allow",
                "Action": [
                    "s3:ListBucket", "s3:GetBucketPublicAccessBlock", "s3:GetBucketCORS", "s3:GetBucketVersioning",
                    "s3:GetBucketObjectLockConfiguration", "s3:GetLifecycleConfiguration", "s3:GetBucketNotification"
                ],
                "Resource": buckets
            }
        ]
    });
    if target.retention.is_some()
        && let Some(statements) = policy["Statement"].as_array_mut()
    {
        statements.push(json!({
            "Sid": "VestibuleRetention",
            "Effect": "Allow",
            "Action": ["s3:PutObjectRetention", "s3:GetObjectRetention", "s3:GetObjectLegalHold"],
            "Resource": [format!("{}/*", arn(&location.bucket))]
        }));
    }
    Some(policy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_pattern_has_one_star() {
        let allowed = |patterns: &[&str]| {
            let patterns: Vec<_> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
            UPLOAD_HEADERS.map(|header| allows(&patterns, header))
        };
        assert_eq!(allowed(&["*"]), [true, true, true]);
        assert_eq!(allowed(&["Content-Type", "x-amz-*"]), [true, false, true]);
        assert_eq!(allowed(&[]), [false, false, false]);
    }
}
