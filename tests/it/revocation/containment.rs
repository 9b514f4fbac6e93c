//! Containment: what was uploaded is held, what is awaited ends, links die; and a reviewer can put it all back.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{id_of, revoke, token};
use crate::cloud::{Place, Setup};
use crate::gateway::{Gateway, PATIENCE};
use crate::harness;
use crate::store_postgres::Database;

/// Waits until the revocation's containment is done; the answer about it.
async fn contained(gateway: &Gateway, revocation: &Value) -> Value {
    let path = format!("/admin/revocations/{}", revocation["revocationId"].as_str().unwrap());
    let started = Instant::now();
    loop {
        let (status, now) = gateway.admin_get(&path).await;
        assert_eq!(status, 200, "{now}");
        if now["containedAt"].is_string() {
            return now;
        }
        assert!(started.elapsed() < PATIENCE, "{now}\n{}", gateway.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_visible_object_is_held_and_released_to_the_same_bytes_or_deleted() {
    let gateway = Gateway::start().await;
    let bytes = harness::fixture("menu.jpg");
    let (kept, gone) = (gateway.visible_jpeg(&bytes).await, gateway.visible_jpeg(&bytes).await);
    let other = token(&gateway, "where2eat", "other", json!({})).await;
    let (_, before) = gateway.admin_get(&format!("/admin/objects/{kept}")).await;
    let ask = json!({ "objectId": kept, "oneTime": true });
    let (status, link) = gateway.post_as(&other, "/request-download", ask).await;
    assert_eq!(status, 200, "{link}");
    let awaited = gateway.request_jpeg(&bytes).await;
    let awaited = awaited["objectId"].as_str().unwrap();

    let answer =
        revoke(&gateway, json!({ "kind": "token", "id": id_of(&gateway.token), "reason": "a leak", "contain": true }))
            .await;
    assert_eq!((&answer["contain"], &answer["containedAt"]), (&json!(true), &Value::Null), "{answer}");
    let held = gateway.wait_for(&kept, "quarantined").await;
    assert_eq!((&held["reason"], &held["verdict"]), (&json!("contained"), &before["verdict"]), "{held}");
    gateway.wait_for(&gone, "quarantined").await;
    gateway.wait_for(awaited, "deleted").await;

    // Nobody gets it any more, whoever's token asks; the other's link leads nowhere.
    let (status, problem) = gateway.post_as(&other, "/request-download", json!({ "objectId": kept })).await;
    assert_eq!((status, &problem["code"]), (409, &json!("object_held")), "{problem}");
    let followed = gateway.http.get(link["downloadUrl"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(followed.status(), 404);
    let delete = gateway.http.delete(format!("{}/objects/{kept}", gateway.public)).bearer_auth(&other);
    assert_eq!(crate::gateway::answer(delete).await.1["code"], "object_held");

    let now = contained(&gateway, &answer).await;
    assert_eq!(now["uploaded"]["states"], json!({ "quarantined": 2, "deleted": 1 }), "{now}");
    let (_, page) = gateway.admin_get(&format!("/admin/audit?object={kept}")).await;
    let entry = &page["entries"].as_array().unwrap().iter().find(|entry| entry["action"] == "containObject").unwrap();
    assert_eq!((&entry["fromState"], &entry["toState"]), (&json!("visible"), &json!("quarantined")), "{entry}");
    assert!(entry["detail"].as_str().unwrap().contains("a leak"), "{entry}");

    let act = |id: &str, act: &str| format!("/admin/objects/{id}/{act}");
    let reason = json!({ "reason": "looked at it, it is our menu" });
    let (status, _) = gateway.admin_post(&act(&kept, "inspect"), reason.clone()).await;
    assert_eq!(status, 409, "what was visible is released or deleted");
    let (status, released) = gateway.admin_post(&act(&kept, "release"), reason.clone()).await;
    assert_eq!((status, &released["state"]), (200, &json!("visible")), "{released}");
    assert_eq!((&released["path"], &released["sha256"]), (&before["path"], &before["sha256"]));
    let (status, issued) = gateway.post_as(&other, "/request-download", json!({ "objectId": kept })).await;
    assert_eq!(status, 200, "{issued}");
    let read = gateway.http.get(issued["downloadUrl"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(read.bytes().await.unwrap(), bytes);
    // Done is done: what a reviewer has put back is not taken again.
    tokio::time::sleep(Duration::from_secs(2)).await;
    gateway.wait_for(&kept, "visible").await;

    let (status, _) = gateway.admin_post(&act(&gone, "delete"), reason).await;
    assert_eq!(status, 200);
    gateway.wait_for(&gone, "deleted").await;
    let (code, told, errors) = gateway.run(&["quota", "audit"]);
    assert_eq!(code, 0, "{told}{errors}");
}

#[tokio::test]
async fn what_is_not_yet_judged_is_held_and_judged_before_it_is_ever_served() {
    let mut gateway = Gateway::start().await;
    let bytes = harness::fixture("menu.jpg");
    let issued = gateway.request_jpeg(&bytes).await;
    let id = issued["objectId"].as_str().unwrap().to_owned();
    // Nobody scans, so that what arrives stays where it is.
    gateway.go_on_as_serve(&[("VESTIBULE__SCANNER__ADDRESS", "unix:/nonexistent/clamd.sock")]).await;
    assert_eq!(gateway.put(&issued, bytes.clone()).await, 200);
    let revocation = revoke(
        &gateway,
        json!({ "kind": "app", "id": "where2eat", "reason": "a leak", "contain": true, "block": false }),
    )
    .await;
    // Killed while it is at it: whatever was answered is carried out.
    gateway.kill();
    gateway.start_again(&[]).await;
    let now = contained(&gateway, &revocation).await;
    let held = gateway.wait_for(&id, "quarantined").await;
    assert_eq!((&held["reason"], &now["uploaded"]["states"]["quarantined"]), (&json!("contained"), &json!(1)), "{now}");
    let reason = json!({ "reason": "let it go on" });
    let (status, refused) = gateway.admin_post(&format!("/admin/objects/{id}/inspect"), reason.clone()).await;
    assert_eq!(
        (status, &refused["code"]),
        (409, &json!("state_conflict")),
        "a release, with all that it needs: {refused}"
    );
    let (status, released) = gateway.admin_post(&format!("/admin/objects/{id}/release"), reason).await;
    assert_eq!(status, 200, "{released}");
    assert_ne!(released["state"], "visible", "it was never judged");
    let visible = gateway.wait_for(&id, "visible").await;
    assert_eq!(visible["verdict"]["result"], "clean", "{visible}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_node_goes_on_where_the_one_that_began_has_died() {
    let database = Database::migrated().await;
    let (address, setup) = (database.address(), Setup::at(Place::s3().await));
    let settings = [("VESTIBULE__STORE__URL", address.as_str()), ("VESTIBULE__SWEEP__INTERVAL", "1s")];
    let mut nodes = Vec::new();
    for _ in 0..2 {
        let dir = tempfile::tempdir().unwrap();
        setup.write_configuration(dir.path());
        nodes.push(Gateway::serve_in(dir, "desk", &settings).await);
    }
    let id = nodes[0].visible_jpeg(&harness::fixture("menu.jpg")).await;
    let body = json!({ "kind": "app", "id": "desk", "reason": "taken over", "contain": true });
    let revocation = revoke(&nodes[0], body).await;
    nodes[0].kill();
    nodes[1].wait_for(&id, "quarantined").await;
    let now = contained(&nodes[1], &revocation).await;
    assert_eq!((&now["killed"], now["tokens"].as_array().unwrap().len()), (&json!(2), 2), "{now}");
    assert_eq!(
        now["uploaded"],
        json!({ "objects": 1, "states": { "quarantined": 1 }, "complete": true,
        "uploadsMayWorkUntil": now["uploaded"]["uploadsMayWorkUntil"] })
    );
    let release = format!("/admin/objects/{id}/release");
    let (status, released) = nodes[1].admin_post(&release, json!({ "reason": "it is theirs after all" })).await;
    assert_eq!((status, &released["state"]), (200, &json!("visible")), "{released}");
    database.assert_consistent().await;
}
