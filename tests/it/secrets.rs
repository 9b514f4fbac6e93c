//! P8: no secret reaches a log, a trace, a metric, an audit line or the database.
//!
//! What counts as a secret here: every token as a whole and its secret part, also of tokens that were revoked or sent to
//! the wrong place; the signature of every signed URL, and a URL's query as a whole; the secret of every one-time link;
//! policy and signature of every form; the storage's secret keys. What does not: the public id of a token, ids of
//! objects, grants and requests, ETags and digests. One full run is made at the most talkative settings, and everything
//! that came out of it is searched.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::gateway::{Gateway, answer};
use crate::harness;
use crate::http_errors::send;

/// A collector of traces: keeps every body that is posted to it.
async fn collector() -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    let kept = Arc::<Mutex<Vec<u8>>>::default();
    let keep = Arc::clone(&kept);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let keep = Arc::clone(&keep);
            tokio::spawn(async move {
                let mut chunk = [0; 16 * 1024];
                let (mut seen, mut answered) = (Vec::new(), 0);
                while let Ok(read @ 1..) = socket.read(&mut chunk).await {
                    seen.extend_from_slice(&chunk[..read]);
                    keep.lock().unwrap().extend_from_slice(&chunk[..read]);
                    // One answer for each request head; the exporter sends one request at a time.
                    let heads = seen.windows(4).filter(|window| window == b"\r\n\r\n").count();
                    if heads > answered && complete(&seen) {
                        answered = heads;
                        seen.clear();
                        answered -= heads;
                        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
                    }
                }
            });
        }
    });
    (address, kept)
}

/// Whether a request has arrived as a whole.
fn complete(request: &[u8]) -> bool {
    let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    request.len() >= end + 4 + length.unwrap_or(0)
}

