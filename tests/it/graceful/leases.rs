//! What a node has in hand when it is told to end: finished in time, or given back at once.

use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use serde_json::json;

use super::slow_scanner::SlowScanner;
use crate::cloud::{Place, Setup, jpeg};
use crate::faults::books::Books;
use crate::gateway::{Gateway, PATIENCE};
use crate::harness;
use crate::store_postgres::Database;

async fn until(what: &str, happened: impl Fn() -> bool) {
    let began = Instant::now();
    while !happened() {
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A gateway that scans slowly and has one inspection in hand: its object.
async fn with_a_scan_in_hand(scanner: &SlowScanner, grace: &str) -> (Gateway, String) {
    let settings = [("VESTIBULE__SCANNER__ADDRESS", scanner.address.as_str()), ("VESTIBULE__SHUTDOWN__GRACE", grace)];
    let gateway = Gateway::start_with(&settings).await;
    let bytes = harness::fixture("menu.jpg");
    let issued = gateway.request_jpeg(&bytes).await;
    assert_eq!(gateway.put(&issued, bytes).await, 200);
    let id = issued["objectId"].as_str().unwrap().to_owned();
    let books = Books::of(gateway.dir());
    until("a scan", || books.object(&id).state == "scanning").await;
    (gateway, id)
}

#[tokio::test]
async fn an_inspection_that_ends_in_time_is_finished_first() {
    let scanner = SlowScanner::start().await;
    let (mut gateway, id) = with_a_scan_in_hand(&scanner, "30s").await;
    let told = Instant::now();
    gateway.signal("TERM");
    until("it drains", || gateway.log().contains("stopping: what is under way")).await;
    assert_eq!(Books::of(gateway.dir()).object(&id).state, "scanning");
    scanner.open();
    assert_eq!(gateway.wait_for_end().await, Some(0));
    assert!(told.elapsed() < Duration::from_secs(20), "{:?}", told.elapsed());
    let books = Books::of(gateway.dir());
    let state = books.object(&id).state;
    assert!(matches!(state.as_str(), "promoting" | "visible"), "{state}");
    books.assert_balanced();
}

#[tokio::test]
async fn an_inspection_that_does_not_end_is_given_back_and_was_no_try() {
    let scanner = SlowScanner::start().await;
    let (mut gateway, id) = with_a_scan_in_hand(&scanner, "1s").await;
    gateway.signal("TERM");
    assert_eq!(gateway.wait_for_end().await, Some(0));

    let file = gateway.dir().join("vestibule.db");
    let database = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let job = database.query_row("SELECT kind, attempts, lease IS NULL FROM jobs", [], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, bool>(2)?))
    });
    assert_eq!(job.unwrap(), ("inspect".to_owned(), 0, true));
    drop(database);

    // Taken up at once, not when the lease of half a minute would have ended.
    scanner.open();
    let again = Instant::now();
    gateway.start_again(&[]).await;
    gateway.wait_for(&id, "visible").await;
    assert!(again.elapsed() < Duration::from_secs(20), "{:?}", again.elapsed());
    Books::of(gateway.dir()).assert_balanced();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_node_takes_at_once_what_an_ending_one_gives_back() {
    let (database, scanner) = (Database::migrated().await, SlowScanner::start().await);
    let address = database.address();
    let mut setup = Setup::at(Place::s3().await).sweeping("1s");
    setup.environment.push(("VESTIBULE__STORE__URL".into(), address.clone()));
    setup.environment.push(("VESTIBULE__SCANNER__ADDRESS".into(), scanner.address.clone()));
    setup.environment.push(("VESTIBULE__SHUTDOWN__GRACE".into(), "1s".into()));
    let dir = tempfile::tempdir().unwrap();
    setup.write_configuration(dir.path());
    let mut cloud = setup.start().await;
    let (id, issued) = cloud.issue(&jpeg(), json!({})).await;
    assert_eq!(cloud.send(&issued, &jpeg().bytes).await, 200);
    let began = Instant::now();
    while database.number("SELECT count(*) FROM objects WHERE state = 'scanning'").await == 0 {
        assert!(began.elapsed() < PATIENCE, "nothing is scanned");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let settings = [("VESTIBULE__STORE__URL", address.as_str()), ("VESTIBULE__SWEEP__INTERVAL", "1h")];
    let other = Gateway::serve_in(dir, "desk", &settings).await;
    cloud.gateway.signal("TERM");
    assert_eq!(cloud.gateway.wait_for_end().await, Some(0));
    let ended = Instant::now();
    other.wait_for(&id, "visible").await;
    assert!(ended.elapsed() < Duration::from_secs(20), "{:?}", ended.elapsed());
    database.assert_consistent().await;
}
