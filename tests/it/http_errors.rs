//! Errors as clients meet them: problem documents (RFC 9457), codes, headers, and what they do not say.

use std::time::{Duration, Instant};

use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::gateway::Gateway;

/// An answer with its headers.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

/// Sends a request and keeps the headers of its answer.
pub async fn send(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes = response.bytes().await.unwrap();
    Answer { status, headers, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) }
}

/// Asserts that an answer is a problem document with this status and code, complete and consistent.
pub fn assert_problem(answer: &Answer, status: u16, code: &str) {
    let Answer { headers, body, .. } = answer;
    assert_eq!((answer.status, body["code"].as_str()), (status, Some(code)), "{body}");
    assert_eq!(headers["content-type"], "application/problem+json", "{body}");
    assert_eq!(headers["cache-control"], "no-store", "{body}");
    assert_eq!(headers["x-content-type-options"], "nosniff", "{body}");
    assert_eq!(body["type"], format!("/docs#{code}"));
    assert_eq!(body["status"], status);
    assert_eq!(body["requestId"].as_str(), headers["x-request-id"].to_str().ok(), "{body}");
    assert!(body["title"].as_str().is_some_and(|title| !title.is_empty()), "{body}");
    assert!(body["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{body}");
    let known = ["type", "title", "status", "detail", "code", "requestId", "limit", "allowed", "retryAfter"];
    assert!(body.as_object().unwrap().keys().all(|key| known.contains(&key.as_str())), "{body}");
    assert_eq!(status == 401, headers.contains_key("www-authenticate"), "{body}");
    assert_eq!(status == 405, headers.contains_key("allow"), "{body}");
    let retry = headers.get("retry-after").map(|value| value.to_str().unwrap().parse::<u64>().unwrap());
    assert_eq!(retry, body["retryAfter"].as_u64(), "{body}");
}

fn upload() -> Value {
    json!({ "filename": "menu.jpg", "size": 10, "contentType": "image/jpeg" })
}

#[tokio::test]
async fn every_error_is_a_complete_problem_document() {
    let gateway = Gateway::start().await;
    let http = &gateway.http;
    let public = |path: &str| format!("{}{path}", gateway.public);
    let post = |path: &str| http.post(public(path)).bearer_auth(&gateway.token);
    let raw = |body: &'static str| post("/request-upload").header("content-type", "application/json").body(body);
    let missing = format!("obj_{}", "0".repeat(32));
    let cases = [
        (raw("{"), 400, "malformed_request"),
        (raw(""), 400, "malformed_request"),
        (raw("{\"filename\":\"a.jpg\",\"size\":1,\"contentType\":\"image/jpeg\"} x"), 400, "malformed_request"),
        (raw("[\"a.jpg\",1,\"image/jpeg\"]"), 400, "malformed_request"),
        (raw("\u{feff}{}"), 400, "malformed_request"),
        (post("/request-upload").json(&json!({ "filename": "a.jpg", "size": 1 })), 400, "invalid_field"),
        (post("/request-upload").body(upload().to_string()), 415, "unsupported_media_type"),
        (post("/request-upload").header("content-type", "text/plain").body("{}"), 415, "unsupported_media_type"),
        (post("/request-download").json(&json!({})), 400, "invalid_field"),
        (post("/request-download").json(&json!({ "objectId": "x" })), 400, "invalid_field"),
        (post("/request-download").json(&json!({ "objectId": missing })), 404, "object_not_found"),
        (post("/request-download").json(&json!({ "objectId": missing, "path": "a" })), 400, "invalid_field"),
        (http.get(public("/objects/nonsense")).bearer_auth(&gateway.token), 404, "object_not_found"),
        (http.delete(public(&format!("/objects/{missing}"))).bearer_auth(&gateway.token), 404, "object_not_found"),
        (http.get(public("/objects?limit=0")).bearer_auth(&gateway.token), 400, "invalid_field"),
        (http.get(public("/objects?limit=x")).bearer_auth(&gateway.token), 400, "invalid_field"),
        (http.get(public("/objects?state=done")).bearer_auth(&gateway.token), 400, "invalid_field"),
        (http.get(public("/objects?nonsense=1")).bearer_auth(&gateway.token), 400, "invalid_field"),
        (http.get(public("/objects?cursor=1")).bearer_auth(&gateway.token), 400, "invalid_field"),
        (http.get(public("/d/unknown")), 404, "link_invalid"),
        (http.get(public("/nothing")), 404, "not_found"),
        (http.get(public("/request-upload")), 405, "method_not_allowed"),
        (http.patch(public("/objects")), 405, "method_not_allowed"),
        (http.put(public("/objects/x")), 405, "method_not_allowed"),
        (http.get(public("/events/eventgrid")), 405, "method_not_allowed"),
        (http.post(public("/events/eventgrid")).json(&json!([])), 401, "token_invalid"),
        (http.post(public("/events/sns")).json(&json!({})), 401, "token_invalid"),
        (http.post(public("/request-upload")).json(&upload()), 401, "token_missing"),
        (http.post(public("/request-upload")).bearer_auth("x").json(&upload()), 401, "token_invalid"),
        (http.get(format!("{}/admin/nothing", gateway.admin)), 404, "not_found"),
        (http.get(format!("{}/admin/tokens", gateway.admin)), 401, "token_missing"),
        (http.patch(format!("{}/admin/tokens", gateway.admin)), 405, "method_not_allowed"),
    ];
    for (request, status, code) in cases {
        assert_problem(&send(request).await, status, code);
    }
    let answer = send(http.put(public("/objects/x"))).await;
    assert_eq!(
        (&answer.headers["allow"], &answer.body["allowed"]),
        (&"GET, DELETE".parse().unwrap(), &json!(["GET", "DELETE"]))
    );
}

#[tokio::test]
async fn unknown_fields_are_named() {
    let gateway = Gateway::start().await;
    let mut body = upload();
    body["contenttype"] = json!("image/jpeg");
    let (status, problem) = gateway.post("/request-upload", body).await;
    assert_eq!((status, problem["code"].as_str()), (400, Some("invalid_field")));
    assert!(problem["detail"].as_str().unwrap().contains("`contenttype`"), "{problem}");
    let (_, problem) = gateway.post("/request-download", json!({ "objectid": "x" })).await;
    assert!(problem["detail"].as_str().unwrap().contains("`objectid`"), "{problem}");
    let (_, problem) = gateway.admin_post("/admin/tokens", json!({ "App": "where2eat" })).await;
    assert!(problem["detail"].as_str().unwrap().contains("`App`"), "{problem}");
}

/// Writes these bytes on a connection of its own and reads the head of what comes back.
async fn raw(address: &str, bytes: &[u8]) -> String {
    let mut socket = tokio::net::TcpStream::connect(address.trim_start_matches("http://")).await.unwrap();
    // The gateway may close before everything is written; what it answered is still there.
    let _ = socket.write_all(bytes).await;
    let mut answer = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !String::from_utf8_lossy(&answer).contains("\"requestId\"") && Instant::now() < deadline {
        let mut chunk = [0; 4096];
        match tokio::time::timeout(Duration::from_secs(10), socket.read(&mut chunk)).await {
            Ok(Ok(read)) if read > 0 => answer.extend_from_slice(&chunk[..read]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_body_over_64_kib_is_refused_before_it_is_read() {
    let gateway = Gateway::start().await;
    for (address, path, token) in [
        (&gateway.public, "/request-upload", &gateway.token),
        (&gateway.public, "/request-download", &gateway.token),
        (&gateway.public, "/events/eventgrid", &gateway.token),
        (&gateway.public, "/events/sns", &gateway.token),
        (&gateway.admin, "/admin/tokens", &gateway.admin_token),
    ] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        );
        let started = Instant::now();
        let declared = raw(address, format!("{head}Content-Length: 1000000000\r\n\r\n").as_bytes()).await;
        assert!(declared.starts_with("HTTP/1.1 413") && declared.contains("body_too_large"), "{path}: {declared}");
        assert!(started.elapsed() < Duration::from_secs(2), "{path}: {:?}", started.elapsed());

        // Without a length the answer comes once 64 KiB are there, although the body never ends.
        let mut chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
        for _ in 0..17 {
            chunked.extend_from_slice(b"1000\r\n");
            chunked.extend_from_slice(&[b' '; 4096]);
            chunked.extend_from_slice(b"\r\n");
        }
        let answer = raw(address, &chunked).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{path}: {answer}");
    }
    // Whoever sends the file itself hears why that is wrong, and no broken connection.
    let request = gateway.http.post(format!("{}/request-upload", gateway.public)).bearer_auth(&gateway.token);
    let answer = send(request.header("content-type", "image/jpeg").body(vec![0; 5 << 20])).await;
    assert_problem(&answer, 413, "body_too_large");

    let mut largest = upload().to_string();
    largest.push_str(&" ".repeat(64 * 1024 - largest.len()));
    let request = gateway.http.post(format!("{}/request-upload", gateway.public)).bearer_auth(&gateway.token);
    let answer = send(request.header("content-type", "application/json").body(largest)).await;
    assert_eq!(answer.status, 201, "exactly 64 KiB fit: {}", answer.body);
}

#[tokio::test]
async fn routes_of_one_listener_are_not_found_on_the_other() {
    let gateway = Gateway::start().await;
    let routes = |base: String| {
        let request = gateway.http.get(format!("{base}/openapi.json"));
        async move {
            let description = send(request).await.body;
            description["paths"].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
        }
    };
    let (public, admin) = (routes(gateway.public.clone()).await, routes(gateway.admin.clone()).await);
    assert!(public.len() >= 8 && admin.len() >= 8, "{public:?} {admin:?}");
    let shared = ["/healthz", "/readyz", "/openapi.json", "/docs"];
    for (own, other, token) in
        [(&public, &gateway.admin, &gateway.admin_token), (&admin, &gateway.public, &gateway.token)]
    {
        for path in own.iter().filter(|path| !shared.contains(&path.as_str())) {
            let path = path.replace("{id}", &format!("obj_{}", "0".repeat(32))).replace("{link}", "x");
            for method in ["GET", "POST", "DELETE"] {
                let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
                let answer = send(gateway.http.request(method, format!("{other}{path}")).bearer_auth(token)).await;
                assert_problem(&answer, 404, "not_found");
            }
        }
    }
}

#[tokio::test]
async fn a_request_id_comes_back_and_a_hostile_one_is_replaced() {
    let gateway = Gateway::start().await;
    let ask = |id: String| {
        let request = gateway.http.post(format!("{}/request-upload", gateway.public)).bearer_auth(&gateway.token);
        send(request.header("x-request-id", id).json(&json!({})))
    };
    let answer = ask("flow-17:step.3_a".into()).await;
    assert_problem(&answer, 400, "invalid_field");
    assert_eq!(answer.headers["x-request-id"], "flow-17:step.3_a");
    for hostile in ["a b", "<script>", "x\u{e9}", gateway.token.as_str(), &"x".repeat(101), ""] {
        let answer = ask(hostile.into()).await;
        let id = answer.headers["x-request-id"].to_str().unwrap();
        assert!(id.starts_with("req_") && id.len() == 36, "{hostile:?} became {id}");
        assert_eq!(answer.body["requestId"], id);
    }
    let (_, page) = gateway.admin_get("/admin/audit?app=where2eat").await;
    let recorded = page["entries"].as_array().unwrap();
    assert!(recorded.iter().any(|entry| entry["requestId"] == "flow-17:step.3_a"), "{page}");
}

#[tokio::test]
async fn a_token_is_taken_from_a_header_and_only_one() {
    let gateway = Gateway::start().await;
    let other = gateway.create_token(json!({ "app": "where2eat", "workflow": "other" })).await;
    let list = |query: String| gateway.http.get(format!("{}/objects{query}", gateway.public));
    let query = format!("?token={}", gateway.token);
    assert_problem(&send(list(query.clone())).await, 400, "token_in_query");
    assert_problem(&send(list(query).bearer_auth(&gateway.token)).await, 400, "token_in_query");
    assert_problem(&send(list("?access_token=x".into())).await, 400, "token_in_query");
    let escaped = format!("?a=%76st{}", &gateway.token[3..]);
    assert_problem(&send(list(escaped)).await, 400, "token_in_query");

    let both = list(String::new()).bearer_auth(&gateway.token).header("x-workflow-token", &other);
    assert_problem(&send(both).await, 401, "token_invalid");
    let twice = list(String::new()).bearer_auth(&gateway.token).header("x-workflow-token", &gateway.token);
    assert_eq!(send(twice).await.status, 200, "the same token twice is one token");
    let custom = list(String::new()).header("x-workflow-token", &gateway.token);
    assert_eq!(send(custom).await.status, 200);
    let lower = list(String::new()).header("authorization", format!("bearer {}", gateway.token));
    assert_eq!(send(lower).await.status, 200);
    for header in ["Basic dXNlcjpwYXNz", "Bearer", "Bearer ", "vst_live_x"] {
        assert_problem(&send(list(String::new()).header("authorization", header)).await, 401, "token_invalid");
    }
    let mut cut = gateway.token.clone();
    cut.pop();
    let answer = send(list(String::new()).bearer_auth(cut)).await;
    assert_problem(&answer, 401, "token_invalid");
    assert!(answer.headers["www-authenticate"].to_str().unwrap().contains("invalid_token"));
}

#[tokio::test]
async fn an_object_of_another_app_does_not_exist() {
    let gateway = Gateway::start().await;
    let (_, issued) = gateway.post("/request-upload", upload()).await;
    let id = issued["objectId"].as_str().unwrap();
    let stranger = gateway.create_token(json!({ "app": "finance-invoices", "workflow": "mail" })).await;
    let path = gateway.get(&format!("/objects/{id}")).await.1["path"].as_str().unwrap().to_owned();
    let public = |path: &str| format!("{}{path}", gateway.public);
    let http = &gateway.http;
    for request in [
        http.get(public(&format!("/objects/{id}"))),
        http.delete(public(&format!("/objects/{id}"))),
        http.post(public("/request-download")).json(&json!({ "objectId": id })),
        http.post(public("/request-download")).json(&json!({ "path": path })),
        http.post(public("/request-download")).json(&json!({ "objectId": id, "disposition": "inline" })),
    ] {
        let answer = send(request.bearer_auth(&stranger)).await;
        assert_problem(&answer, 404, "object_not_found");
        let text = answer.body.to_string();
        assert!(!text.contains("where2eat") && !text.contains("images"), "{text}");
    }
    let (_, object) = gateway.get(&format!("/objects/{id}")).await;
    assert_eq!(object["state"], "issued", "nothing happened to it: {object}");
}
