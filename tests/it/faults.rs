//! `kill -9` between two steps, and at random under load (P1, P3, P9).
//!
//! `src/fault.rs` makes the gateway stand still at a named point; the test kills it there, looks at what lies on the
//! disk, starts it again and looks at what becomes of it. What is on the disk is read by [`books`], not by the gateway.

pub mod books;
pub mod client;
mod storm;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use books::Books;
use client::{Client, File};

use crate::gateway::{Gateway, PATIENCE};
use crate::harness;

const BUCKET: &str = "vestibule-images";

/// A gateway that will stand still at a point.
struct Faulty {
    gateway: Gateway,
    client: Client,
    books: Books,
    marker: PathBuf,
}

impl Faulty {
    async fn start(point: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let marker = dir.path().join("fault");
        let gateway = Gateway::start_in(
            dir,
            &[
                ("VESTIBULE_FAULT", point),
                ("VESTIBULE_FAULT_MARKER", marker.to_str().unwrap()),
                ("VESTIBULE__SWEEP__INTERVAL", "1s"),
                ("VESTIBULE__SWEEP__EXPIRY_GRACE", "1s"),
            ],
        )
        .await;
        let client = Client::new(&gateway, &gateway.token);
        let books = Books::of(gateway.dir());
        Self { gateway, client, books, marker }
    }

