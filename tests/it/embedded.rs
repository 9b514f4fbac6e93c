//! The embedded store: the conformance suite, and what only it can be tested for.
//!
//! Independent readers are the official AWS SDK for Python; hostile requests are plain HTTP or bytes on a socket.

mod hostile;
mod python;

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use vestibule::clock::Clock;
use vestibule::domain::grant::UploadMethod;
use vestibule::domain::key::Area;
use vestibule::storage::StorageError;
use vestibule::storage::embedded::{EmbeddedConfig, EmbeddedServer};

use crate::conformance::{Fixture, accepted, conformance_suite, refused};

conformance_suite!(fixture);

const BUCKET: &str = "menus";

/// A server on a free port with a directory of its own.
struct Running {
    server: EmbeddedServer,
    dir: tempfile::TempDir,
}

impl Running {
    async fn start() -> Self {
        Self::start_with(Clock::system(), |_| {}).await
    }

    async fn start_with(clock: Clock, change: impl FnOnce(&mut EmbeddedConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = EmbeddedConfig::new(dir.path(), "127.0.0.1:0".parse().unwrap());
        change(&mut config);
        let server = EmbeddedServer::start(config, clock).await.unwrap();
        Self { server, dir }
    }

    async fn fixture(&self) -> Fixture {
        let store = self.server.store(BUCKET, BUCKET).await.unwrap();
        Fixture::new(Arc::new(store), client())
    }

    /// Files below `tmp/`: drafts that are being written or were left behind.
    fn drafts(&self) -> usize {
        std::fs::read_dir(self.dir.path().join("tmp")).unwrap().count()
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap()
}

async fn fixture() -> Fixture {
    let running = Running::start().await;
    let fixture = running.fixture().await;
    fixture.keeping(running)
}

#[tokio::test]
async fn staging_and_served_copies_may_lie_in_buckets_of_their_own() {
    let running = Running::start().await;
    let store = running.server.store("menus", "menus-incoming").await.unwrap();
    let fixture = Fixture::new(Arc::new(store), client());
    fixture.serve("menu.jpg", b"menu").await;
    let staged = fixture.store.list(Area::Staging, &fixture.prefix, None, 10).await.unwrap();
    let served = fixture.store.list(Area::Served, &fixture.prefix, None, 10).await.unwrap();
    assert!(staged.objects[0].0.ends_with("in/menu.jpg") && staged.objects.len() == 1);
    assert!(!served.objects[0].0.contains("in/") && served.objects.len() == 1);
}

#[tokio::test]
async fn of_many_concurrent_uploads_exactly_one_wins() {
    let running = Running::start().await;
    let fixture = Arc::new(running.fixture().await);
    let key = fixture.key(Area::Staging, "menu.jpg");
    let bodies: Vec<Vec<u8>> = (0..16u8).map(|i| vec![i; 100_000]).collect();
    let uploads = bodies.iter().cloned().map(|body| {
        let (fixture, key) = (Arc::clone(&fixture), key.clone());
        tokio::spawn(async move {
            let minted = fixture.store.mint_upload(&fixture.upload(&key, UploadMethod::Put, &body)).unwrap();
            fixture.send(&minted, Method::PUT, &body).await.status().as_u16()
        })
    });
    let statuses: Vec<u16> =
        futures::future::join_all(uploads).await.into_iter().map(|status| status.unwrap()).collect();
    let winners: Vec<usize> = (0..16).filter(|&i| statuses[i] == 200).collect();
    assert_eq!(winners.len(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|&status| status == 200 || status == 412), "{statuses:?}");
    let found = fixture.store.head(&key).await.unwrap().expect("the winner's bytes");
    assert!(fixture.read(&key, &found.bytes).await.unwrap() == bodies[winners[0]]);
    assert_eq!(running.drafts(), 0);
}

#[tokio::test]
async fn writing_and_deleting_beside_each_other_loses_nothing() {
    let running = Running::start().await;
    let fixture = Arc::new(running.fixture().await);
    // Both share directories that each delete tries to remove.
    let tasks = (0..8).map(|i| {
        let fixture = Arc::clone(&fixture);
        tokio::spawn(async move {
            for round in 0..10 {
                let key = fixture.key(Area::Staging, &format!("deep/er/{i}.jpg"));
                let written = fixture.put(&key, format!("{i} {round}").as_bytes()).await;
                assert_eq!(fixture.read(&key, &written.bytes).await.unwrap(), format!("{i} {round}").as_bytes());
                fixture.store.delete(&key, None).await.unwrap();
            }
        })
    });
    for task in futures::future::join_all(tasks).await {
        task.unwrap();
    }
    let page = fixture.store.list(Area::Staging, &fixture.prefix, None, 10).await.unwrap();
    assert!(page.objects.is_empty());
    let left = std::fs::read_dir(running.dir.path().join("buckets").join(BUCKET)).unwrap().count();
    assert_eq!(left, 0, "empty directories are removed");
}

#[tokio::test]
async fn a_restart_keeps_objects_and_urls_and_removes_what_a_crash_left() {
    let running = Running::start().await;
    let fixture = running.fixture().await;
    let key = fixture.key(Area::Staging, "menu.jpg");
    let later = fixture.key(Area::Staging, "later.jpg");
    let written = fixture.put(&key, b"menu").await;
    let minted = fixture.store.mint_upload(&fixture.upload(&later, UploadMethod::Put, b"later")).unwrap();
    let address = running.server.local_addr();
    let Running { server, dir } = running;
    let prefix = fixture.prefix.clone();
    drop(fixture);
    server.shutdown().await;
    // What a crash in the middle of an upload leaves.
    std::fs::write(dir.path().join("tmp/0190"), b"half an obj").unwrap();

    let server = EmbeddedServer::start(EmbeddedConfig::new(dir.path(), address), Clock::system()).await.unwrap();
    let running = Running { server, dir };
    let fixture = Fixture { prefix, ..running.fixture().await };
    assert_eq!(running.drafts(), 0);
    assert_eq!(fixture.store.head(&key).await.unwrap(), Some(written.clone()));
    assert_eq!(fixture.read(&key, &written.bytes).await.unwrap(), b"menu");
    accepted(fixture.send(&minted, Method::PUT, b"later").await).await;
}

#[tokio::test]
async fn a_second_server_on_the_same_directory_is_refused() {
    let running = Running::start().await;
    let config = EmbeddedConfig::new(running.dir.path(), "127.0.0.1:0".parse().unwrap());
    let second = EmbeddedServer::start(config, Clock::system()).await;
    assert!(format!("{:?}", second.err().unwrap()).contains("another process"));
}

#[tokio::test]
async fn a_damaged_object_is_an_error_and_never_half_an_object() {
    let running = Running::start().await;
    let fixture = running.fixture().await;
    let key = fixture.key(Area::Staging, "menu.jpg");
    let written = fixture.put(&key, b"menu").await;
    let path = running
        .dir
        .path()
        .join(format!("buckets/{BUCKET}/{}%d/menu.jpg%o", fixture.prefix.as_str().trim_end_matches('/')));
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let read = fixture.read(&key, &written.bytes).await;
    assert!(matches!(read, Err(StorageError::Unexpected(_))), "{read:?}");
}

#[tokio::test]
async fn clients_acts_are_told_as_s3_tells_them_and_the_gateways_own_are_not() {
    let mut running = Running::start().await;
    let mut events = running.server.take_events().unwrap();
    assert!(running.server.take_events().is_none());
    let fixture = running.fixture().await;
    let key = fixture.key(Area::Staging, "menu of the day (é).jpg");
    let written = fixture.put(&key, b"menu").await;
    let form = fixture.key(Area::Staging, "form.jpg");
    let minted = fixture.store.mint_upload(&fixture.upload(&form, UploadMethod::Post, b"menu")).unwrap();
    accepted(fixture.send(&minted, Method::POST, b"menu").await).await;
    fixture.store.delete(&key, None).await.unwrap();

    let mut told = Vec::new();
    while let Ok(message) = events.try_recv() {
        let message: Value = serde_json::from_str(&message).unwrap();
        told.push(message["Records"][0].clone());
    }
    assert_eq!(told.len(), 2, "the gateway's own delete is not told");
    assert_eq!(told[0]["eventName"], "ObjectCreated:Put");
    assert_eq!(told[1]["eventName"], "ObjectCreated:Post");
    let record = &told[0];
    assert_eq!(record["eventVersion"], "2.1");
    assert_eq!(record["eventSource"], "aws:s3");
    assert!(record["eventTime"].as_str().unwrap().ends_with('Z'));
    assert_eq!(record["s3"]["s3SchemaVersion"], "1.0");
    assert_eq!(record["s3"]["bucket"]["name"], BUCKET);
    let object = &record["s3"]["object"];
    assert_eq!(object["key"], format!("{}menu+of+the+day+%28%C3%A9%29.jpg", fixture.prefix));
    assert_eq!(object["size"], 4);
    assert_eq!(object["eTag"], written.bytes.etag.trim_matches('"'));
    let order = |i: usize| told[i]["s3"]["object"]["sequencer"].as_str().unwrap().to_owned();
    assert!(order(0) < order(1));
}

#[tokio::test]
async fn urls_expire_by_the_injected_clock() {
    let clock = Clock::manual(Clock::system().now());
    let running = Running::start_with(clock.clone(), |_| {}).await;
    let fixture = running.fixture().await;
    let (key, bytes) = fixture.serve("menu.jpg", b"menu").await;
    let url = fixture.store.mint_download(&fixture.download(&key, &bytes)).unwrap().url;
    let late = fixture.key(Area::Staging, "late.jpg");
    let form = fixture.store.mint_upload(&fixture.upload(&late, UploadMethod::Post, b"late")).unwrap();
    clock.advance(Duration::from_secs(110));
    accepted(fixture.http.get(url.expose()).send().await.unwrap()).await;
    clock.advance(Duration::from_secs(200));
    refused("an expired URL", fixture.http.get(url.expose()).send().await.unwrap()).await;
    refused("an expired form", fixture.send(&form, Method::POST, b"late").await).await;
}

#[tokio::test]
async fn browsers_of_configured_origins_may_and_others_may_not() {
    let running = Running::start_with(Clock::system(), |config| {
        config.origins = vec!["https://app.example".into()];
    })
    .await;
    let fixture = running.fixture().await;
    let key = fixture.key(Area::Staging, "menu.jpg");
    let minted = fixture.store.mint_upload(&fixture.upload(&key, UploadMethod::Put, b"menu")).unwrap();
    for (origin, allowed) in [("https://app.example", true), ("https://app.example.evil", false), ("null", false)] {
        let asked = fixture.http.request(Method::OPTIONS, minted.url.expose());
        let asked = asked
            .header("origin", origin)
            .header("access-control-request-method", "PUT")
            .header("access-control-request-headers", "content-type,if-none-match");
        let answer = asked.send().await.unwrap();
        assert_eq!(answer.status().is_success(), allowed, "{origin}");
        let said = answer.headers().get("access-control-allow-origin").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(said.as_deref(), allowed.then_some(origin));
        if allowed {
            assert_eq!(answer.headers()["access-control-allow-headers"], "content-type,if-none-match");
        }
    }
    let mut sent = fixture.http.put(minted.url.expose()).header("origin", "https://app.example");
    for (name, value) in &minted.headers {
        sent = sent.header(*name, value);
    }
    let answer = sent.body("menu").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["access-control-allow-origin"], "https://app.example");
    assert!(answer.headers().contains_key("etag"));
}

#[tokio::test]
async fn ranges_and_conditions_are_honoured() {
    let running = Running::start().await;
    let fixture = running.fixture().await;
    let (key, bytes) = fixture.serve("menu.jpg", b"menu of the day").await;
    let url = fixture.store.mint_download(&fixture.download(&key, &bytes)).unwrap().url;
    let get = |name: &'static str, value: String| fixture.http.get(url.expose()).header(name, value).send();
    let part = get("range", "bytes=5-6".into()).await.unwrap();
    assert_eq!(part.status(), 206);
    assert_eq!(part.headers()["content-range"], "bytes 5-6/15");
    assert_eq!(part.bytes().await.unwrap(), "of");
    assert_eq!(get("range", "bytes=-3".into()).await.unwrap().bytes().await.unwrap(), "day");
    assert_eq!(get("range", "bytes=15-".into()).await.unwrap().status(), 416);
    assert_eq!(get("if-match", bytes.etag.clone()).await.unwrap().status(), 200);
    assert_eq!(get("if-match", "\"0\"".into()).await.unwrap().status(), 412);
    assert_eq!(get("if-none-match", bytes.etag.clone()).await.unwrap().status(), 304);
}
