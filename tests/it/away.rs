//! What the gateway rests on goes away and comes back (P6): closed meanwhile, complete afterwards.
//!
//! The scanner and the storage stand behind a [`Door`] that can be shut; the database is locked by another process's
//! transaction, which is this one's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::crowd::cloud::Cloud;
use crate::faults::books::Books;
use crate::faults::client::{Client, File};
use crate::gateway::{Gateway, PATIENCE};
use crate::harness;

/// A TCP forwarder. Shut, it closes every connection at once, those under way included.
struct Door {
    address: String,
    shut: Arc<AtomicBool>,
}

impl Door {
    async fn to(peer: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (shut, peer) = (Arc::new(AtomicBool::new(false)), peer.to_owned());
        let door = Self { address, shut: Arc::clone(&shut) };
        tokio::spawn(async move {
            while let Ok((line, _)) = listener.accept().await {
                if !shut.load(Ordering::Relaxed) {
                    tokio::spawn(forward(line, peer.clone(), Arc::clone(&shut)));
                }
            }
        });
        door
    }

    fn shut(&self) {
        self.shut.store(true, Ordering::Relaxed);
    }

    fn open(&self) {
        self.shut.store(false, Ordering::Relaxed);
    }
}

async fn forward(mut line: TcpStream, peer: String, shut: Arc<AtomicBool>) {
    let Ok(mut peer) = TcpStream::connect(peer).await else { return };
    let closed = async {
        while !shut.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut line, &mut peer) => {}
        () = closed => {}
    }
}

/// What `/readyz` tells operators about a dependency, as a probe in the background last found it.
async fn readiness(gateway: &Gateway, name: &str) -> (u16, Value) {
    let (status, health) = gateway.admin_get("/readyz").await;
    let dependencies = health["dependencies"].as_array().unwrap();
    (status, dependencies.iter().find(|dependency| dependency["name"] == name).unwrap().clone())
}

