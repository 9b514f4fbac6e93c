//! Events as they really come: not at all, early, late, twice, about other objects, and unreadable.

use std::time::Instant;

use serde_json::{Value, json};

use super::place::Place;
use super::sources::{self, AzureQueue};
use super::{Cloud, Setup, jpeg, killed, pdf};
use crate::events::aws::TestQueue;
use crate::gateway::PATIENCE;

#[tokio::test]
async fn without_any_event_the_sweep_alone_brings_everything_to_its_end_on_s3() {
    let cloud = Setup::at(Place::versioned_s3().await).sweeping("300ms").start().await;
    super::flow::the_whole_flow(&cloud).await;
    assert_eq!(cloud.metric("vestibule_arrivals_total{source=\"event\"}").await, 0.0);
}

#[tokio::test]
async fn without_any_event_the_sweep_alone_brings_everything_to_its_end_on_azure() {
    let cloud = Setup::at(Place::azure().await).sweeping("300ms").start().await;
    super::flow::the_whole_flow(&cloud).await;
    assert_eq!(cloud.metric("vestibule_arrivals_total{source=\"event\"}").await, 0.0);
}

/// A queue into which the test itself writes what a cloud might.
enum Mail {
    Sqs(TestQueue),
    Azure(AzureQueue),
}

impl Mail {
    async fn raw(&self, body: &str) {
        match self {
            Self::Sqs(queue) => queue.send(body).await,
            Self::Azure(queue) => queue.send(body).await,
        }
    }

    /// Says that something lies under a key.
    async fn announce(&self, place: &Place, key: &str) {
        let text = match self {
            Self::Sqs(_) => {
                let key: String = url::form_urlencoded::byte_serialize(key.as_bytes()).collect();
                let s3 = json!({"bucket": {"name": place.name()}, "object": {"key": key, "sequencer": "0A"}});
                json!({"Records": [{"eventName": "ObjectCreated:Put", "s3": s3}]})
            }
            Self::Azure(_) => json!({
                "topic": "/subscriptions/0", "eventType": "Microsoft.Storage.BlobCreated", "id": "1",
                "subject": format!("/blobServices/default/containers/{}/blobs/{key}", place.name()),
                "data": {"api": "PutBlob"}, "dataVersion": "", "eventTime": "2026-11-21T10:15:30Z"
            }),
        };
        self.raw(&text.to_string()).await;
    }
}

