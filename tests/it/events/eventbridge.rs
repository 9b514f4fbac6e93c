//! S3 events by way of EventBridge.

use std::sync::Arc;

use serde_json::json;
use vestibule::clock::Clock;
use vestibule::worker::events::Consumer;

use super::aws::{TestBucket, TestQueue, eventbridge};
use super::recorder::{Recorder, step_until};
use crate::harness::unique;

#[tokio::test]
async fn what_eventbridge_forwards_arrives_with_its_key() {
    let (bucket, queue) = (TestBucket::create().await, TestQueue::create().await);
    let rule = unique("vst-events");
    let pattern = json!({"source": ["aws.s3"], "detail": {"bucket": {"name": [bucket.name]}}}).to_string();
    eventbridge("PutRule", json!({"Name": rule, "EventPattern": pattern})).await;
    let targets = json!({"Rule": rule, "Targets": [{"Id": "queue", "Arn": queue.arn()}]});
    eventbridge("PutTargets", targets).await;
    bucket.notify_eventbridge().await;
    let key = "incoming/red flower+é.txt";
    let version = bucket.put(key).await;

    let recorder = Arc::new(Recorder::new());
    let mut consumer = Consumer::new(Arc::new(queue.source(30)), recorder.clone(), 64, Clock::system());
    step_until(&mut consumer, "a hint", || !recorder.hints().is_empty()).await;
    let hint = recorder.hints().remove(0);
    assert_eq!((hint.bucket.as_str(), hint.key.as_str()), (bucket.name.as_str(), key));
    assert_eq!(hint.version, Some(version));
    assert_eq!(recorder.letters(), []);

    eventbridge("RemoveTargets", json!({"Rule": rule, "Ids": ["queue"]})).await;
    eventbridge("DeleteRule", json!({"Name": rule})).await;
    bucket.remove().await;
    queue.remove().await;
}
