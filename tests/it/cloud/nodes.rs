//! PostgreSQL as the store of real gateways: two processes on one database, and the way there from a SQLite file.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use super::place::Place;
use super::{Setup, jpeg, write_configuration};
use crate::gateway::{Gateway, answer};
use crate::store_postgres::Database;

/// Settings of a node on this database.
fn on(database: &Database) -> (String, String) {
    ("VESTIBULE__STORE__URL".into(), database.address())
}

/// Runs the binary with this directory's configuration and this database; whether it succeeded, and what it printed.
fn vestibule(dir: &Path, database: &Database, arguments: &[&str]) -> (bool, String) {
    let (name, value) = on(database);
    let run = Command::new(env!("CARGO_BIN_EXE_vestibule"))
        .args(arguments)
        .env(name, value)
        .env("VESTIBULE_CONFIG", dir.join("vestibule.toml"))
        .env("VESTIBULE__POLICIES__DIR", dir.join("policies"))
        .env("VESTIBULE__PUBLIC__LISTEN", "127.0.0.1:0")
        .env("VESTIBULE__ADMIN__LISTEN", "127.0.0.1:0")
        .output()
        .unwrap();
    let told = String::from_utf8(run.stdout).unwrap() + &String::from_utf8(run.stderr).unwrap();
    assert!(!told.contains("vestibule:vestibule@"), "the address is not shown: {told}");
    (run.status.success(), told)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_on_one_database_are_one_gateway() {
    let database = Database::migrated().await;
    let place = Place::s3().await;
    let mut setup = Setup::at(place).sweeping("1s").objects(5);
    setup.environment.push(on(&database));
    let second = tempfile::tempdir().unwrap();
    write_configuration(second.path(), &setup);
    let (name, value) = on(&database);
    let mut cloud = setup.start().await;
    let second =
        Gateway::serve_in(second, "desk", &[(name.as_str(), value.as_str()), ("VESTIBULE__SWEEP__INTERVAL", "1s")])
            .await;

    // Issued by one, judged by either, served by the other; its token is known there, too.
    let (id, issued) = cloud.issue(&jpeg(), json!({})).await;
    assert_eq!(cloud.send(&issued, &jpeg().bytes).await, 200);
    second.wait_for(&id, "visible").await;
    assert_eq!(second.download(&id).await, jpeg().bytes);
    let (status, record) = second.post_as(&cloud.gateway.token, "/request-download", json!({ "objectId": id })).await;
    assert_eq!(status, 200, "{record}");

    // P8: neither says where its database is, or with which password.
    for log in [cloud.gateway.log(), second.log()] {
        assert!(!log.contains("postgres://") && !log.contains("vestibule:vestibule"), "{log}");
    }

    // One of them is killed; the other one takes up what it had begun.
    let (orphan, issued) = cloud.issue(&jpeg(), json!({})).await;
    assert_eq!(cloud.send(&issued, &jpeg().bytes).await, 200);
    cloud.gateway.kill();
    second.wait_for(&orphan, "visible").await;
    cloud.gateway.start_again(&[]).await;

    // P4: five objects in all, however many ask on both at once.
    let body = json!({ "filename": "menu.jpg", "size": 10, "contentType": "image/jpeg" });
    let asked = (0..12).map(|at| {
        let (node, body) = (if at % 2 == 0 { &cloud.gateway } else { &second }, body.clone());
        async move { node.post("/request-upload", body).await.0 }
    });
    let answers = futures::future::join_all(asked).await;
    assert_eq!(answers.iter().filter(|status| **status == 201).count(), 3, "{answers:?}");
    database.assert_consistent().await;

    // P7: what is revoked on one is dead on the other within a second.
    let token = second.token.split('_').nth(2).unwrap().to_owned();
    let revoke = cloud.gateway.http.delete(format!("{}/admin/tokens/{token}", cloud.gateway.admin));
    let (status, answer) = answer(revoke.bearer_auth(&cloud.gateway.admin_token)).await;
    assert!(status < 300, "{status} {answer}");
    let began = Instant::now();
    while second.post("/request-download", json!({ "objectId": id })).await.0 != 401 {
        assert!(began.elapsed() < Duration::from_secs(1), "a revoked token still works");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installation_moves_from_sqlite_to_postgres_without_loss() {
    let database = Database::empty().await;
    let mut cloud = Setup::at(Place::s3().await).sweeping("1s").start().await;
    let (id, issued) = cloud.issue(&jpeg(), json!({})).await;
    assert_eq!(cloud.send(&issued, &jpeg().bytes).await, 200);
    cloud.gateway.wait_for(&id, "visible").await;
    let (later, issued) = cloud.issue(&jpeg(), json!({})).await;
    cloud.gateway.kill();

    let dir = cloud.gateway.dir();
    let (served, told) = vestibule(dir, &database, &["serve"]);
    assert!(!served && told.contains("vestibule migrate up"), "{told}");
    let (current, told) = vestibule(dir, &database, &["migrate", "status"]);
    assert!(!current && told.contains("not yet"), "{told}");
    let from = format!("sqlite:{}", dir.join("vestibule.db").display());
    let (copied, told) = vestibule(dir, &database, &["store", "copy", "--from", &from]);
    assert!(!copied && told.contains("vestibule migrate up"), "{told}");
    let (migrated, told) = vestibule(dir, &database, &["migrate", "up"]);
    assert!(migrated && told.contains("applied 1"), "{told}");
    let (current, told) = vestibule(dir, &database, &["migrate", "status"]);
    assert!(current && told.contains("initial"), "{told}");
    let (copied, told) = vestibule(dir, &database, &["store", "copy", "--from", &from]);
    assert!(copied && told.contains("objects 2"), "{told}");
    let (again, told) = vestibule(dir, &database, &["store", "copy", "--from", &from]);
    assert!(!again && told.contains("not empty"), "{told}");

    // The same tokens, objects and URLs, on another database.
    let address = database.address();
    cloud
        .gateway
        .start_again(&[("VESTIBULE__STORE__PATH", None), ("VESTIBULE__STORE__URL", Some(address.as_str()))])
        .await;
    assert_eq!(cloud.gateway.download(&id).await, jpeg().bytes);
    assert_eq!(cloud.send(&issued, &jpeg().bytes).await, 200);
    cloud.gateway.wait_for(&later, "visible").await;
    database.assert_consistent().await;
}
