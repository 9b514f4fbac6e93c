//! The embedded store's locks, and the whole way through HTTP on it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use vestibule::clock::Clock;
use vestibule::domain::grant::UploadMethod;
use vestibule::domain::key::Area;
use vestibule::domain::retention::{Lock, RetentionMode};
use vestibule::storage::embedded::{EmbeddedConfig, EmbeddedServer};
use vestibule::storage::{ServedAttributes, StorageError};

use crate::conformance::{Fixture, now, refused};
use crate::gateway::{Gateway, edit_policy, edited_policies};
use crate::harness;

async fn running(clock: Clock) -> (EmbeddedServer, tempfile::TempDir, Fixture) {
    let dir = tempfile::tempdir().unwrap();
    let config = EmbeddedConfig::new(dir.path(), "127.0.0.1:0".parse().unwrap());
    let server = EmbeddedServer::start(config, clock).await.unwrap();
    let store = server.store("menus", "menus-in").await.unwrap();
    (server, dir, Fixture::new(Arc::new(store), reqwest::Client::new()))
}

#[tokio::test]
async fn a_locked_copy_stays_and_its_lock_only_grows() {
    let (_server, _dir, fixture) = running(Clock::system()).await;
    super::a_locked_copy_stays_and_its_lock_only_grows(&fixture).await;
}

#[tokio::test]
async fn only_the_named_bytes_are_locked() {
    let (_server, _dir, fixture) = running(Clock::system()).await;
    super::only_the_named_bytes_are_locked(&fixture).await;
}

#[tokio::test]
async fn a_lock_outlives_a_restart_and_ends_with_its_date() {
    let clock = Clock::manual(now());
    let (server, dir, fixture) = running(clock.clone()).await;
    let (key, bytes) = fixture.serve("menu.jpg", b"menu").await;
    let staged = fixture.key(Area::Staging, "in/menu.jpg");
    let written = fixture.store.head(&staged).await.unwrap().unwrap().bytes;
    let lock = Lock { mode: RetentionMode::Compliance, until: clock.now() + Duration::from_secs(600) };
    fixture.store.lock(&key, &bytes, &lock).await.unwrap();
    let prefix = fixture.prefix.clone();
    drop(fixture);
    server.shutdown().await;

    let config = EmbeddedConfig::new(dir.path(), "127.0.0.1:0".parse().unwrap());
    let server = EmbeddedServer::start(config, clock.clone()).await.unwrap();
    let store = server.store("menus", "menus-in").await.unwrap();
    let fixture = Fixture { prefix, ..Fixture::new(Arc::new(store), reqwest::Client::new()) };
    assert_eq!(fixture.store.kept(&key, &bytes).await.unwrap().lock, Some(lock));
    let attributes =
        ServedAttributes { content_type: "image/jpeg".parse().unwrap(), metadata: Vec::new(), tags: Vec::new() };
    let over = fixture.store.copy(&staged, &written, &key, &attributes).await;
    assert!(matches!(over, Err(StorageError::Retained(_))), "{over:?}");
    assert!(fixture.store.delete(&key, None).await.is_err());
    let page = fixture.store.list(Area::Served, &fixture.prefix, None, 10).await.unwrap();
    assert_eq!(page.objects.len(), 1, "a lock is no object");

    clock.advance(Duration::from_secs(601));
    fixture.store.copy(&staged, &written, &key, &attributes).await.unwrap();
    fixture.store.delete(&key, None).await.unwrap();
    assert_eq!(fixture.store.head(&key).await.unwrap(), None);
}

const PLAIN: &str = "bucket = \"vestibule-images\"\n";
const RETAINED: &str = "bucket = \"vestibule-images\"\nstaging_bucket = \"vestibule-images-in\"\n\
                        retention.mode = \"governance\"\nretention.period = \"30d\"\n";

fn until(object: &Value) -> Timestamp {
    object["retainedUntil"].as_str().unwrap_or_else(|| panic!("{object}")).parse().unwrap()
}

#[tokio::test]
async fn a_promoted_object_tells_its_date_and_is_deleted_by_nobody_before() {
    let dir = edited_policies(&[("targets.toml", PLAIN, RETAINED)]);
    let mut gateway = Gateway::start_in(dir, &[("VESTIBULE__SWEEP__INTERVAL", "1s")]).await;
    let menu = harness::fixture("menu.jpg");
    let id = gateway.visible_jpeg(&menu).await;
    let (_, object) = gateway.get(&format!("/objects/{id}")).await;
    let days = until(&object).duration_since(now()).as_hours();
    assert!((30 * 24 - 1..=30 * 24).contains(&days), "{object}");

    let (status, problem) = gateway.delete(&format!("/objects/{id}")).await;
    assert_eq!((status, problem["code"].as_str()), (403, Some("retention_active")), "{problem}");
    assert_eq!(problem["retainedUntil"], object["retainedUntil"], "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains(object["retainedUntil"].as_str().unwrap()), "{problem}");
    let reason = json!({ "reason": "the customer asks for it" });
    let (status, problem) = gateway.admin_post(&format!("/admin/objects/{id}/delete"), reason).await;
    assert_eq!((status, problem["code"].as_str()), (403, Some("retention_active")), "{problem}");
    assert_eq!(problem["retainedUntil"], object["retainedUntil"]);

    let (_, page) = gateway.admin_get(&format!("/admin/audit?object={id}")).await;
    let refused = page["entries"].as_array().unwrap().iter().filter(|entry| entry["reason"] == "retention_active");
    let actions: Vec<_> = refused.map(|entry| entry["action"].as_str().unwrap().to_owned()).collect();
    assert_eq!(actions, ["reviewDelete", "deleteObject"], "{page}");

    // A set without retention frees nothing that is kept, and keeps nothing more; neither does a restart.
    edit_policy(gateway.dir(), "targets.toml", "retention.mode = \"governance\"\nretention.period = \"30d\"\n", "");
    assert_eq!(gateway.reload().await, "allowed");
    gateway.start_again(&[]).await;
    assert_eq!(gateway.delete(&format!("/objects/{id}")).await.0, 403);
    let free = gateway.visible_jpeg(&[menu.as_slice(), b"2"].concat()).await;
    assert!(gateway.get(&format!("/objects/{free}")).await.1["retainedUntil"].is_null());
    assert_eq!(gateway.delete(&format!("/objects/{free}")).await.0, 204);
    assert_eq!(gateway.download(&id).await, menu);
}

#[tokio::test]
async fn a_url_that_asks_for_a_lock_is_refused_and_writes_nothing() {
    let (_server, _dir, fixture) = running(Clock::system()).await;
    for method in [UploadMethod::Put, UploadMethod::Post] {
        for wish in super::WISHES {
            let key = fixture.key(Area::Staging, "menu.jpg");
            let minted =
                super::wishing(fixture.store.mint_upload(&fixture.upload(&key, method, b"menu")).unwrap(), &[wish]);
            refused(wish.0, fixture.send(&minted, Method::PUT, b"menu").await).await;
            assert_eq!(fixture.store.head(&key).await.unwrap(), None, "{wish:?} by {method:?}");
        }
    }
}
