//! The database is lost, and the last copy put back: what was known then is right, and what came later is closed.
//!
//! Copies are made under load. What the records do not know is never served, whatever lies in the bucket.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::cloud::{Cloud, Place, Setup, jpeg};
use crate::faults::books::Books;
use crate::faults::client::{Client, File};
use crate::gateway::{Gateway, PATIENCE, answer};
use crate::harness;
use crate::store_postgres::Database;

/// Clients that ask for uploads and send every second one, until told to stop.
fn load(gateway: &Gateway, token: &str, stop: &Arc<AtomicBool>) -> Vec<tokio::task::JoinHandle<usize>> {
    (0..4)
        .map(|at| {
            let (client, stop) = (Client::new(gateway, token), Arc::clone(stop));
            tokio::spawn(async move {
                let mut issued = 0;
                while !stop.load(Ordering::Relaxed) {
                    let file = File::clean("menu.jpg", at * 1000 + issued);
                    if let Some((201, answer)) = client.request(&file, &harness::unique("load")).await {
                        issued += 1;
                        if issued % 2 == 0 {
                            client.put(&answer, &file.bytes).await;
                        }
                    }
                }
                issued
            })
        })
        .collect()
}

async fn end(load: Vec<tokio::task::JoinHandle<usize>>, stop: &AtomicBool) -> usize {
    stop.store(true, Ordering::Relaxed);
    let mut issued = 0;
    for client in load {
        issued += client.await.unwrap();
    }
    issued
}

/// The row of every object in a database file.
fn rows(file: &Path) -> BTreeMap<String, String> {
    let database = rusqlite::Connection::open(file).unwrap();
    let mut query = database.prepare("SELECT id, state FROM objects").unwrap();
    query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
}

fn copy_of(gateway: &Gateway, name: &str) -> PathBuf {
    let to = gateway.dir().join(name);
    let (code, told, errors) = gateway.run(&["store", "backup", "--to", to.to_str().unwrap()]);
    assert!(code == 0 && told.contains("objects"), "{told}{errors}");
    to
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sqlite_file_is_copied_under_load_lost_and_put_back() {
    let mut gateway = Gateway::start_with(&[("VESTIBULE__SWEEP__INTERVAL", "1s")]).await;
    let bytes = |number: u8| [harness::fixture("menu.jpg"), vec![number]].concat();
    let known = gateway.visible_jpeg(&bytes(1)).await;
    let deleted_later = gateway.visible_jpeg(&bytes(2)).await;
    let promised = gateway.request_jpeg(&bytes(3)).await;

    let stop = Arc::<AtomicBool>::default();
    let clients = load(&gateway, &gateway.token, &stop);
    // Every copy is whole, whatever is being written.
    let mut copy = copy_of(&gateway, "copy-0.db");
    for number in 1..4 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        copy = copy_of(&gateway, &format!("copy-{number}.db"));
        let (code, told, errors) = gateway.run(&["store", "check", copy.to_str().unwrap()]);
        assert!(code == 0 && told.contains("is sound"), "{told}{errors}");
    }
    let then = rows(&copy);
    assert!(end(clients, &stop).await > 0);
    assert!(then.contains_key(&known) && then.len() > 3, "{}", then.len());
    let (code, _, errors) = gateway.run(&["store", "backup", "--to", copy.to_str().unwrap()]);
    assert!(code == 1 && errors.contains("exists already"), "{errors}");

    // Life goes on, and is forgotten: an object, a deletion, an upload under a known URL.
    let forgotten = gateway.visible_jpeg(&bytes(4)).await;
    assert_eq!(gateway.delete(&format!("/objects/{deleted_later}")).await.0, 204);
    let started = Instant::now();
    while Books::of(gateway.dir()).bucket("vestibule-images").keys().any(|key| key.contains(&deleted_later)) {
        assert!(started.elapsed() < PATIENCE, "the bytes of the deleted object stay");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let unfinished = gateway.request_jpeg(&bytes(5)).await;
    let served = Books::of(gateway.dir()).object(&forgotten).served;
    gateway.kill();
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(gateway.dir().join(format!("vestibule.db{suffix}")));
    }
    std::fs::copy(&copy, gateway.dir().join("vestibule.db")).unwrap();
    gateway.start_again(&[]).await;

    // What was known then is right.
    assert_eq!(gateway.download(&known).await, bytes(1));
    for (id, state) in &then {
        if matches!(state.as_str(), "visible" | "quarantined" | "rejected" | "deleted") {
            assert_eq!(&Books::of(gateway.dir()).object(id).state, state, "{id}");
        }
    }
    assert_eq!(gateway.put(&promised, bytes(3)).await, 200, "a URL that was handed out before goes on working");
    gateway.wait_for(promised["objectId"].as_str().unwrap(), "visible").await;

    // What came later is closed: nobody can ask for it, and bytes that still arrive for it stay where they are.
    let late = gateway.put(&unfinished, bytes(5)).await;
    assert_eq!(late, 200, "the storage knows nothing of this");
    for query in
        [json!({ "objectId": forgotten }), json!({ "path": served }), json!({ "objectId": unfinished["objectId"] })]
    {
        assert_eq!(gateway.post("/request-download", query.clone()).await.0, 404, "{query}");
    }
    // A deletion is forgotten too, but not undone: there are no bytes behind the record.
    let (status, issued) = gateway.post("/request-download", json!({ "objectId": deleted_later })).await;
    assert_eq!(status, 200, "{issued}");
    assert_eq!(answer(gateway.http.get(issued["downloadUrl"].as_str().unwrap())).await.0, 404);

    // After some sweeps, everything that is visible has its record and verdict, and no other record came up.
    let swept = || gateway.admin_get("/admin/objects?state=uploaded");
    tokio::time::sleep(Duration::from_secs(3)).await;
    swept().await;
    let books = Books::of(gateway.dir());
    books.assert_balanced();
    assert!(!books.objects().contains_key(&forgotten));
    let staged = books.bucket("vestibule-images").into_keys().filter(|key| key.starts_with("incoming/"));
    assert!(
        staged.into_iter().any(|key| key.contains(unfinished["objectId"].as_str().unwrap())),
        "left to the lifecycle rule"
    );
}