async fn letters(cloud: &Cloud, enough: usize) -> Vec<Value> {
    let started = Instant::now();
    loop {
        let (status, letters) = cloud.gateway.admin_get("/admin/dead-letters").await;
        assert_eq!(status, 200, "{letters}");
        let letters = letters.as_array().unwrap().clone();
        if letters.len() >= enough {
            return letters;
        }
        assert!(started.elapsed() < PATIENCE, "{letters:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

async fn state(cloud: &Cloud, id: &str) -> String {
    cloud.gateway.admin_get(&format!("/admin/objects/{id}")).await.1["state"].as_str().unwrap().to_owned()
}

async fn nothing_but_the_truth_counts(cloud: &Cloud, mail: &Mail, source: &str) {
    let place = &cloud.place;
    let key = |object: &Value| object["stagingKey"].as_str().unwrap().to_owned();
    let (first, first_issued) = cloud.issue(&jpeg(), json!({})).await;
    let (second, second_issued) = cloud.issue(&pdf(), json!({})).await;
    let first_key = key(&cloud.gateway.admin_get(&format!("/admin/objects/{first}")).await.1);
    let second_key = key(&cloud.gateway.admin_get(&format!("/admin/objects/{second}")).await.1);

    // Before the bytes, about another object, about none, about a key that is not ours, and unreadable.
    mail.announce(place, &first_key).await;
    mail.announce(place, &second_key).await;
    mail.announce(place, "incoming/desk/obj_00000000000070008000000000000000/menu.jpg").await;
    mail.announce(place, &format!("incoming/desk/{first}/another-name.jpg")).await;
    mail.announce(place, &format!("desk/{first}/menu.jpg")).await;
    mail.announce(place, "incoming/../../etc/passwd").await;
    mail.raw("this is no event").await;
    mail.raw("{\"Records\": [{\"eventName\": \"ObjectCreated:Put\"}]}").await;
    let kept = letters(cloud, 2).await;
    assert!(kept.iter().any(|letter| letter["body"] == "this is no event"), "{kept:?}");
    for letter in &kept {
        assert!(letter["source"].as_str().unwrap().starts_with(source), "{letter}");
        assert!(!letter["reason"].as_str().unwrap().is_empty(), "{letter}");
    }
    assert_eq!((state(cloud, &first).await.as_str(), state(cloud, &second).await.as_str()), ("issued", "issued"));

    // Twice, after the bytes; the other object still has none.
    assert!((200..300).contains(&cloud.send(&first_issued, &jpeg().bytes).await));
    mail.announce(place, &first_key).await;
    mail.announce(place, &first_key).await;
    cloud.gateway.wait_for(&first, "visible").await;
    assert_eq!(cloud.gateway.download(&first).await, jpeg().bytes);
    assert_eq!(state(cloud, &second).await, "issued");

    // Long after the end, and in between for the other one.
    mail.announce(place, &first_key).await;
    assert!((200..300).contains(&cloud.send(&second_issued, &pdf().bytes).await));
    mail.announce(place, &second_key).await;
    mail.announce(place, &first_key).await;
    cloud.gateway.wait_for(&second, "visible").await;
    cloud.staging_is_empty().await;
    assert_eq!(cloud.gateway.download(&first).await, jpeg().bytes);
    assert_eq!(cloud.gateway.download(&second).await, pdf().bytes);
    for id in [&first, &second] {
        let changes = cloud.actions(id).await.iter().filter(|action| *action == "changeState").count();
        assert_eq!(changes, 4, "uploaded, scanning, promoting, visible: each once");
        assert!(!cloud.actions(id).await.iter().any(|action| action == "removeStray"));
    }
    assert_eq!(letters(cloud, 2).await.len(), 2);
}

#[tokio::test]
async fn early_doubled_late_forged_and_unreadable_events_change_nothing_on_s3() {
    let (queue, lines, undo) = sources::sqs().await;
    let cloud = Setup::at(Place::s3().await).hearing(lines, undo).start().await;
    nothing_but_the_truth_counts(&cloud, &Mail::Sqs(queue), "sqs:").await;
}

#[tokio::test]
async fn early_doubled_late_forged_and_unreadable_events_change_nothing_on_azure() {
    let queue = AzureQueue::create().await;
    let cloud = Setup::at(Place::azure().await).hearing(queue.lines(), ()).start().await;
    nothing_but_the_truth_counts(&cloud, &Mail::Azure(queue), "azure:").await;
}

/// A message is deleted as soon as the job is durable: the job alone, under its lease, brings the object to its end.
#[tokio::test]
async fn a_message_is_gone_while_the_scan_runs_and_a_node_that_is_killed_then_loses_nothing() {
    let (queue, lines, undo) = sources::sqs().await;
    let setup = Setup::at(Place::s3().await).hearing(lines, undo);
    let mut cloud = killed::standing_at(setup, "inspect.scanning").await;
    let upload = jpeg();
    let (id, issued) = cloud.issue(&upload, json!({})).await;
    assert!((200..300).contains(&cloud.send(&issued, &upload.bytes).await));
    let object = cloud.gateway.admin_get(&format!("/admin/objects/{id}")).await.1;
    let mail = Mail::Sqs(queue);
    mail.announce(&cloud.place, object["stagingKey"].as_str().unwrap()).await;

    killed::standing_still(&cloud).await;
    let Mail::Sqs(queue) = &mail else { unreachable!() };
    let started = Instant::now();
    while queue.left().await != (0, 0) {
        assert!(started.elapsed() < PATIENCE, "the message is held");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(state(&cloud, &id).await, "scanning");
    killed::killed_and_started_again(&mut cloud).await;
    cloud.gateway.wait_for(&id, "visible").await;
    assert_eq!(cloud.gateway.download(&id).await, upload.bytes);
}

/// No sweep here: what a form wrote more than once goes with the upload that it belongs to, version by version.
#[tokio::test]
async fn a_form_that_was_sent_three_times_leaves_no_version_behind() {
    let (queue, lines, undo) = sources::sqs().await;
    let cloud = Setup::at(Place::versioned_s3().await).hearing(lines, undo).start().await;
    let mail = Mail::Sqs(queue);
    let good = jpeg();
    for (last, state) in [(good.bytes.clone(), "visible"), (vec![7; good.bytes.len()], "rejected")] {
        let (id, issued) = cloud.issue(&good, json!({ "method": "POST" })).await;
        for bytes in [&good.bytes, &vec![1; good.bytes.len()], &last] {
            assert!((200..300).contains(&cloud.send(&issued, bytes).await));
        }
        let object = cloud.gateway.admin_get(&format!("/admin/objects/{id}")).await.1;
        mail.announce(&cloud.place, object["stagingKey"].as_str().unwrap()).await;
        cloud.gateway.wait_for(&id, state).await;
        cloud.staging_is_empty().await;
        if state == "visible" {
            assert_eq!(cloud.gateway.download(&id).await, good.bytes);
        }
        // Other bytes than those that were judged, beside a visible object, are told as strays.
        let told = cloud.actions(&id).await.iter().any(|action| action == "removeStray");
        assert_eq!(told, state == "visible");
    }
}
