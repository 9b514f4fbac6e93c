//! Push delivery by SNS: with keys of our own, made by the `openssl` command, and with what LocalStack really posts.

use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use vestibule::clock::Clock;
use vestibule::worker::events::config::SnsPush;
use vestibule::worker::events::push::{PushOutcome, SnsReceiver};

use super::aws::{TestBucket, create_topic, endpoint, sns};
use super::http::Server;
use super::recorder::wait_until;

const TOPIC: &str = "arn:aws:sns:eu-central-1:111122223333:uploads";

/// A key, its certificate on a loopback server, and a receiver that trusts that server.
struct Fixture {
    directory: tempfile::TempDir,
    server: Server,
    clock: Clock,
    receiver: SnsReceiver,
}

fn openssl(directory: &tempfile::TempDir, arguments: &[&str]) -> Vec<u8> {
    let run = Command::new("openssl").current_dir(directory).args(arguments).output().unwrap();
    assert!(run.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&run.stderr));
    run.stdout
}

impl Fixture {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let request = "req -x509 -newkey rsa:2048 -nodes -keyout key.pem -subj /CN=sns.amazonaws.com -days 30 \
            -addext basicConstraints=critical,CA:FALSE";
        let pem = openssl(&directory, &request.split_whitespace().collect::<Vec<_>>());
        let server = Server::start(pem).await;
        let clock = Clock::manual(Clock::system().now() + jiff::SignedDuration::from_secs(60));
        let config = SnsPush { topic_arns: vec![TOPIC.into()], origin: Some(server.origin.parse().unwrap()) };
        let receiver = SnsReceiver::new(config, clock.clone()).unwrap();
        Self { directory, server, clock, receiver }
    }

    fn envelope(&self, kind: &str, message: &str) -> Value {
        json!({"Type": kind, "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324", "TopicArn": TOPIC, "Message": message,
            "Timestamp": self.clock.now().to_string(), "SignatureVersion": "2", "Token": "2336412f37",
            "SubscribeURL": format!("{}/?Action=ConfirmSubscription&Token=2336412f37", self.server.origin),
            "SigningCertURL": format!("{}/SimpleNotificationService-0.pem", self.server.origin)})
    }

    /// Signs as the developer guide says, with the command line.
    fn sign(&self, envelope: &mut Value, members: &[&str]) -> Vec<u8> {
        let line = |name: &&str| envelope[*name].as_str().map(|value| format!("{name}\n{value}\n"));
        let text: String = members.iter().filter_map(line).collect();
        std::fs::write(self.directory.path().join("text"), text).unwrap();
        let digest = if envelope["SignatureVersion"] == "1" { "-sha1" } else { "-sha256" };
        let signature = openssl(&self.directory, &["dgst", digest, "-sign", "key.pem", "text"]);
        envelope["Signature"] = json!(STANDARD.encode(signature));
        envelope.to_string().into_bytes()
    }

    fn notification(&self, envelope: &mut Value) -> Vec<u8> {
        self.sign(envelope, &["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"])
    }

    fn confirmation(&self, envelope: &mut Value) -> Vec<u8> {
        self.sign(envelope, &["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"])
    }
}

fn records(key: &str) -> String {
    let object = json!({"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"}, "object": {"key": key}}});
    json!({"Records": [object]}).to_string()
}

fn refused(outcome: PushOutcome, part: &str) {
    match outcome {
        PushOutcome::Refused(reason) => assert!(reason.contains(part), "{reason}"),
        other => panic!("expected a refusal for {part}, got {other:?}"),
    }
}

