//! SQS: what S3 and SNS put there, what nobody should, and how long a message is held.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use vestibule::clock::Clock;
use vestibule::domain::hint::HintKind;
use vestibule::worker::events::sqs::SqsQueue;
use vestibule::worker::events::{Consumer, Step};
use vestibule::worker::stop::Stop;

use super::aws::{TestBucket, TestQueue, create_topic, credentials, endpoint, sns, source};
use super::recorder::{Recorder, step_until, wait_until};
use crate::harness::unique;

fn consumer(queue: SqsQueue, recorder: &Arc<Recorder>) -> Consumer {
    Consumer::new(Arc::new(queue), recorder.clone(), 64, Clock::system())
}

fn records(keys: &[&str]) -> String {
    let record = |key: &&str| -> Value {
        json!({"eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": "uploads"}, "object": {"key": key, "sequencer": "0055AED6DCD90281E5"}}})
    };
    json!({"Records": keys.iter().map(record).collect::<Vec<_>>()}).to_string()
}

#[tokio::test]
async fn what_s3_announces_arrives_with_its_key_and_version_and_the_test_event_says_nothing() {
    let (bucket, queue) = (TestBucket::create().await, TestQueue::create().await);
    bucket.notify_queue(&queue.arn()).await;
    let key = "incoming/red flower+é (1).txt";
    let version = bucket.put(key).await;
    bucket.delete(key).await;

    let recorder = Arc::new(Recorder::new());
    let mut consumer = consumer(queue.source(30), &recorder);
    step_until(&mut consumer, "two hints", || recorder.calls() >= 2).await;

    let hints = recorder.hints();
    let created = hints.iter().find(|hint| hint.kind == HintKind::Created).unwrap();
    assert_eq!((created.bucket.as_str(), created.key.as_str()), (bucket.name.as_str(), key));
    assert_eq!(created.version, Some(version));
    assert!(created.at.is_some());
    assert!(hints.iter().any(|hint| hint.kind == HintKind::Removed && hint.key == key));
    assert_eq!(recorder.letters(), []);
    assert_eq!(queue.left().await, (0, 0), "the test event is deleted too");
    bucket.remove().await;
    queue.remove().await;
}

#[tokio::test]
async fn what_sns_forwards_arrives_in_its_envelope_and_raw() {
    let (bucket, enveloped, raw) = (TestBucket::create().await, TestQueue::create().await, TestQueue::create().await);
    let topic = create_topic().await;
    sns("Subscribe", &[("TopicArn", &topic), ("Protocol", "sqs"), ("Endpoint", &enveloped.arn())]).await;
    sns(
        "Subscribe",
        &[
            ("TopicArn", &topic),
            ("Protocol", "sqs"),
            ("Endpoint", &raw.arn()),
            ("Attributes.entry.1.key", "RawMessageDelivery"),
            ("Attributes.entry.1.value", "true"),
        ],
    )
    .await;
    bucket.notify_topic(&topic).await;
    bucket.put("incoming/a b.txt").await;

    for queue in [&enveloped, &raw] {
        let recorder = Arc::new(Recorder::new());
        let mut consumer = consumer(queue.source(30), &recorder);
        step_until(&mut consumer, "a hint", || !recorder.hints().is_empty()).await;
        assert_eq!(recorder.keys(), ["incoming/a b.txt"]);
        assert_eq!(recorder.letters(), []);
    }
    sns("DeleteTopic", &[("TopicArn", &topic)]).await;
    bucket.remove().await;
    enveloped.remove().await;
    raw.remove().await;
}

