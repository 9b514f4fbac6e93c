//! The audit trail of a small run: every issuance, refusal, state change and admin act, with every field, before the
//! answer.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::gateway::Gateway;
use crate::harness;
use crate::http_errors::{assert_problem, send};

async fn entries(gateway: &Gateway, query: &str) -> Vec<Value> {
    let (status, page) = gateway.admin_get(&format!("/admin/audit?limit=1000{query}")).await;
    assert_eq!(status, 200, "{page}");
    page["entries"].as_array().unwrap().clone()
}

fn find<'e>(entries: &'e [Value], action: &str, outcome: &str) -> &'e Value {
    let found = entries.iter().find(|entry| entry["action"] == action && entry["outcome"] == outcome);
    found.unwrap_or_else(|| panic!("no {outcome} {action} in {entries:#?}"))
}

fn has_all(entry: &Value, fields: &[&str]) {
    for field in fields {
        assert!(!entry[field].is_null(), "{field} is missing in {entry}");
    }
    let time = entry["time"].as_str().unwrap();
    assert!(time.len() == 27 && &time[19..20] == "." && time.ends_with('Z'), "microseconds, UTC: {time}");
}

const OF_REQUEST: [&str; 13] = [
    "time",
    "tokenId",
    "workflow",
    "app",
    "owner",
    "scopes",
    "route",
    "method",
    "status",
    "durationMicros",
    "sourceAddress",
    "requestId",
    "bodySha256",
];
const OF_OBJECT: [&str; 4] = ["objectId", "data_classification", "data_residency_region", "grantId"];

#[tokio::test]
async fn every_act_of_a_small_run_is_on_record_with_every_field() {
    let gateway = Gateway::start().await;
    let token = gateway.create_token(harness::clinician()).await;
    let bytes = harness::fixture("invoice.pdf");
    let body =
        json!({ "filename": "f.pdf", "size": bytes.len(), "contentType": "application/pdf", "lawfulBasis": "consent" });
    let request = gateway.http.post(format!("{}/request-upload", gateway.public)).bearer_auth(&token);
    let issued = send(request.header("x-request-id", "intake-1").json(&body)).await.body;
    let id = issued["objectId"].as_str().unwrap();

    // Durable before the answer: nothing is waited for.
    let about = entries(&gateway, &format!("&object={id}")).await;
    let entry = find(&about, "requestUpload", "allowed");
    has_all(entry, &OF_REQUEST);
    has_all(entry, &OF_OBJECT);
    has_all(entry, &["rule", "lawful_basis"]);
    assert_eq!((entry["requestId"].as_str(), entry["status"].as_u64()), (Some("intake-1"), Some(201)));
    assert_eq!(entry["bodySha256"], hex::encode(Sha256::digest(body.to_string())));
    assert_eq!(entry["tokenId"].as_str(), token.split('_').nth(2));
    assert_eq!(
        (entry["data_classification"].as_str(), entry["lawful_basis"].as_str()),
        (Some("regulated"), Some("consent"))
    );

    assert_eq!(gateway.put(&issued, bytes).await, 200);
    gateway.wait_for(id, "visible").await;
    let (status, download) = gateway.post_as(&token, "/request-download", json!({ "objectId": id })).await;
    assert_eq!(status, 200, "{download}");
    assert_eq!(send(gateway.http.get(download["downloadUrl"].as_str().unwrap())).await.status, 302);
    gateway.post_as(&token, "/request-upload", json!({ "filename": "f.exe" })).await;
    gateway.http.get(format!("{}/objects", gateway.public)).bearer_auth("nonsense").send().await.unwrap();
    let (status, _) = gateway.admin_post(&format!("/admin/objects/{id}/delete"), json!({ "reason": "asked to" })).await;
    assert_eq!(status, 200);

    let all = entries(&gateway, "").await;
    let states: Vec<(&str, &str)> = all
        .iter()
        .rev()
        .filter(|entry| entry["objectId"] == id && !entry["toState"].is_null())
        .map(|entry| (entry["fromState"].as_str().unwrap(), entry["toState"].as_str().unwrap()))
        .collect();
    let expected = [
        ("issued", "uploaded"),
        ("uploaded", "scanning"),
        ("scanning", "promoting"),
        ("promoting", "visible"),
        ("visible", "deleted"),
    ];
    assert_eq!(states, expected);
    for action in ["requestDownload", "followLink"] {
        let entry = find(&all, action, "allowed");
        has_all(entry, &OF_OBJECT);
        has_all(entry, &OF_REQUEST[..12]);
    }
    let refused = find(&all, "requestUpload", "refused");
    has_all(refused, &OF_REQUEST);
    assert_eq!((refused["reason"].as_str(), refused["status"].as_u64()), (Some("invalid_field"), Some(400)));
    assert_eq!(find(&all, "authenticate", "refused")["reason"], "token_invalid");
    let deleted = find(&all, "reviewDelete", "allowed");
    has_all(deleted, &["operator", "tokenId", "requestId", "sourceAddress", "bodySha256"]);
    assert_eq!((deleted["detail"].as_str(), deleted["app"].as_str()), (Some("asked to"), Some("clinic-forms")));
    has_all(find(&all, "createToken", "allowed"), &["operator", "app", "workflow", "owner", "scopes"]);
    find(&all, "readAudit", "allowed");

    // The file beside the table holds the same, in order.
    let file = std::fs::read_to_string(gateway.dir().join("audit.jsonl")).unwrap();
    let lines: Vec<Value> = file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let table: Vec<Value> = all.into_iter().rev().collect();
    assert_eq!(lines[..table.len()], table[..]);
    assert!(file.lines().all(|line| line.contains("\"time\":\"2")), "{file}");
}