/// Repeats until it holds.
async fn until(what: &str, at_most: Duration, happened: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !happened().await {
        assert!(started.elapsed() < at_most, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until a dependency without which the gateway cannot work is told to be away.
async fn until_not_ready(gateway: &Gateway, name: &str) {
    until(name, PATIENCE, async || {
        let (status, dependency) = readiness(gateway, name).await;
        status == 503 && dependency["ready"] == false
    })
    .await;
}

/// Asks for an upload and expects this refusal, with a time after which to try again.
async fn refused(gateway: &Gateway, code: &str) -> bool {
    let body = serde_json::json!({ "filename": "menu.jpg", "size": 10, "contentType": "image/jpeg" });
    let request = gateway.http.post(format!("{}/request-upload", gateway.public)).bearer_auth(&gateway.token);
    let answer = request.json(&body).send().await.unwrap();
    let (status, again) = (answer.status(), answer.headers().contains_key("retry-after"));
    let problem: Value = answer.json().await.unwrap();
    (status, again, &problem["code"]) == (reqwest::StatusCode::SERVICE_UNAVAILABLE, true, &code.into())
}

#[tokio::test]
async fn without_a_scanner_nothing_is_issued_and_what_was_uploaded_waits_for_it() {
    let door = Door::to(&harness::env("VESTIBULE_TEST_CLAMD_TCP")).await;
    let scanner = format!("tcp:{}", door.address);
    let gateway = Gateway::start_with(&[("VESTIBULE__SCANNER__ADDRESS", scanner.as_str())]).await;
    let books = Books::of(gateway.dir());
    let bytes = harness::fixture("menu.jpg");
    let issued = gateway.request_jpeg(&bytes).await;
    let id = issued["objectId"].as_str().unwrap();

    door.shut();
    until("uploads are refused", Duration::from_secs(10), async || refused(&gateway, "scanner_unavailable").await)
        .await;
    until_not_ready(&gateway, "scanner").await;
    assert_eq!(gateway.put(&issued, bytes.clone()).await, 200);
    until("inspection has failed three times", PATIENCE, async || {
        gateway.log().matches("the job is tried again").count() > 2
    })
    .await;
    assert_eq!(books.object(id).state, "scanning");
    let attempts = books.attempts(id);
    assert!(attempts <= 1, "{attempts} tries count, with the one under way, though no scanner answered");

    door.open();
    gateway.wait_for(id, "visible").await;
    assert_eq!(gateway.download(id).await, bytes);
    until("the scanner is ready", PATIENCE, async || readiness(&gateway, "scanner").await.1["ready"] == true).await;
    gateway.request_jpeg(&bytes).await;
    books.assert_balanced();
}

#[tokio::test]
async fn while_the_database_takes_no_writes_nothing_is_issued() {
    // No sweep meanwhile: its writes would wait for the lock too, and the request behind them past its deadline.
    let gateway = Gateway::start_with(&[("VESTIBULE__SWEEP__INTERVAL", "1h")]).await;
    let books = Books::of(gateway.dir());
    let bytes = harness::fixture("menu.jpg");
    let lock = rusqlite::Connection::open(gateway.dir().join("vestibule.db")).unwrap();
    lock.busy_timeout(Duration::from_secs(10)).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(refused(&gateway, "database_unavailable").await);
    until_not_ready(&gateway, "database").await;
    lock.execute_batch("ROLLBACK").unwrap();

    let issued = gateway.request_jpeg(&bytes).await;
    assert_eq!(books.objects().into_keys().collect::<Vec<_>>(), [issued["objectId"].as_str().unwrap()]);
    assert_eq!(gateway.put(&issued, bytes).await, 200);
    gateway.wait_for(issued["objectId"].as_str().unwrap(), "visible").await;
    books.assert_balanced();
}

#[tokio::test]
async fn while_the_storage_is_away_an_object_waits_and_then_becomes_visible() {
    let mut cloud = Cloud::create().await;
    let door = Door::to(harness::env("VESTIBULE_TEST_S3_ENDPOINT").trim_start_matches("http://")).await;
    cloud.endpoint = format!("http://{}", door.address);
    let dir = tempfile::tempdir().unwrap();
    cloud.write_policies(dir.path());
    let gateway = Gateway::start_in(
        dir,
        &[
            ("VESTIBULE__CREDENTIALS__LOCALSTACK__ACCESS_KEY_ID", "test"),
            ("VESTIBULE__CREDENTIALS__LOCALSTACK__SECRET_ACCESS_KEY", "test"),
            ("VESTIBULE__SWEEP__INTERVAL", "5s"),
        ],
    )
    .await;
    let client = Client::new(&gateway, &gateway.token);
    let file = File::clean("menu.jpg", 1);
    let (_, issued) = client.request(&file, "away").await.unwrap();
    assert_eq!(client.put(&issued, &file.bytes).await, Some(200));
    door.shut();
    let id = issued["objectId"].as_str().unwrap();
    until("readiness names the target", PATIENCE, async || {
        readiness(&gateway, "target:images").await.1["ready"] == false
    })
    .await;
    assert_eq!(client.download(id).await, Err((409, "object_not_visible".into())));

    door.open();
    gateway.wait_for(id, "visible").await;
    assert_eq!(client.download(id).await, Ok(file.bytes));
    Books::of(gateway.dir()).assert_balanced();
    drop(gateway);
    cloud.remove().await;
}

#[tokio::test]
async fn readiness_says_when_the_signatures_are_out_of_date() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let scanner = format!("tcp:{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut line, _)) = listener.accept().await {
            let mut command = Vec::new();
            while !command.ends_with(b"\0") {
                command.push(line.read_u8().await.unwrap_or(0));
            }
            if command == b"zVERSION\0" {
                drop(line.write_all(b"ClamAV 1.4.6/27000/Fri Nov 21 09:00:00 2025\0").await);
            }
        }
    });
    let gateway = Gateway::start_with(&[("VESTIBULE__SCANNER__ADDRESS", scanner.as_str())]).await;
    until("the age shows", PATIENCE, async || {
        readiness(&gateway, "scanner").await.1["detail"].as_str().is_some_and(|detail| detail.contains("out of date"))
    })
    .await;
}