    /// Waits until it stands still.
    async fn reached(&self) {
        let started = Instant::now();
        while !self.marker.exists() {
            assert!(started.elapsed() < PATIENCE, "the point was never reached");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn until(&self, what: &str, happened: impl Fn(&Books) -> bool) {
        let started = Instant::now();
        while !happened(&self.books) {
            assert!(started.elapsed() < PATIENCE, "waited in vain: {what}: {:?}", self.books.objects());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Requests and uploads; the object's id.
    async fn upload(&self, file: &File) -> String {
        let (status, issued) = self.client.request(file, &harness::unique("upload")).await.unwrap();
        assert_eq!(status, 201, "{issued}");
        assert_eq!(self.client.put(&issued, &file.bytes).await, Some(200));
        issued["objectId"].as_str().unwrap().to_owned()
    }

    /// Asks for an upload of which the answer never comes, and kills the gateway.
    async fn ask_in_vain(&mut self, file: &File, key: &str) {
        let asking = tokio::spawn({
            let (client, file, key) = (self.client.clone(), file.clone(), key.to_owned());
            async move { client.request(&file, &key).await }
        });
        self.reached().await;
        self.gateway.kill();
        assert_eq!(asking.await.unwrap(), None);
    }

    async fn start_again(&mut self) {
        self.gateway.start_again(&[("VESTIBULE_FAULT", None)]).await;
    }
}

#[tokio::test]
async fn a_kill_between_commit_and_answer_leaves_an_object_that_the_same_key_gets_back() {
    let mut faulty = Faulty::start("upload.committed").await;
    let file = File::clean("menu.jpg", 1);
    faulty.ask_in_vain(&file, "first").await;

    let objects = faulty.books.objects();
    let row = objects.values().next().unwrap();
    assert_eq!((objects.len(), row.state.as_str(), row.held), (1, "issued", Some(row.size)));
    assert_eq!(faulty.books.usage("where2eat"), (row.size, 1));
    faulty.books.assert_balanced();

    faulty.start_again().await;
    let (status, issued) = faulty.client.request(&file, "first").await.unwrap();
    assert_eq!((status, &issued["objectId"]), (201, &row.id.as_str().into()), "{issued}");
    assert_eq!(faulty.client.put(&issued, &file.bytes).await, Some(200));
    faulty.gateway.wait_for(&row.id, "visible").await;
    assert_eq!(faulty.client.download(&row.id).await, Ok(file.bytes));
    assert_eq!(faulty.books.objects().len(), 1);
    faulty.books.assert_balanced();
}

#[tokio::test]
async fn a_kill_between_commit_and_answer_gives_its_quota_back_when_the_url_expires() {
    let mut faulty = Faulty::start("upload.committed").await;
    faulty.ask_in_vain(&File::clean("menu.jpg", 1), "never-again").await;
    let id = faulty.books.objects().into_keys().next().unwrap();
    faulty.books.age(std::slice::from_ref(&id));
    faulty.start_again().await;
    faulty.gateway.wait_for(&id, "expired").await;
    assert_eq!(faulty.books.usage("where2eat"), (0, 0));
    faulty.until("the purge", |books| books.jobs().is_empty()).await;
    faulty.books.assert_balanced();
}

#[tokio::test]
async fn a_kill_while_scanning_is_followed_by_a_scan_under_a_new_lease() {
    let mut faulty = Faulty::start("inspect.scanning").await;
    let file = File::clean("menu.jpg", 1);
    let clean = faulty.upload(&file).await;
    let infected = faulty.upload(&File::infected(1)).await;
    faulty.reached().await;
    faulty.until("both are in inspection", |books| books.states().get("scanning") == Some(&2)).await;
    for id in [&clean, &infected] {
        assert_eq!(faulty.client.download(id).await, Err((409, "object_not_visible".into())));
    }
    faulty.gateway.kill();
    faulty.books.assert_balanced();
    faulty.books.assert_serves_what_it_says(BUCKET);

    faulty.start_again().await;
    faulty.gateway.wait_for(&clean, "visible").await;
    faulty.gateway.wait_for(&infected, "quarantined").await;
    assert_eq!(faulty.client.download(&clean).await, Ok(file.bytes));
    assert_eq!(faulty.client.download(&infected).await, Err((409, "object_held".into())));
    faulty.until("no job is left", |books| books.jobs().is_empty()).await;
    faulty.books.assert_balanced();
    faulty.books.assert_serves_what_it_says(BUCKET);
}

#[tokio::test]
async fn a_kill_between_copy_and_record_shows_nothing_before_the_record() {
    let mut faulty = Faulty::start("promote.copied").await;
    let file = File::clean("menu.jpg", 1);
    let id = faulty.upload(&file).await;
    faulty.reached().await;
    let row = faulty.books.object(&id);
    assert_eq!(row.state, "promoting");
    assert_eq!(faulty.client.download(&id).await, Err((409, "object_not_visible".into())));
    faulty.gateway.kill();
    let bucket = faulty.books.bucket(BUCKET);
    assert_eq!(bucket.keys().collect::<Vec<_>>(), [&row.staging, &row.served], "the copy and the staged object");
    faulty.books.assert_balanced();

    faulty.start_again().await;
    // The dead process's lease still runs: the copy is there, and nobody gets it.
    assert_eq!(faulty.client.download(&id).await, Err((409, "object_not_visible".into())));
    faulty.gateway.wait_for(&id, "visible").await;
    assert_eq!(faulty.client.download(&id).await, Ok(file.bytes));
    faulty.until("the staged object is removed", |books| books.jobs().is_empty()).await;
    assert_eq!(faulty.books.bucket(BUCKET).into_keys().collect::<Vec<_>>(), [row.served]);
    faulty.books.assert_balanced();
    faulty.books.assert_serves_what_it_says(BUCKET);
}

#[tokio::test]
async fn a_kill_between_record_and_delete_leaves_a_staged_object_that_is_removed_without_an_alert() {
    let mut faulty = Faulty::start("promote.recorded").await;
    let file = File::clean("menu.jpg", 1);
    let id = faulty.upload(&file).await;
    faulty.reached().await;
    faulty.gateway.kill();
    let row = faulty.books.object(&id);
    assert_eq!(row.state, "visible");
    let bucket = faulty.books.bucket(BUCKET);
    assert_eq!(bucket.keys().collect::<Vec<_>>(), [&row.staging, &row.served]);
    faulty.books.assert_balanced();
    faulty.books.assert_serves_what_it_says(BUCKET);

    faulty.start_again().await;
    assert_eq!(faulty.client.download(&id).await, Ok(file.bytes));
    // The sweep sees the staged object several times before the lease ends: it is expected, not a stray.
    faulty.until("the staged object is removed", |books| books.jobs().is_empty()).await;
    assert_eq!(faulty.books.bucket(BUCKET).into_keys().collect::<Vec<_>>(), [row.served]);
    let entries = faulty.books.audit().remove(&id).unwrap();
    assert!(entries.iter().all(|entry| entry["action"] != "removeStray"), "{entries:#?}");
    assert!(!faulty.gateway.log().contains("stray_removed"));
    faulty.books.assert_balanced();
}
