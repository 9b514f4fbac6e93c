//! Rotation with a window, the report about the old token, and last use.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{audit, in_days, listed, works};
use crate::gateway::{Gateway, PATIENCE, until};
use crate::http_errors::send;

async fn token(gateway: &Gateway) -> Value {
    let body = json!({ "app": "where2eat", "workflow": "menu-import", "expiresAt": in_days(300) });
    gateway.admin_post("/admin/tokens", body).await.1
}

async fn rotate(gateway: &Gateway, old: &Value, body: Value) -> (u16, Value) {
    gateway.admin_post(&format!("/admin/tokens/{}/rotate", old["tokenId"].as_str().unwrap()), body).await
}

#[tokio::test]
async fn both_work_for_the_window_and_use_of_the_old_one_is_reported() {
    let gateway = Gateway::start().await;
    let old = token(&gateway).await;
    let secret = old["token"].as_str().unwrap();
    let limits = || gateway.http.get(format!("{}/limits", gateway.public)).bearer_auth(secret);
    let fresh = send(limits()).await;
    assert!(!fresh.headers.contains_key("sunset") && !fresh.headers.contains_key("deprecation"), "{:?}", fresh.headers);

    let (status, new) = rotate(&gateway, &old, json!({ "window": "24h" })).await;
    assert_eq!((status, &new["replaces"]), (201, &old["tokenId"]), "{new}");
    assert_eq!((&new["workflow"], &new["scopes"], &new["owner"]), (&old["workflow"], &old["scopes"], &old["owner"]));
    for _ in 0..3 {
        let told = send(limits()).await;
        assert_eq!(told.status, 200);
        // RFC 8594: an HTTP date. RFC 9745: the seconds of a structured date.
        let until: jiff::Timestamp = new["replacedUntil"].as_str().unwrap().parse().unwrap();
        let sunset = until.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        assert_eq!(told.headers["sunset"].to_str().unwrap(), sunset);
        let created: jiff::Timestamp = new["createdAt"].as_str().unwrap().parse().unwrap();
        assert_eq!(told.headers["deprecation"].to_str().unwrap(), format!("@{}", created.as_second()));
    }
    let refused =
        send(gateway.http.get(format!("{}/objects/obj_{}", gateway.public, "0".repeat(32))).bearer_auth(secret)).await;
    assert!(refused.status == 404 && refused.headers.contains_key("sunset"), "refusals tell it too");
    assert_eq!(works(&gateway, new["token"].as_str().unwrap()).await, 200);

    let started = Instant::now();
    let reports = loop {
        let reports = audit(&gateway, "useRotatedToken").await;
        if !reports.is_empty() {
            break reports;
        }
        assert!(started.elapsed() < PATIENCE, "nothing was reported\n{}", gateway.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert_eq!((reports.len(), &reports[0]["tokenId"]), (1, &old["tokenId"]), "{reports:?}");
    assert!(reports[0]["detail"].as_str().unwrap().contains(new["tokenId"].as_str().unwrap()), "{reports:?}");
    assert!(gateway.log().contains("a rotated token is still used"));
    let metrics = gateway.http.get(format!("{}/metrics", gateway.admin)).bearer_auth(&gateway.admin_token);
    let metrics = metrics.send().await.unwrap().text().await.unwrap();
    let line = metrics.lines().find(|line| line.starts_with("vestibule_rotated_token_requests_total")).unwrap();
    assert!(line.ends_with(" 4"), "{line}");
    assert_eq!(audit(&gateway, "rotateToken").await[0]["operator"], "dev");
}

#[tokio::test]
async fn the_old_token_dies_with_the_window() {
    let gateway = Gateway::start().await;
    let old = token(&gateway).await;
    let (status, new) = rotate(&gateway, &old, json!({ "window": "5s", "expiresAt": null })).await;
    assert_eq!(status, 201, "{new}");
    let secret = old["token"].as_str().unwrap();
    assert_eq!(works(&gateway, secret).await, 200);
    until(new["replacedUntil"].as_str().unwrap().parse().unwrap()).await;
    let (status, problem) = gateway.post_as(secret, "/request-upload", json!({})).await;
    assert_eq!((status, problem["code"].as_str()), (401, Some("token_expired")), "{problem}");
    assert_eq!(works(&gateway, new["token"].as_str().unwrap()).await, 200);
    let (status, problem) = rotate(&gateway, &old, json!({})).await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("token_not_rotatable")), "{problem}");
    let (status, again) = rotate(&gateway, &new, json!({ "window": "0s" })).await;
    assert_eq!(status, 201, "{again}");
    assert_eq!(works(&gateway, new["token"].as_str().unwrap()).await, 401, "without a window at once");
}

