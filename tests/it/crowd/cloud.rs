//! Two buckets on LocalStack, the queue that they tell, and the bad messenger between that queue and the gateway's.
//!
//! The buckets' notifications go to the first queue. [`Cloud::relay`] hands each of them on to the second one twice, in
//! another order, and keeps one in ten to itself. The gateway knows the second queue only.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::types::{
    BucketLocationConstraint, CreateBucketConfiguration, Delete, Event, FilterRule, FilterRuleName,
    NotificationConfiguration, NotificationConfigurationFilter, ObjectIdentifier, QueueConfiguration, S3KeyFilter,
};
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, Message, SendMessageBatchRequestEntry};
use futures::future::join_all;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde_json::json;

use crate::harness::{env, unique};

const REGION: &str = "eu-central-1";
/// Copies that are shuffled together. Half of them stay for the next shuffle, so that some come late.
const WINDOW: usize = 200;

pub struct Cloud {
    s3: aws_sdk_s3::Client,
    sqs: aws_sdk_sqs::Client,
    /// Where the gateway finds LocalStack.
    pub endpoint: String,
    pub images: String,
    pub finance: String,
    told: String,
    heard: String,
}

/// What the messenger did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Relayed {
    pub events: usize,
    pub withheld: usize,
    pub delivered: usize,
}

impl Cloud {
    pub async fn create() -> Self {
        let endpoint = env("VESTIBULE_TEST_S3_ENDPOINT");
        let keys = SharedCredentialsProvider::new(Credentials::from_keys("test", "test", None));
        let s3 = aws_sdk_s3::Config::builder()
            .behavior_version(aws_sdk_s3::config::BehaviorVersion::latest())
            .region(aws_sdk_s3::config::Region::new(REGION))
            .credentials_provider(keys.clone())
            .endpoint_url(&endpoint)
            .force_path_style(true);
        let sqs = aws_sdk_sqs::Config::builder()
            .behavior_version(aws_sdk_sqs::config::BehaviorVersion::latest())
            .region(aws_sdk_sqs::config::Region::new(REGION))
            .credentials_provider(keys)
            .endpoint_url(&endpoint);
        let (s3, sqs) = (aws_sdk_s3::Client::from_conf(s3.build()), aws_sdk_sqs::Client::from_conf(sqs.build()));
        let queue = async |name: &str| sqs.create_queue().queue_name(name).send().await.unwrap().queue_url.unwrap();
        let (name, images, finance) = (unique("crowd-told"), unique("crowd-images"), unique("crowd-finance"));
        let (told, heard) = (queue(&name).await, queue(&unique("crowd-heard")).await);
        for bucket in [&images, &finance] {
            let place =
                CreateBucketConfiguration::builder().location_constraint(BucketLocationConstraint::EuCentral1).build();
            s3.create_bucket().bucket(bucket).create_bucket_configuration(place).send().await.unwrap();
            let staging = FilterRule::builder().name(FilterRuleName::Prefix).value("incoming/").build();
            let filter = S3KeyFilter::builder().filter_rules(staging).build();
            let queue = QueueConfiguration::builder()
                .queue_arn(format!("arn:aws:sqs:{REGION}:000000000000:{name}"))
                .events(Event::S3ObjectCreated)
                .filter(NotificationConfigurationFilter::builder().key(filter).build())
                .build()
                .unwrap();
            let configuration = NotificationConfiguration::builder().queue_configurations(queue).build();
            let put = s3.put_bucket_notification_configuration().bucket(bucket);
            put.notification_configuration(configuration).send().await.unwrap();
        }
        Self { s3, sqs, endpoint, images, finance, told, heard }
    }