#[tokio::test]
async fn a_signed_notification_is_read_in_both_signature_versions() {
    let fixture = Fixture::new().await;
    for (version, subject) in [("1", None), ("2", None), ("2", Some("Amazon S3 Notification"))] {
        let mut envelope = fixture.envelope("Notification", &records("a+b"));
        envelope["SignatureVersion"] = json!(version);
        envelope["Subject"] = json!(subject);
        match fixture.receiver.handle(&fixture.notification(&mut envelope)).await {
            PushOutcome::Events(parsed) => assert_eq!(parsed.hints[0].key, "a b"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(fixture.server.asked().len(), 1, "the certificate is fetched once");
}

#[tokio::test]
async fn what_is_not_genuine_fresh_and_expected_is_refused() {
    let fixture = Fixture::new().await;
    let receiver = &fixture.receiver;
    refused(receiver.handle(b"{}").await, "not an SNS message");

    let mut other = fixture.envelope("Notification", &records("a"));
    other["TopicArn"] = json!("arn:aws:sns:eu-central-1:111122223333:other");
    refused(receiver.handle(&fixture.notification(&mut other)).await, "topic");

    let mut elsewhere = fixture.envelope("Notification", &records("a"));
    elsewhere["SigningCertURL"] = json!("https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0.pem");
    refused(receiver.handle(&fixture.notification(&mut elsewhere)).await, "host");
    assert_eq!(fixture.server.asked(), [""; 0], "nothing was fetched for any of these");

    for member in ["Message", "MessageId", "Timestamp"] {
        let mut envelope = fixture.envelope("Notification", &records("a"));
        fixture.notification(&mut envelope);
        envelope[member] = match member {
            "Timestamp" => json!((fixture.clock.now() - jiff::SignedDuration::from_secs(1)).to_string()),
            _ => json!(records("b")),
        };
        refused(receiver.handle(envelope.to_string().as_bytes()).await, "signature");
    }

    let mut genuine = fixture.envelope("Notification", &records("a"));
    let genuine = fixture.notification(&mut genuine);
    fixture.clock.advance(Duration::from_secs(3_660));
    refused(receiver.handle(&genuine).await, "older");
}

#[tokio::test]
async fn an_expired_certificate_signs_nothing_and_a_missing_one_asks_to_try_again() {
    let fixture = Fixture::new().await;
    let mut missing = fixture.envelope("Notification", &records("a"));
    missing["SigningCertURL"] = json!(format!("{}/missing.pem", fixture.server.origin));
    let outcome = fixture.receiver.handle(&fixture.notification(&mut missing)).await;
    assert!(matches!(outcome, PushOutcome::Away(_)), "{outcome:?}");

    fixture.clock.advance(Duration::from_secs(31 * 24 * 3600));
    let mut envelope = fixture.envelope("Notification", &records("a"));
    refused(fixture.receiver.handle(&fixture.notification(&mut envelope)).await, "expired");
}

#[tokio::test]
async fn only_a_signed_confirmation_is_confirmed_and_only_at_a_trusted_host() {
    let fixture = Fixture::new().await;
    let mut envelope = fixture.envelope("SubscriptionConfirmation", "You have chosen to subscribe");
    let genuine = fixture.confirmation(&mut envelope);
    let mut forged = envelope.clone();
    forged["Token"] = json!("other");
    refused(fixture.receiver.handle(forged.to_string().as_bytes()).await, "signature");
    assert!(!fixture.server.asked().iter().any(|line| line.contains("ConfirmSubscription")));

    assert_eq!(fixture.receiver.handle(&genuine).await, PushOutcome::Done);
    assert!(fixture.server.asked().iter().any(|line| line.contains("ConfirmSubscription&Token=2336412f37")));

    envelope["SubscribeURL"] = json!("https://evil.example/?Action=ConfirmSubscription");
    let elsewhere = fixture.confirmation(&mut envelope);
    refused(fixture.receiver.handle(&elsewhere).await, "confirmation link");
}

#[tokio::test]
async fn what_localstack_signs_and_posts_is_genuine_in_both_versions() {
    for version in ["1", "2"] {
        let (bucket, server) = (TestBucket::create().await, Server::start(Vec::new()).await);
        let topic = create_topic().await;
        let attribute =
            [("TopicArn", topic.as_str()), ("AttributeName", "SignatureVersion"), ("AttributeValue", version)];
        sns("SetTopicAttributes", &attribute).await;
        let config = SnsPush { topic_arns: vec![topic.clone()], origin: Some(endpoint().parse().unwrap()) };
        let receiver = SnsReceiver::new(config, Clock::system()).unwrap();

        let address = format!("{}/events/sns", server.origin);
        sns("Subscribe", &[("TopicArn", &topic), ("Protocol", "http"), ("Endpoint", &address)]).await;
        wait_until("the confirmation", || !server.posted().is_empty()).await;
        let confirmation = server.posted().remove(0);
        assert_eq!(receiver.handle(&confirmation).await, PushOutcome::Done);

        bucket.notify_topic(&topic).await;
        bucket.put("incoming/a b.txt").await;
        let record = |body: &Vec<u8>| String::from_utf8_lossy(body).contains("ObjectCreated");
        wait_until("the record", || server.posted().iter().any(record)).await;
        let body = server.posted().into_iter().find(record).unwrap();
        let sent: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(sent["SignatureVersion"], version);
        match receiver.handle(&body).await {
            PushOutcome::Events(parsed) => assert_eq!(parsed.hints[0].key, "incoming/a b.txt"),
            other => panic!("{other:?}"),
        }
        sns("DeleteTopic", &[("TopicArn", &topic)]).await;
        bucket.remove().await;
    }
}
