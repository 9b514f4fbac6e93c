//! How a test's gateway hears of uploads: S3 by SQS, SNS and EventBridge, Azure by a storage queue and the emitter.
//!
//! Each function wires a bucket or container and returns the lines of the configuration, with what must be kept for as
//! long as the gateway runs.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use aws_sdk_s3::types::{
    Event, EventBridgeConfiguration, FilterRule, FilterRuleName, NotificationConfiguration,
    NotificationConfigurationFilter, QueueConfiguration, S3KeyFilter, TopicConfiguration,
};
use azure_core::http::RequestContent;
use azure_storage_queue::models::QueueMessage;
use azure_storage_queue::{QueueClient, QueueClientOptions};
use serde_json::json;

use super::place::{Place, Undo, azure_options};
use crate::events::aws::{self, TestQueue};
use crate::harness::{env, unique};
use crate::s3::owner;

/// An SQS queue of a test's own, with its lines of the configuration.
pub async fn sqs() -> (TestQueue, String, Undo) {
    let queue = TestQueue::create().await;
    let lines = format!(
        "[[events.sqs]]\nqueue_url = '{}'\nregion = '{}'\nendpoint = '{}'\ncredentials = 'aws'\nvisibility = '10s'\n\
         wait = '1s'\n",
        queue.url,
        aws::REGION,
        aws::endpoint()
    );
    let url = queue.url.clone();
    let undo = Undo::new(async move { aws::delete_queue(&url).await });
    (queue, lines, undo)
}

async fn notify(bucket: &Place, configuration: NotificationConfiguration) {
    let call = owner().put_bucket_notification_configuration().bucket(bucket.name());
    call.notification_configuration(configuration).send().await.unwrap();
}

fn staging() -> NotificationConfigurationFilter {
    let prefix = FilterRule::builder().name(FilterRuleName::Prefix).value("incoming/").build();
    NotificationConfigurationFilter::builder().key(S3KeyFilter::builder().filter_rules(prefix).build()).build()
}

/// S3 → SQS.
pub async fn direct(bucket: &Place) -> (String, Undo) {
    let (queue, lines, undo) = sqs().await;
    let to = QueueConfiguration::builder().queue_arn(queue.arn()).events(Event::S3ObjectCreated).filter(staging());
    notify(bucket, NotificationConfiguration::builder().queue_configurations(to.build().unwrap()).build()).await;
    (lines, undo)
}

/// A topic that the bucket writes to; its ARN.
pub async fn topic(bucket: &Place) -> (String, Undo) {
    let topic = aws::create_topic().await;
    let to = TopicConfiguration::builder().topic_arn(&topic).events(Event::S3ObjectCreated).filter(staging());
    notify(bucket, NotificationConfiguration::builder().topic_configurations(to.build().unwrap()).build()).await;
    let arn = topic.clone();
    let undo = Undo::new(async move {
        aws::sns("DeleteTopic", &[("TopicArn", &arn)]).await;
    });
    (topic, undo)
}

/// S3 → SNS → SQS, enveloped.
pub async fn by_sns(bucket: &Place) -> (String, (Undo, Undo)) {
    let (queue, lines, undo) = sqs().await;
    let (topic, undo_topic) = topic(bucket).await;
    aws::sns("Subscribe", &[("TopicArn", &topic), ("Protocol", "sqs"), ("Endpoint", &queue.arn())]).await;
    (lines, (undo_topic, undo))
}

/// S3 → EventBridge → SQS.
pub async fn by_eventbridge(bucket: &Place) -> (String, (Undo, Undo)) {
    let (queue, lines, undo) = sqs().await;
    let rule = unique("cloud");
    let pattern = json!({"source": ["aws.s3"], "detail-type": ["Object Created"],
        "detail": {"bucket": {"name": [bucket.name()]}, "object": {"key": [{"prefix": "incoming/"}]}}});
    aws::eventbridge("PutRule", json!({"Name": rule, "EventPattern": pattern.to_string()})).await;
    let to = json!({"Rule": rule, "Targets": [{"Id": "queue", "Arn": queue.arn()}]});
    aws::eventbridge("PutTargets", to).await;
    let all = EventBridgeConfiguration::builder().build();
    notify(bucket, NotificationConfiguration::builder().event_bridge_configuration(all).build()).await;
    let undo_rule = Undo::new(async move {
        aws::eventbridge("RemoveTargets", json!({"Rule": rule, "Ids": ["queue"]})).await;
        aws::eventbridge("DeleteRule", json!({"Name": rule})).await;
    });
    (lines, (undo_rule, undo))
}

/// A storage queue of a test's own.
pub struct AzureQueue {
    name: String,
    _undo: Undo,
}

fn queue_client(name: &str) -> QueueClient {
    let url = format!("{}/{name}", env("VESTIBULE_TEST_AZURITE_QUEUE")).parse().unwrap();
    let options = QueueClientOptions { client_options: azure_options(), ..QueueClientOptions::default() };
    QueueClient::new(url, None, Some(options)).unwrap()
}

impl AzureQueue {
    pub async fn create() -> Self {
        let name = unique("cloud");
        queue_client(&name).create(None).await.unwrap();
        let own = name.clone();
        let undo = Undo::new(async move {
            queue_client(&own).delete(None).await.unwrap();
        });
        Self { name, _undo: undo }
    }

    pub fn lines(&self) -> String {
        format!(
            "[[events.azure_queues]]\naccount = '{}'\nqueue = '{}'\nendpoint = '{}'\ncredentials = 'azurite'\n\
             visibility = '10s'\npoll = '200ms'\n",
            env("VESTIBULE_TEST_AZURITE_ACCOUNT"),
            self.name,
            env("VESTIBULE_TEST_AZURITE_QUEUE")
        )
    }

    pub async fn send(&self, body: &str) {
        let message = QueueMessage { message_text: Some(body.to_owned()) };
        let content: RequestContent<_, _> = message.try_into().unwrap();
        queue_client(&self.name).send_message(content, None).await.unwrap();
    }
}

/// The stand-in for Event Grid, as a process of its own; dropping it ends it.
pub struct Emitter(Child);

impl Drop for Emitter {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Event Grid → Storage Queue, by the emitter with these options of its.
pub async fn by_emitter(container: &Place, options: &[&str]) -> (String, (Emitter, AzureQueue)) {
    let queue = AzureQueue::create().await;
    let emitter = Command::new(env("VESTIBULE_TEST_PYTHON"))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("localstack/emitter.py"))
        .args(["--account-url", &env("VESTIBULE_TEST_AZURITE_BLOB")])
        .args(["--queue-url", &env("VESTIBULE_TEST_AZURITE_QUEUE")])
        .args(["--key", &env("VESTIBULE_TEST_AZURITE_KEY")])
        .args(["--container", container.name(), "--queue", &queue.name, "--interval", "0.2"])
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    (queue.lines(), (Emitter(emitter), queue))
}