#[tokio::test]
async fn doubled_reordered_multi_record_and_garbage_messages_are_each_handled_once_and_deleted() {
    let queue = TestQueue::create().await;
    queue.send(records(&["late"])).await;
    queue.send(records(&["first", "second+half", "third%20one"])).await;
    queue.send(records(&["first"])).await;
    queue.send("not an event").await;
    queue.send(r#"{"Records":[{"eventName":"ObjectCreated:Put"}]}"#).await;

    let recorder = Arc::new(Recorder::new());
    let mut consumer = consumer(queue.source(30), &recorder);
    step_until(&mut consumer, "seven calls", || recorder.calls() >= 7).await;

    let mut keys = recorder.keys();
    keys.sort();
    assert_eq!(keys, ["first", "first", "late", "second half", "third one"]);
    let mut letters = recorder.letters();
    letters.sort();
    assert_eq!(letters[0].0, "not an event");
    assert!(letters[0].1.contains("neither JSON nor base64"), "{}", letters[0].1);
    assert_eq!(letters[1].1, "the S3 record has no readable /s3/bucket/name");
    assert_eq!(queue.left().await, (0, 0));
    queue.remove().await;
}

#[tokio::test]
async fn a_message_whose_handling_fails_comes_back() {
    let queue = TestQueue::create().await;
    queue.send(records(&["a", "b"])).await;
    let recorder = Arc::new(Recorder::failing(1));
    let mut consumer = consumer(queue.source(2), &recorder);

    step_until(&mut consumer, "the first try", || recorder.calls() == 1).await;
    assert_eq!(recorder.keys(), [""; 0]);
    assert_eq!(queue.left().await.0 + queue.left().await.1, 1);
    step_until(&mut consumer, "the second try", || recorder.calls() >= 3).await;
    assert_eq!(recorder.keys(), ["a", "b"]);
    assert_eq!(queue.left().await, (0, 0));
    queue.remove().await;
}

#[tokio::test]
async fn garbage_stays_in_the_queue_until_its_dead_letter_is_kept() {
    let queue = TestQueue::create().await;
    queue.send("not an event").await;
    let recorder = Arc::new(Recorder::failing(1));
    let mut consumer = consumer(queue.source(2), &recorder);
    step_until(&mut consumer, "the dead letter", || !recorder.letters().is_empty()).await;
    assert_eq!((recorder.calls(), recorder.letters().len()), (2, 1));
    assert_eq!(queue.left().await, (0, 0));
    queue.remove().await;
}

#[tokio::test]
async fn a_message_is_held_for_several_visibility_timeouts_and_delivered_once() {
    let queue = TestQueue::create().await;
    queue.send(records(&["slow"])).await;
    let recorder = Arc::new(Recorder::slow());
    let mut first = consumer(queue.source(2), &recorder);
    while recorder.calls() == 0 {
        first.step().await.unwrap();
    }

    let watching = Arc::new(Recorder::new());
    let mut second = consumer(queue.source(2), &watching);
    for _ in 0..6 {
        second.step().await.unwrap();
    }
    assert_eq!(watching.calls(), 0, "another node received the message");
    assert_eq!(queue.left().await, (0, 1));

    recorder.let_go();
    assert_eq!(first.drain().await, Step { done: 1, ..Step::default() });
    assert_eq!(recorder.calls(), 1);
    assert_eq!(queue.left().await, (0, 0));
    queue.remove().await;
}

#[tokio::test]
async fn no_more_messages_are_in_flight_than_allowed() {
    let queue = TestQueue::create().await;
    for n in 0..5 {
        queue.send(records(&[&format!("{n}")])).await;
    }
    let recorder = Arc::new(Recorder::slow());
    let mut consumer = Consumer::new(Arc::new(queue.source(30)), recorder.clone(), 2, Clock::system());
    wait_for_two(&mut consumer, &recorder).await;
    let third = tokio::time::timeout(Duration::from_secs(2), consumer.step()).await;
    assert!(third.is_err(), "a step went on without room: {third:?}");
    assert_eq!(recorder.calls(), 2);

    recorder.let_go();
    step_until(&mut consumer, "all five", || recorder.calls() == 5).await;
    assert_eq!(queue.left().await, (0, 0));
    queue.remove().await;
}

async fn wait_for_two(consumer: &mut Consumer, recorder: &Recorder) {
    let mut received = 0;
    while received < 2 {
        received += consumer.step().await.unwrap().received;
    }
    wait_until("two hints", || recorder.calls() == 2).await;
}

#[tokio::test]
async fn the_loop_outlives_a_queue_that_is_away_and_ends_on_shutdown() {
    let name = unique("vst-events");
    let url = format!("{}/queue/eu-central-1/000000000000/{name}", endpoint());
    let recorder = Arc::new(Recorder::new());
    let early = consumer(SqsQueue::new(&source(&url, 30), credentials()), &recorder);
    let shutdown = Stop::default();
    let running = tokio::spawn(early.run(shutdown.clone()));
    tokio::time::sleep(Duration::from_millis(500)).await;

    let queue = TestQueue::create_named(name).await;
    queue.send(records(&["after"])).await;
    wait_until("the hint", || recorder.keys() == ["after"]).await;
    shutdown.take_nothing_new();
    tokio::time::timeout(Duration::from_secs(10), running).await.unwrap().unwrap();
    queue.remove().await;
}

#[tokio::test]
async fn a_message_that_is_held_at_the_end_goes_to_the_next_node_at_once() {
    let queue = TestQueue::create().await;
    queue.send(records(&["held"])).await;
    let holding = Arc::new(Recorder::slow());
    let stop = Stop::default();
    // One at a time, so that no receive is under way when it is let go: LocalStack would give that one the message.
    let held = Consumer::new(Arc::new(queue.source(600)), holding.clone(), 1, Clock::system());
    let running = tokio::spawn(held.run(stop.clone()));
    wait_until("the hint", || holding.calls() == 1).await;
    stop.let_go();
    tokio::time::timeout(Duration::from_secs(20), running).await.unwrap().unwrap();

    // Not in ten minutes, when it would become visible by itself.
    let next = Arc::new(Recorder::new());
    let mut other = consumer(queue.source(30), &next);
    step_until(&mut other, "the same hint", || next.keys() == ["held"]).await;
    queue.remove().await;
}