#[tokio::test]
async fn a_refusal_keeps_what_was_asked_for_and_nothing_personal() {
    let gateway = Gateway::start().await;
    let ask = |body: Value| gateway.post("/request-upload", body);
    let wanted = json!({ "filename": "anna.smith.exe", "size": 7, "contentType": "image/jpeg", "path": "uploads/u-1/",
                         "classification": "internal", "lawfulBasis": "because anna", "metadata": { "who": "anna" } });
    assert_eq!(ask(wanted).await.0, 403);
    assert_eq!(ask(json!({ "filename": "a" })).await.0, 400);
    let issued = gateway.request_jpeg(&[0xff, 0xd8, 0xff, 0xe0]).await;
    let id = issued["objectId"].as_str().unwrap();
    let download = json!({ "objectId": id, "disposition": "inline", "oneTime": true });
    assert_eq!(gateway.post("/request-download", download).await.0, 409);
    assert_eq!(gateway.post("/request-download", json!({ "objectId": id })).await.0, 409);
    let all = entries(&gateway, "").await;
    let of = |action: &str| -> Vec<&Value> {
        all.iter().filter(|entry| entry["action"] == action && entry["outcome"] == "refused").collect()
    };
    let uploads = of("requestUpload");
    assert!(uploads[0]["request"].is_null(), "nobody could read it: {}", uploads[0]);
    let asked = json!({ "contentType": "image/jpeg", "size": 7, "extension": "exe", "path": "uploads/u-1/",
                        "classification": "internal", "method": "PUT", "lawfulBasis": "other" });
    assert_eq!(uploads[1]["request"], asked);
    assert!(!uploads[1]["request"].to_string().contains("anna"));
    assert_eq!(uploads[1]["data_classification"], "internal");
    let downloads = of("requestDownload");
    assert_eq!(downloads[1]["request"], json!({ "disposition": "inline", "oneTime": true }));
    assert_eq!(downloads[0]["request"], json!({}));
    assert!(find(&all, "requestUpload", "allowed")["request"].is_null(), "the object tells");
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_done() {
    let gateway = Gateway::start().await;
    let other = rusqlite::Connection::open(gateway.dir().join("vestibule.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let body = json!({ "filename": "menu.jpg", "size": 10, "contentType": "image/jpeg" });
    let ask =
        || gateway.http.post(format!("{}/request-upload", gateway.public)).bearer_auth(&gateway.token).json(&body);
    let answer = send(ask()).await;
    assert_problem(&answer, 503, "database_unavailable");
    assert!(
        answer.headers.contains_key("retry-after") && !answer.body.to_string().contains("X-Amz"),
        "{}",
        answer.body
    );
    // Not even a refusal leaves without its record.
    let request = gateway.http.get(format!("{}/objects?limit=0", gateway.public)).bearer_auth(&gateway.token);
    assert_problem(&send(request).await, 503, "database_unavailable");
    other.execute_batch("ROLLBACK").unwrap();
    drop(other);
    let started = std::time::Instant::now();
    while send(ask()).await.status != 201 {
        assert!(started.elapsed() < crate::gateway::PATIENCE, "it does not recover");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
