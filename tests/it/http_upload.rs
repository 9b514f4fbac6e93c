//! `POST /request-upload` as a client meets it: the answer's shape, what its URL takes, and repeated requests.
//!
//! Which requests are refused, and how, is in `http_upload_rules`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::gateway::{Gateway, answer};
use crate::harness;

fn sorted_keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

fn query(url: &str, name: &str) -> Option<String> {
    let url: url::Url = url.parse().unwrap();
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

#[tokio::test]
async fn the_answer_is_exactly_what_the_contract_promises() {
    let gateway = Gateway::start().await;
    let bytes = harness::fixture("menu.jpg");
    let body = json!({ "filename": "menu.jpg", "size": bytes.len(), "contentType": "image/jpeg" });
    let request = gateway.http.post(format!("{}/request-upload", gateway.public)).bearer_auth(&gateway.token);
    let response = request.json(&body).send().await.unwrap();
    assert_eq!(response.status(), 201);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let issued: Value = response.json().await.unwrap();

    let expected = ["expiresAt", "fields", "headers", "method", "objectId", "statusUrl", "uploadUrl"];
    assert_eq!(sorted_keys(&issued), expected);
    let id = issued["objectId"].as_str().unwrap();
    assert!(id.strip_prefix("obj_").is_some_and(|rest| rest.len() == 32), "{id}");
    assert_eq!(issued["statusUrl"], format!("/objects/{id}"));
    assert_eq!((issued["method"].as_str(), &issued["fields"]), (Some("PUT"), &Value::Null));
    let headers =
        json!({ "content-type": "image/jpeg", "content-length": bytes.len().to_string(), "if-none-match": "*" });
    assert_eq!(issued["headers"], headers);

    // RFC 3339, UTC, whole seconds, and the time at which the URL itself ends.
    let expires = issued["expiresAt"].as_str().unwrap();
    assert_eq!((expires.len(), &expires[10..11], &expires[19..]), (20, "T", "Z"), "{expires}");
    let url = issued["uploadUrl"].as_str().unwrap();
    let signed_at = query(url, "X-Amz-Date").unwrap();
    let signed_at = jiff::fmt::strtime::parse("%Y%m%dT%H%M%S%z", signed_at.replace('Z', "+0000")).unwrap();
    let life = jiff::SignedDuration::from_secs(query(url, "X-Amz-Expires").unwrap().parse().unwrap());
    assert_eq!(signed_at.to_timestamp().unwrap() + life, expires.parse::<jiff::Timestamp>().unwrap());

    // What must be sent is what is signed, no more and no less; the host is sent by every client.
    let signed = query(url, "X-Amz-SignedHeaders").unwrap();
    let signed: Vec<&str> = signed.split(';').filter(|name| *name != "host").collect();
    assert_eq!(signed, sorted_keys(&issued["headers"]));

    let (status, object) = gateway.get(issued["statusUrl"].as_str().unwrap()).await;
    assert_eq!((status, object["state"].as_str()), (200, Some("issued")), "{object}");
}

#[tokio::test]
async fn the_contracts_own_example_goes_through() {
    let gateway = Gateway::start().await;
    let mut bytes = harness::fixture("menu.jpg");
    bytes.resize(48_213, 0);
    let digest = Sha256::digest(&bytes);
    let body = json!({
        "filename": "menu.jpg", "size": 48_213, "contentType": "image/jpeg", "path": "uploads/u-42/",
        "classification": "internal", "sha256": hex::encode(digest), "method": "PUT",
        "metadata": { "table": "7" }, "lawfulBasis": "contract"
    });
    let (status, issued) = gateway.post("/request-upload", body).await;
    assert_eq!(status, 201, "{issued}");
    assert_eq!(issued["headers"]["x-amz-checksum-sha256"], STANDARD.encode(digest));

    let mut other = bytes.clone();
    other[48_212] = 1;
    assert_eq!(gateway.put(&issued, other).await, 400, "bytes with another SHA-256 must be refused by the storage");
    assert_eq!(gateway.put(&issued, bytes.clone()).await, 200);
    let id = issued["objectId"].as_str().unwrap();
    let object = gateway.wait_for(id, "visible").await;
    assert_eq!(object["path"], format!("uploads/u-42/{id}/menu.jpg"));
    assert_eq!((&object["metadata"], object["classification"].as_str()), (&json!({ "table": "7" }), Some("internal")));
    assert_eq!(object["sha256"], hex::encode(digest));
    assert_eq!(gateway.download(id).await, bytes);
}

#[tokio::test]
async fn the_storage_refuses_what_the_url_does_not_allow() {
    let gateway = Gateway::start().await;
    let bytes = harness::fixture("menu.jpg");
    let issued = gateway.request_jpeg(&bytes).await;
    let url = issued["uploadUrl"].as_str().unwrap();
    let put = |kind: &str, bytes: Vec<u8>| {
        let request = gateway.http.put(url).header("content-type", kind).header("if-none-match", "*").body(bytes);
        async move { request.send().await.unwrap().status().as_u16() }
    };
    let longer = [bytes.as_slice(), b"x"].concat();
    assert_eq!(put("image/jpeg", longer).await, 403);
    assert_eq!(put("text/html", bytes.clone()).await, 403);
    assert_eq!(gateway.http.get(url).send().await.unwrap().status(), 403);
    assert_eq!(put("image/jpeg", bytes.clone()).await, 200);
    assert_eq!(put("image/jpeg", bytes.clone()).await, 412, "create only");
    gateway.wait_for(issued["objectId"].as_str().unwrap(), "visible").await;
}

/// A browser's `multipart/form-data`: the fields first, then the file.
fn form(fields: &Value, file: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields.as_object().unwrap() {
        let value = value.as_str().unwrap();
        let part = format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend_from_slice(part.as_bytes());
    }
    let head = "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"menu.jpg\"\r\n\
                Content-Type: image/jpeg\r\n\r\n";
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(file);
    body.extend_from_slice(b"\r\n--XX--\r\n");
    body
}

#[tokio::test]
async fn a_post_form_uploads_like_an_html_form() {
    let gateway = Gateway::start().await;
    let bytes = harness::fixture("menu.jpg");
    let body = json!({ "filename": "menu.jpg", "size": bytes.len(), "contentType": "image/jpeg", "method": "POST" });
    let (status, issued) = gateway.post("/request-upload", body).await;
    assert_eq!((status, issued["method"].as_str()), (201, Some("POST")), "{issued}");
    assert!(!issued["uploadUrl"].as_str().unwrap().contains('?'), "a form's authority is in its fields: {issued}");
    let send = |file: &[u8]| {
        let mut request = gateway.http.post(issued["uploadUrl"].as_str().unwrap());
        for (name, value) in issued["headers"].as_object().unwrap() {
            request = request.header(name, value.as_str().unwrap());
        }
        let request =
            request.header("content-type", "multipart/form-data; boundary=XX").body(form(&issued["fields"], file));
        async move { request.send().await.unwrap().status().as_u16() }
    };
    let longer = [bytes.as_slice(), b"x"].concat();
    assert_eq!(send(&longer).await, 400, "the policy's content-length-range");
    let status = send(&bytes).await;
    assert!(matches!(status, 200 | 201 | 204), "{status}");
    let id = issued["objectId"].as_str().unwrap();
    gateway.wait_for(id, "visible").await;
    assert_eq!(gateway.download(id).await, bytes);
}

#[tokio::test]
async fn a_form_is_refused_where_the_manifest_does_not_allow_one() {
    let gateway = Gateway::start().await;
    let token = gateway.create_token(json!({ "app": "finance-invoices", "workflow": "mail" })).await;
    let body = json!({ "filename": "a.pdf", "size": 10, "contentType": "application/pdf", "method": "POST" });
    let (status, problem) = gateway.post_as(&token, "/request-upload", body).await;
    assert_eq!((status, problem["code"].as_str()), (403, Some("method_not_supported")), "{problem}");
    assert_eq!(problem["allowed"], json!(["PUT"]));
}

async fn with_key(gateway: &Gateway, token: &str, key: &str, body: &Value) -> (u16, Value) {
    let request = gateway.http.post(format!("{}/request-upload", gateway.public)).bearer_auth(token);
    answer(request.header("idempotency-key", key).json(body)).await
}

#[tokio::test]
async fn an_idempotency_key_makes_a_repeated_request_answer_with_the_same_object() {
    let gateway = Gateway::start().await;
    let bytes = harness::fixture("menu.jpg");
    let body = json!({ "filename": "menu.jpg", "size": bytes.len(), "contentType": "image/jpeg" });
    let (status, first) = with_key(&gateway, &gateway.token, "k-1", &body).await;
    assert_eq!(status, 201, "{first}");
    let (status, again) = with_key(&gateway, &gateway.token, "k-1", &body).await;
    assert_eq!((status, &again["objectId"]), (201, &first["objectId"]), "{again}");
    assert_eq!(again["expiresAt"], first["expiresAt"], "a repeated request does not lengthen the life of the URL");

    let other = json!({ "filename": "other.jpg", "size": bytes.len(), "contentType": "image/jpeg" });
    let (status, problem) = with_key(&gateway, &gateway.token, "k-1", &other).await;
    assert_eq!((status, problem["code"].as_str()), (422, Some("idempotency_key_reused")), "{problem}");

    let neighbour = gateway.create_token(json!({ "app": "where2eat", "workflow": "other" })).await;
    let (status, theirs) = with_key(&gateway, &neighbour, "k-1", &body).await;
    assert_eq!(status, 201, "{theirs}");
    assert_ne!(theirs["objectId"], first["objectId"], "another workflow's key is another key");

    assert_eq!(gateway.put(&again, bytes).await, 200, "the URL of the repeated answer works");
    gateway.wait_for(first["objectId"].as_str().unwrap(), "visible").await;
    let (status, problem) = with_key(&gateway, &gateway.token, "k-1", &body).await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("idempotency_key_spent")), "{problem}");

    // Both issuances of the one object are on record: a URL never leaves without one.
    let id = first["objectId"].as_str().unwrap();
    let (_, page) = gateway.admin_get(&format!("/admin/audit?object={id}")).await;
    let issued = page["entries"].as_array().unwrap().iter();
    let issued = issued.filter(|entry| entry["action"] == "requestUpload" && entry["outcome"] == "allowed");
    assert_eq!(issued.count(), 2, "{page}");
}

#[tokio::test]
async fn concurrent_repeats_of_one_key_make_one_object() {
    let gateway = Gateway::start().await;
    let body = json!({ "filename": "menu.jpg", "size": 10, "contentType": "image/jpeg" });
    let repeats = (0..20).map(|_| with_key(&gateway, &gateway.token, "storm", &body));
    let answers = futures::future::join_all(repeats).await;
    let ids: std::collections::HashSet<&str> =
        answers.iter().map(|(_, issued)| issued["objectId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 1, "{answers:?}");
}

#[tokio::test]
async fn an_idempotency_key_has_bounds() {
    let gateway = Gateway::start().await;
    let body = json!({ "filename": "menu.jpg", "size": 10, "contentType": "image/jpeg" });
    for (key, fits) in
        [("x".repeat(200), true), ("x".repeat(201), false), (String::new(), false), ("a b".into(), false)]
    {
        let (status, answer) = with_key(&gateway, &gateway.token, &key, &body).await;
        assert_eq!(status, if fits { 201 } else { 400 }, "{key}: {answer}");
        assert!(fits || answer["detail"].as_str().unwrap().contains("Idempotency-Key"), "{answer}");
    }
}
