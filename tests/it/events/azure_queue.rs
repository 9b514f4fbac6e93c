//! Azure Storage Queue on Azurite: what Event Grid puts there, by hand and by the emitter, and how long it is held.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use azure_core::http::RequestContent;
use azure_storage_blob::BlobContainerClient;
use azure_storage_queue::models::QueueMessage;
use azure_storage_queue::{QueueClient, QueueClientOptions};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use vestibule::clock::Clock;
use vestibule::domain::hint::HintKind;
use vestibule::storage::azure::shared_key::{AzureCredential, client_options};
use vestibule::worker::events::azure_queue::AzureQueue;
use vestibule::worker::events::config::AzureQueueSource;
use vestibule::worker::events::{Consumer, Step};

use super::recorder::{Recorder, step_until};
use crate::harness::{env, unique};

struct TestQueue {
    client: QueueClient,
    name: String,
}

fn options() -> azure_core::http::ClientOptions {
    let key = AzureCredential::AccountKey(env("VESTIBULE_TEST_AZURITE_KEY").into());
    client_options(&env("VESTIBULE_TEST_AZURITE_ACCOUNT"), &key, None, Clock::system()).unwrap()
}

impl TestQueue {
    async fn create() -> Self {
        let name = unique("vst-events");
        let url = format!("{}/{name}", env("VESTIBULE_TEST_AZURITE_QUEUE")).parse().unwrap();
        let options = QueueClientOptions { client_options: options(), ..QueueClientOptions::default() };
        let client = QueueClient::new(url, None, Some(options)).unwrap();
        client.create(None).await.unwrap();
        Self { client, name }
    }

    async fn send(&self, body: &str) {
        let message = QueueMessage { message_text: Some(body.to_owned()) };
        let content: RequestContent<_, _> = message.try_into().unwrap();
        self.client.send_message(content, None).await.unwrap();
    }

    fn consumer(&self, visibility: u64, recorder: &Arc<Recorder>) -> Consumer {
        let source = AzureQueueSource {
            account: env("VESTIBULE_TEST_AZURITE_ACCOUNT"),
            queue: self.name.clone(),
            endpoint: Some(env("VESTIBULE_TEST_AZURITE_QUEUE").parse().unwrap()),
            credentials: None,
            visibility: Duration::from_secs(visibility),
            poll: Duration::from_millis(200),
            in_flight: 64,
        };
        let queue = AzureQueue::new(&source, options()).unwrap();
        Consumer::new(Arc::new(queue), recorder.clone(), 64, Clock::system())
    }

    /// How many messages are there, visible or not.
    async fn left(&self) -> u64 {
        let properties = self.client.get_properties(None).await.unwrap();
        let name = azure_core::http::headers::HeaderName::from_static("x-ms-approximate-messages-count");
        properties.headers().get_optional_str(&name).unwrap().parse().unwrap()
    }

    async fn remove(self) {
        self.client.delete(None).await.unwrap();
    }
}

fn event_grid(blob: &str) -> Value {
    json!({"topic": "/subscriptions/0", "eventType": "Microsoft.Storage.BlobCreated", "id": "1",
        "subject": format!("/blobServices/default/containers/staging/blobs/{blob}"),
        "data": {"api": "PutBlob"}, "dataVersion": "", "eventTime": "2026-11-21T10:15:30Z"})
}

fn cloud_event(blob: &str) -> Value {
    json!({"specversion": "1.0", "type": "Microsoft.Storage.BlobDeleted", "source": "/s", "id": "1",
        "subject": format!("/blobServices/default/containers/staging/blobs/{blob}")})
}

