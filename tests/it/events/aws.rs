//! A bucket, queue, topic and rule of a test's own, on LocalStack.
//!
//! SNS and EventBridge are spoken to by plain HTTP: the gateway needs no client for them, and the tests only four calls.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::types::{
    BucketLocationConstraint, BucketVersioningStatus, CreateBucketConfiguration, Event, EventBridgeConfiguration,
    NotificationConfiguration, QueueConfiguration, TopicConfiguration, VersioningConfiguration,
};
use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::{Value, json};
use vestibule::worker::events::config::SqsSource;
use vestibule::worker::events::sqs::SqsQueue;

use crate::harness::{env, unique};

pub const REGION: &str = "eu-central-1";

pub fn credentials() -> SharedCredentialsProvider {
    SharedCredentialsProvider::new(Credentials::from_keys("test", "test", None))
}

pub fn endpoint() -> String {
    env("VESTIBULE_TEST_S3_ENDPOINT")
}

fn sqs_client() -> aws_sdk_sqs::Client {
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(aws_sdk_sqs::config::BehaviorVersion::latest())
        .region(aws_sdk_sqs::config::Region::new(REGION))
        .credentials_provider(credentials())
        .endpoint_url(endpoint());
    aws_sdk_sqs::Client::from_conf(config.build())
}

fn s3_client() -> aws_sdk_s3::Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(aws_sdk_s3::config::BehaviorVersion::latest())
        .region(aws_sdk_s3::config::Region::new(REGION))
        .credentials_provider(credentials())
        .endpoint_url(endpoint())
        .force_path_style(true);
    aws_sdk_s3::Client::from_conf(config.build())
}

/// A queue of a test's own.
pub struct TestQueue {
    client: aws_sdk_sqs::Client,
    pub name: String,
    pub url: String,
}

impl TestQueue {
    pub async fn create() -> Self {
        Self::create_named(unique("vst-events")).await
    }

    pub async fn create_named(name: String) -> Self {
        let client = sqs_client();
        let url = client.create_queue().queue_name(&name).send().await.unwrap().queue_url.unwrap();
        Self { client, name, url }
    }

    pub fn arn(&self) -> String {
        format!("arn:aws:sqs:{REGION}:000000000000:{}", self.name)
    }

    pub async fn send(&self, body: impl Into<String>) {
        self.client.send_message().queue_url(&self.url).message_body(body).send().await.unwrap();
    }

    /// The source under test, with short times.
    pub fn source(&self, visibility: u64) -> SqsQueue {
        SqsQueue::new(&source(&self.url, visibility), credentials())
    }

    /// Messages in the queue: visible, and received but not deleted.
    pub async fn left(&self) -> (usize, usize) {
        use QueueAttributeName::{
            ApproximateNumberOfMessages as Visible, ApproximateNumberOfMessagesNotVisible as Hidden,
        };
        let answer = self
            .client
            .get_queue_attributes()
            .queue_url(&self.url)
            .attribute_names(Visible)
            .attribute_names(Hidden)
            .send()
            .await
            .unwrap();
        let attributes = answer.attributes.unwrap();
        (attributes[&Visible].parse().unwrap(), attributes[&Hidden].parse().unwrap())
    }

    pub async fn remove(self) {
        self.client.delete_queue().queue_url(&self.url).send().await.unwrap();
    }
}

/// Deletes a queue, from any runtime.
pub async fn delete_queue(url: &str) {
    sqs_client().delete_queue().queue_url(url).send().await.unwrap();
}

pub fn source(url: &str, visibility: u64) -> SqsSource {
    SqsSource {
        queue_url: url.to_owned(),
        region: REGION.to_owned(),
        endpoint: Some(endpoint().parse().unwrap()),
        credentials: None,
        visibility: Duration::from_secs(visibility),
        wait: Duration::from_secs(1),
        in_flight: 64,
    }
}

/// A versioned bucket of a test's own.
pub struct TestBucket {
    client: aws_sdk_s3::Client,
    pub name: String,
}