#[tokio::test]
async fn a_rotation_keeps_bounds_and_happens_once() {
    let gateway = Gateway::start().await;
    let old = token(&gateway).await;
    for (body, part) in [
        (json!({ "window": "31d" }), "30 days at most"),
        (json!({ "window": "soon" }), "window:"),
        (json!({ "expiresAt": "2001-01-01T00:00:00Z" }), "in the past"),
        (json!({ "expiresAt": "2099-01-01T00:00:00Z" }), "max_token_ttl"),
        (json!({ "scopes": [] }), "unknown field"),
    ] {
        let (status, problem) = rotate(&gateway, &old, body.clone()).await;
        assert_eq!((status, problem["code"].as_str()), (400, Some("invalid_field")), "{body}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(part), "{problem}");
    }
    for unknown in ["z".repeat(16), "x".into()] {
        assert_eq!(rotate(&gateway, &json!({ "tokenId": unknown }), json!({})).await.0, 404);
    }
    let (_, new) = rotate(&gateway, &old, json!({})).await;
    let end = |token: &Value| token["expiresAt"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let life = |token: &Value| end(token).duration_since(token["createdAt"].as_str().unwrap().parse().unwrap());
    assert_eq!(life(&new), life(&old), "as long a life as the old one was given");
    let (status, problem) = rotate(&gateway, &old, json!({})).await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("token_not_rotatable")), "{problem}");
    // An operator's token too: who holds it goes on being the same operator.
    let (_, mine) = gateway.admin_post("/admin/tokens", json!({ "operator": "ana" })).await;
    let (status, next) = rotate(&gateway, &mine, json!({})).await;
    assert_eq!((status, next["operator"].as_str()), (201, Some("ana")), "{next}");
    assert_eq!(life(&next), jiff::SignedDuration::from_hours(365 * 24), "no longer than access.toml allows");
    assert!(next["token"].as_str().unwrap().starts_with("vst_admin_"));
}

#[tokio::test]
async fn whoever_revokes_a_rotated_token_is_told_what_works_in_its_place() {
    let gateway = Gateway::start().await;
    let mut tokens = vec![token(&gateway).await];
    for _ in 0..2 {
        let last = tokens.last().unwrap();
        let (status, next) = rotate(&gateway, last, json!({})).await;
        assert_eq!(status, 201, "{next}");
        tokens.push(next);
    }
    let ids: Vec<&str> = tokens.iter().map(|token| token["tokenId"].as_str().unwrap()).collect();
    let revoke = async |id: &str| {
        let body = json!({ "kind": "token", "id": id, "reason": "it was in a log" });
        gateway.admin_post("/admin/revocations", body).await.1
    };
    assert_eq!(revoke(ids[1]).await["successor"], ids[2]);
    let first = revoke(ids[0]).await;
    assert_eq!(first["successor"], ids[2], "also beyond one that is dead");
    assert_eq!(works(&gateway, tokens[2]["token"].as_str().unwrap()).await, 200);
    let (_, _, told) = gateway.run(&["token", "revoke", ids[0]]);
    assert!(told.contains(&format!("vestibule token revoke {}", ids[2])), "{told}");
    assert!(revoke(ids[2]).await.get("successor").is_none());
    let (_, printed, _) = gateway.run(&["revoke", "show", first["revocationId"].as_str().unwrap()]);
    assert!(!printed.contains("goes on working"), "{printed}");
}

#[tokio::test]
async fn the_last_use_of_a_token_is_on_record() {
    let mut gateway = Gateway::start().await;
    let (used, unused) = (token(&gateway).await, token(&gateway).await);
    let id = |token: &Value| token["tokenId"].as_str().unwrap().to_owned();
    assert!(listed(&gateway, &id(&used)).await["lastUsedAt"].is_null());
    for _ in 0..3 {
        assert_eq!(works(&gateway, used["token"].as_str().unwrap()).await, 200);
    }
    let started = Instant::now();
    while listed(&gateway, &id(&used)).await["lastUsedAt"].is_null() {
        assert!(started.elapsed() < PATIENCE, "no use was written\n{}", gateway.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(listed(&gateway, &id(&unused)).await["lastUsedAt"].is_null());
    // What was noted just before the end is written at the end.
    assert_eq!(works(&gateway, unused["token"].as_str().unwrap()).await, 200);
    gateway.stop();
    gateway.start_again(&[]).await;
    assert!(listed(&gateway, &id(&unused)).await["lastUsedAt"].is_string());
}