#[tokio::test]
async fn both_schemas_arrive_plain_and_in_base64_and_garbage_becomes_a_dead_letter() {
    let queue = TestQueue::create().await;
    queue.send(&event_grid("a b&é").to_string()).await;
    queue.send(&STANDARD.encode(event_grid("b").to_string())).await;
    queue.send(&cloud_event("c").to_string()).await;
    queue.send(&STANDARD.encode(json!([cloud_event("d"), event_grid("e")]).to_string())).await;
    queue.send("neither").await;

    let recorder = Arc::new(Recorder::new());
    let mut consumer = queue.consumer(30, &recorder);
    step_until(&mut consumer, "six calls", || recorder.calls() >= 6).await;
    let mut keys = recorder.keys();
    keys.sort();
    assert_eq!(keys, ["a b&é", "b", "c", "d", "e"]);
    assert!(recorder.hints().iter().any(|hint| hint.key == "c" && hint.kind == HintKind::Removed));
    assert_eq!(recorder.letters()[0].0, "neither");
    assert_eq!(queue.left().await, 0);
    queue.remove().await;
}

#[tokio::test]
async fn what_the_emitter_announces_arrives() {
    let queue = TestQueue::create().await;
    let container = unique("vst-events");
    let url: url::Url = format!("{}/{container}", env("VESTIBULE_TEST_AZURITE_BLOB")).parse().unwrap();
    let blobs = azure_storage_blob::BlobContainerClientOptions { client_options: options(), ..Default::default() };
    let client = BlobContainerClient::new(url, None, Some(blobs)).unwrap();
    client.create(None).await.unwrap();
    let body = RequestContent::from(b"hello".to_vec());
    client.blob_client("menu é.txt").block_blob_client().upload(body, None).await.unwrap();

    for flags in [vec![], vec!["--plain"], vec!["--cloudevents"], vec!["--plain", "--cloudevents"]] {
        let run = Command::new(env("VESTIBULE_TEST_PYTHON"))
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("localstack/emitter.py"))
            .args(["--account-url", &env("VESTIBULE_TEST_AZURITE_BLOB")])
            .args(["--queue-url", &env("VESTIBULE_TEST_AZURITE_QUEUE")])
            .args(["--key", &env("VESTIBULE_TEST_AZURITE_KEY")])
            .args(["--container", &container, "--queue", &queue.name, "--prefix", "", "--once"])
            .args(&flags)
            .output()
            .unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));

        let recorder = Arc::new(Recorder::new());
        let mut consumer = queue.consumer(30, &recorder);
        step_until(&mut consumer, "a hint", || !recorder.hints().is_empty()).await;
        let hint = recorder.hints().remove(0);
        assert_eq!((hint.bucket, hint.key), (container.clone(), "menu é.txt".to_owned()), "{flags:?}");
        assert!(hint.at.is_some() && hint.sequencer.is_some());
        assert_eq!(recorder.letters(), []);
    }
    assert_eq!(queue.left().await, 0);
    client.delete(None).await.unwrap();
    queue.remove().await;
}

#[tokio::test]
async fn a_message_is_held_with_ever_new_pop_receipts_and_delivered_once() {
    let queue = TestQueue::create().await;
    queue.send(&event_grid("slow").to_string()).await;
    let recorder = Arc::new(Recorder::slow());
    let mut first = queue.consumer(2, &recorder);
    while recorder.calls() == 0 {
        first.step().await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    let watching = Arc::new(Recorder::new());
    let mut second = queue.consumer(2, &watching);
    let until = std::time::Instant::now() + Duration::from_secs(6);
    while std::time::Instant::now() < until {
        second.step().await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(watching.calls(), 0, "another node received the message");

    recorder.let_go();
    assert_eq!(first.drain().await, Step { done: 1, ..Step::default() });
    assert_eq!(recorder.calls(), 1);
    assert_eq!(queue.left().await, 0);
    queue.remove().await;
}

#[tokio::test]
async fn a_message_whose_handling_fails_comes_back() {
    let queue = TestQueue::create().await;
    queue.send(&event_grid("again").to_string()).await;
    let recorder = Arc::new(Recorder::failing(1));
    let mut consumer = queue.consumer(2, &recorder);
    step_until(&mut consumer, "the second try", || recorder.calls() >= 2).await;
    assert_eq!(recorder.keys(), ["again"]);
    assert_eq!(queue.left().await, 0);
    queue.remove().await;
}