/// Everything that must not appear, with a name for the failure.
#[derive(Default)]
struct Secrets(Vec<(&'static str, String)>);

impl Secrets {
    fn token(&mut self, token: &str) {
        self.0.push(("a token", token.to_owned()));
        self.0.push(("the secret part of a token", token.rsplit('_').next().unwrap().to_owned()));
    }

    fn url(&mut self, url: &str) {
        let url: url::Url = url.parse().unwrap();
        if let Some(link) = url.path().strip_prefix("/d/") {
            self.0.push(("the secret of a link", link.to_owned()));
        }
        if let Some(query) = url.query() {
            self.0.push(("the query of a signed URL", query.to_owned()));
        }
        for (name, value) in url.query_pairs().filter(|(name, _)| name == "X-Amz-Signature" || name == "sig") {
            assert!(!name.is_empty());
            self.0.push(("a signature", value.into_owned()));
        }
    }

    fn form(&mut self, fields: &Value) {
        for name in ["policy", "x-amz-signature"] {
            let found = fields.as_object().unwrap().iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
            self.0.push(("a field of a form", found.unwrap().1.as_str().unwrap().to_owned()));
        }
    }

    fn search(&self, place: &str, text: &[u8]) {
        assert!(text.len() > 100, "{place} is empty");
        for (what, secret) in &self.0 {
            assert!(secret.len() > 20, "{what} is too short to be searched for: {secret}");
            let found = text.windows(secret.len()).position(|window| window == secret.as_bytes());
            if let Some(at) = found {
                let from = at.saturating_sub(400);
                panic!("{place} holds {what}: {}", String::from_utf8_lossy(&text[from..at + secret.len()]));
            }
        }
    }
}

/// Every kind of request with every kind of mistake; the secrets that were in it.
async fn run(gateway: &Gateway) -> Secrets {
    let mut secrets = Secrets::default();
    let bytes = harness::fixture("menu.jpg");
    let public = |path: &str| format!("{}{path}", gateway.public);
    let http = &gateway.http;
    secrets.token(&gateway.token);
    secrets.token(&gateway.admin_token);
    let spare = gateway.create_token(json!({ "app": "where2eat", "workflow": "spare" })).await;
    secrets.token(&spare);

    let id = gateway.visible_jpeg(&bytes).await;
    let form = json!({ "filename": "m.jpg", "size": bytes.len(), "contentType": "image/jpeg", "method": "POST" });
    let (_, issued) = gateway.post("/request-upload", form).await;
    secrets.form(&issued["fields"]);
    let infected = gateway.request_jpeg(&harness::eicar()).await;
    secrets.url(infected["uploadUrl"].as_str().unwrap());
    assert_eq!(gateway.put(&infected, harness::eicar()).await, 200);
    gateway.put(&infected, harness::eicar()).await;
    let held = infected["objectId"].as_str().unwrap();
    gateway.wait_for(held, "quarantined").await;
    let reason = json!({ "reason": "false alarm" });
    assert_eq!(gateway.admin_post(&format!("/admin/objects/{held}/release"), reason).await.0, 200);
    for one_time in [false, true] {
        let (_, issued) = gateway.post("/request-download", json!({ "objectId": id, "oneTime": one_time })).await;
        let url = issued["downloadUrl"].as_str().unwrap();
        secrets.url(url);
        let followed = send(http.get(url)).await;
        if let Some(location) = followed.headers.get("location") {
            secrets.url(location.to_str().unwrap());
            http.get(location.to_str().unwrap()).send().await.unwrap();
        }
        send(http.get(url)).await;
    }

    // Tokens in every wrong place.
    let mut wrong = spare.clone().into_bytes();
    wrong[30] = if wrong[30] == b'a' { b'b' } else { b'a' };
    let wrong = String::from_utf8(wrong).unwrap();
    secrets.token(&wrong);
    let body = |name: &str, value: Value| {
        let mut body = json!({ "filename": "m.jpg", "size": 10, "contentType": "image/jpeg" });
        body[name] = value;
        body
    };
    for request in [
        http.get(public("/objects")).bearer_auth(&wrong),
        http.get(public(&format!("/objects?token={spare}"))),
        http.get(public(&format!("/objects/{spare}"))).bearer_auth(&gateway.token),
        http.get(public(&format!("/objects?prefix={spare}"))).bearer_auth(&gateway.token),
        http.get(public(&format!("/d/{spare}"))),
        http.get(public(&format!("/{spare}"))),
        http.get(public("/objects")).bearer_auth(&gateway.token).header("x-workflow-token", &spare),
        http.get(public("/objects")).bearer_auth(&gateway.token).header("x-request-id", &spare),
        http.get(public("/objects")).header("authorization", format!("Token {spare}")),
        http.get(public("/objects")).bearer_auth(&gateway.admin_token),
        http.get(format!("{}/admin/tokens", gateway.admin)).bearer_auth(&gateway.token),
        http.get(format!("{}/admin/audit?token={spare}", gateway.admin)).bearer_auth(&gateway.admin_token),
        http.delete(format!("{}/admin/tokens/{spare}", gateway.admin)).bearer_auth(&gateway.admin_token),
        http.post(public("/request-upload")).bearer_auth(&gateway.token).json(&body(&spare, json!(1))),
        http.post(public("/request-upload")).bearer_auth(&gateway.token).json(&body("size", json!(spare))),
        http.post(public("/request-upload")).bearer_auth(&gateway.token).json(&body("classification", json!(spare))),
        http.post(public("/request-upload")).bearer_auth(&gateway.token).json(&body("method", json!(spare))),
        http.post(public("/request-upload")).bearer_auth(&gateway.token).json(&body("path", json!(spare))),
        http.post(public("/request-upload")).bearer_auth(&gateway.token).header("idempotency-key", &spare).body("{"),
        http.post(public("/events/sns")).body(spare.clone()),
    ] {
        let request = request.header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        let (status, _) = answer(request).await;
        assert!((200..500).contains(&status), "{status}");
    }
    let spare_id = spare.split('_').nth(2).unwrap();
    send(http.delete(format!("{}/admin/tokens/{spare_id}", gateway.admin)).bearer_auth(&gateway.admin_token)).await;
    send(http.get(public("/objects")).bearer_auth(&spare)).await;
    secrets
}

#[tokio::test]
async fn no_secret_reaches_a_log_a_trace_a_metric_an_audit_line_or_the_database() {
    let (endpoint, traces) = collector().await;
    let gateway = Gateway::start_with(&[
        ("VESTIBULE__TELEMETRY__FILTER", "debug,vestibule=trace"),
        ("VESTIBULE__TELEMETRY__LOG", "json"),
        ("VESTIBULE__TELEMETRY__OTLP_ENDPOINT", &endpoint),
    ])
    .await;
    let mut secrets = run(&gateway).await;
    let keys = std::fs::read(gateway.dir().join("storage/credentials.json")).unwrap();
    let keys: Value = serde_json::from_slice(&keys).unwrap();
    for pair in ["signer", "reader"] {
        secrets.0.push(("a storage key", keys[pair]["secret_access_key"].as_str().unwrap().to_owned()));
    }

    let metrics = gateway.http.get(format!("{}/metrics", gateway.admin)).send().await.unwrap();
    secrets.search("the metrics page", &metrics.bytes().await.unwrap());
    let (_, page) = gateway.admin_get("/admin/audit?limit=1000").await;
    secrets.search("the audit trail", page.to_string().as_bytes());
    secrets.search("the audit file", &std::fs::read(gateway.dir().join("audit.jsonl")).unwrap());
    let started = Instant::now();
    while !traces.lock().unwrap().windows(10).any(|window| window == b"request_id") {
        assert!(started.elapsed() < Duration::from_secs(30), "no traces arrived\n{}", gateway.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // One more batch, so that the last requests are in it too.
    tokio::time::sleep(Duration::from_secs(6)).await;
    secrets.search("a trace", &traces.lock().unwrap());
    let log = gateway.log();
    assert!(
        log.contains("\"level\":\"DEBUG\"") && log.contains("state changed"),
        "the log says too little to be searched"
    );
    secrets.search("the log", log.as_bytes());
    // Tokens are kept as hashes only, and links too.
    for name in ["vestibule.db", "vestibule.db-wal"] {
        secrets.search(name, &std::fs::read(gateway.dir().join(name)).unwrap());
    }
}