    /// The example policies, with their S3 targets in these buckets.
    pub fn write_policies(&self, dir: &Path) {
        let (from, to) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("policies"), dir.join("policies"));
        std::fs::create_dir_all(to.join("apps")).unwrap();
        for name in ["classifications.toml", "base.cedar", "owners.toml"] {
            std::fs::copy(from.join(name), to.join(name)).unwrap();
        }
        std::fs::copy(from.with_file_name("src/cli/dev/limits.toml"), to.join("limits.toml")).unwrap();
        for app in ["where2eat.toml", "finance-invoices.toml", "clinic-forms.toml"] {
            std::fs::copy(from.join("apps").join(app), to.join("apps").join(app)).unwrap();
        }
        let mut targets = String::new();
        for (name, bucket) in [("images", &self.images), ("finance", &self.finance)] {
            targets += &format!(
                "[{name}]\nprovider = \"s3\"\nbucket = \"{bucket}\"\nregion = \"{REGION}\"\nendpoint = \"{}\"\n\
                 path_style = true\ncredentials = \"localstack\"\nresidency = \"eu\"\nenvironment = \"live\"\n",
                self.endpoint
            );
        }
        for (name, environment) in [("images-test", "test"), ("clinic", "live")] {
            targets += &format!(
                "[{name}]\nprovider = \"embedded\"\nbucket = \"vestibule-{name}\"\nresidency = \"eu\"\n\
                 environment = \"{environment}\"\n"
            );
        }
        std::fs::write(to.join("targets.toml"), targets).unwrap();
    }

    /// The setting of the gateway's event source.
    pub fn source(&self) -> String {
        json!([{ "queue_url": self.heard, "region": REGION, "endpoint": self.endpoint, "credentials": "localstack",
                 "wait": "1s" }])
        .to_string()
    }

    /// Hands messages on, badly, until `stop`.
    pub async fn relay(&self, stop: &AtomicBool) -> Relayed {
        let mut rng = StdRng::seed_from_u64(0x5eed_0005);
        let (mut relayed, mut pool) = (Relayed::default(), Vec::new());
        while !stop.load(Ordering::Relaxed) {
            let received: Vec<Message> = join_all((0..4).map(|_| self.receive())).await.into_iter().flatten().collect();
            for message in &received {
                let body = message.body.clone().unwrap();
                relayed.events += 1;
                if relayed.events % 10 == 0 {
                    relayed.withheld += 1;
                } else {
                    pool.extend([body.clone(), body]);
                }
            }
            pool.shuffle(&mut rng);
            let keep = if received.is_empty() { 0 } else { pool.len().min(WINDOW / 2) };
            if received.is_empty() || pool.len() >= WINDOW {
                let send = pool.split_off(keep);
                relayed.delivered += send.len();
                join_all(send.chunks(10).map(|chunk| self.send(chunk))).await;
            }
            join_all(received.chunks(10).map(|chunk| self.delete(chunk))).await;
        }
        relayed
    }

    async fn receive(&self) -> Vec<Message> {
        let receive = self.sqs.receive_message().queue_url(&self.told).max_number_of_messages(10).wait_time_seconds(1);
        receive.send().await.unwrap().messages.unwrap_or_default()
    }

    async fn send(&self, bodies: &[String]) {
        let entry = |(id, body): (usize, &String)| {
            SendMessageBatchRequestEntry::builder().id(id.to_string()).message_body(body).build().unwrap()
        };
        let entries = bodies.iter().enumerate().map(entry).collect();
        self.sqs.send_message_batch().queue_url(&self.heard).set_entries(Some(entries)).send().await.unwrap();
    }

    async fn delete(&self, messages: &[Message]) {
        let entry = |(id, message): (usize, &Message)| {
            DeleteMessageBatchRequestEntry::builder()
                .id(id.to_string())
                .set_receipt_handle(message.receipt_handle.clone())
                .build()
                .unwrap()
        };
        let entries = messages.iter().enumerate().map(entry).collect();
        self.sqs.delete_message_batch().queue_url(&self.told).set_entries(Some(entries)).send().await.unwrap();
    }

    /// Every key in both buckets.
    pub async fn keys(&self) -> BTreeSet<String> {
        let mut keys = BTreeSet::new();
        for bucket in [&self.images, &self.finance] {
            let mut pages = self.s3.list_objects_v2().bucket(bucket).into_paginator().send();
            while let Some(page) = pages.next().await {
                keys.extend(page.unwrap().contents.unwrap_or_default().into_iter().filter_map(|object| object.key));
            }
        }
        keys
    }

    /// Removes everything that was made.
    pub async fn remove(self) {
        let keys: Vec<_> = self.keys().await.into_iter().collect();
        let mut by_bucket: BTreeMap<&str, Vec<ObjectIdentifier>> = BTreeMap::new();
        for key in keys {
            let bucket = if key.contains("invoices/") { &self.finance } else { &self.images };
            by_bucket.entry(bucket).or_default().push(ObjectIdentifier::builder().key(key).build().unwrap());
        }
        for (bucket, objects) in by_bucket {
            for page in objects.chunks(1000) {
                let delete = Delete::builder().set_objects(Some(page.to_vec())).quiet(true).build().unwrap();
                self.s3.delete_objects().bucket(bucket).delete(delete).send().await.unwrap();
            }
        }
        for bucket in [&self.images, &self.finance] {
            self.s3.delete_bucket().bucket(bucket).send().await.unwrap();
        }
        for queue in [&self.told, &self.heard] {
            self.sqs.delete_queue().queue_url(queue).send().await.unwrap();
        }
    }
}