/// Runs a program of PostgreSQL on this database.
fn postgres(program: &str, database: &Database, arguments: &[&str]) {
    let bin = PathBuf::from(harness::env("VESTIBULE_TEST_POSTGRES_BIN"));
    let run = Command::new(bin.join(program)).args(["--dbname", &database.address()]).args(arguments).output().unwrap();
    assert!(run.status.success(), "{program}: {}", String::from_utf8_lossy(&run.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_database_is_dumped_under_load_lost_and_restored() {
    let database = Database::migrated().await;
    let mut setup = Setup::at(Place::s3().await).sweeping("1s").objects(100_000);
    setup.environment.push(("VESTIBULE__STORE__URL".into(), database.address()));
    let mut cloud = setup.start().await;
    let known = visible(&cloud).await;

    let dump = cloud.gateway.dir().join("vestibule.dump");
    let stop = Arc::<AtomicBool>::default();
    let clients = load(&cloud.gateway, &cloud.gateway.token, &stop);
    postgres("pg_dump", &database, &["--format=custom", "--file", dump.to_str().unwrap()]);
    assert!(end(clients, &stop).await > 0);
    let forgotten = visible(&cloud).await;
    let (unfinished, issued) = cloud.issue(&jpeg(), json!({})).await;
    cloud.gateway.kill();

    let restored = Database::empty().await;
    postgres("pg_restore", &restored, &["--no-owner", "--exit-on-error", dump.to_str().unwrap()]);
    drop(database);
    restored.assert_consistent().await;
    let then = restored.count("objects").await;
    let address = restored.address();
    cloud.gateway.start_again(&[("VESTIBULE__STORE__URL", Some(address.as_str()))]).await;
    assert_eq!(cloud.gateway.download(&known).await, jpeg().bytes);
    assert_eq!(cloud.send(&issued, &jpeg().bytes).await, 200, "the storage knows nothing of this");
    for id in [&forgotten, &unfinished] {
        assert_eq!(cloud.gateway.post("/request-download", json!({ "objectId": id })).await.0, 404);
    }
    let again = visible(&cloud).await;
    assert_eq!(restored.count("objects").await, then + 1, "{again}");
    restored.assert_consistent().await;
}

/// An object that was uploaded, judged and may be downloaded.
async fn visible(cloud: &Cloud) -> String {
    let (id, issued) = cloud.issue(&jpeg(), json!({})).await;
    assert_eq!(cloud.send(&issued, &jpeg().bytes).await, 200);
    cloud.gateway.wait_for(&id, "visible").await;
    id
}