impl TestBucket {
    pub async fn create() -> Self {
        let (client, name) = (s3_client(), unique("vst-events"));
        let place =
            CreateBucketConfiguration::builder().location_constraint(BucketLocationConstraint::EuCentral1).build();
        client.create_bucket().bucket(&name).create_bucket_configuration(place).send().await.unwrap();
        let versioning = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        client.put_bucket_versioning().bucket(&name).versioning_configuration(versioning).send().await.unwrap();
        Self { client, name }
    }

    async fn notify(&self, configuration: NotificationConfiguration) {
        self.client
            .put_bucket_notification_configuration()
            .bucket(&self.name)
            .notification_configuration(configuration)
            .send()
            .await
            .unwrap();
    }

    pub async fn notify_queue(&self, arn: &str) {
        let queue = QueueConfiguration::builder()
            .queue_arn(arn)
            .events(Event::S3ObjectCreated)
            .events(Event::S3ObjectRemoved)
            .build()
            .unwrap();
        self.notify(NotificationConfiguration::builder().queue_configurations(queue).build()).await;
    }

    pub async fn notify_topic(&self, arn: &str) {
        let topic = TopicConfiguration::builder().topic_arn(arn).events(Event::S3ObjectCreated).build().unwrap();
        self.notify(NotificationConfiguration::builder().topic_configurations(topic).build()).await;
    }

    pub async fn notify_eventbridge(&self) {
        let all = EventBridgeConfiguration::builder().build();
        self.notify(NotificationConfiguration::builder().event_bridge_configuration(all).build()).await;
    }

    /// Puts five bytes and returns their version.
    pub async fn put(&self, key: &str) -> String {
        let body = aws_sdk_s3::primitives::ByteStream::from_static(b"hello");
        let answer = self.client.put_object().bucket(&self.name).key(key).body(body).send().await.unwrap();
        answer.version_id.unwrap()
    }

    pub async fn delete(&self, key: &str) {
        self.client.delete_object().bucket(&self.name).key(key).send().await.unwrap();
    }

    pub async fn remove(self) {
        let versions = self.client.list_object_versions().bucket(&self.name).send().await.unwrap();
        let objects = versions.versions().iter().map(|v| (v.key.clone(), v.version_id.clone()));
        let markers = versions.delete_markers().iter().map(|m| (m.key.clone(), m.version_id.clone()));
        for (key, version) in objects.chain(markers) {
            let delete = self.client.delete_object().bucket(&self.name).set_key(key).set_version_id(version);
            delete.send().await.unwrap();
        }
        self.client.delete_bucket().bucket(&self.name).send().await.unwrap();
    }
}

async fn post(service: &str, request: reqwest::RequestBuilder) -> String {
    // LocalStack finds the service by the credential's scope and does not look at the signature.
    let scope = format!("test/20260101/{REGION}/{service}/aws4_request");
    let header = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0");
    let answer = request.header("authorization", header).send().await.unwrap();
    let status = answer.status();
    let body = answer.text().await.unwrap();
    assert!(status.is_success(), "{service}: {status} {body}");
    body
}

/// One call of the SNS query API; returns the XML.
pub async fn sns(action: &str, parameters: &[(&str, &str)]) -> String {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("Action", action)
        .append_pair("Version", "2010-03-31")
        .extend_pairs(parameters)
        .finish();
    let request =
        reqwest::Client::new().post(endpoint()).header("content-type", "application/x-www-form-urlencoded").body(body);
    post("sns", request).await
}

/// A topic of a test's own; returns its ARN.
pub async fn create_topic() -> String {
    let xml = sns("CreateTopic", &[("Name", &unique("vst-events"))]).await;
    let arn = xml.split_once("<TopicArn>").unwrap().1.split_once("</TopicArn>").unwrap().0;
    arn.to_owned()
}

/// One call of the EventBridge API.
pub async fn eventbridge(action: &str, body: Value) -> Value {
    let request = reqwest::Client::new()
        .post(endpoint())
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", format!("AWSEvents.{action}"))
        .body(body.to_string());
    let answer = post("events", request).await;
    if answer.is_empty() { json!({}) } else { serde_json::from_str(&answer).unwrap() }
}
