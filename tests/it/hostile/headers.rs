//! Requests that mean one thing to a proxy and another to the gateway, and tokens where addresses are logged.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::gateway::{Gateway, PATIENCE};
use crate::http_errors::{assert_problem, send};

/// Everything that the gateway answers to these bytes until it ends the connection, which it must.
async fn raw(gateway: &Gateway, bytes: &str) -> String {
    let mut socket = tokio::net::TcpStream::connect(gateway.public.trim_start_matches("http://")).await.unwrap();
    let _ = socket.write_all(bytes.as_bytes()).await;
    let mut answer = Vec::new();
    // A reset is an end too.
    let ended = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut answer)).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(ended.is_ok(), "the connection stays open after {bytes}: {answer}");
    answer
}

fn statuses(answer: &str) -> Vec<u16> {
    let lines = answer.split("HTTP/1.1 ").skip(1);
    lines.map(|rest| rest[..3].parse().unwrap()).collect()
}

#[tokio::test]
async fn a_second_request_cannot_be_hidden_in_a_first_one() {
    let gateway = Gateway::start().await;
    let token = &gateway.token;
    let hidden =
        format!("GET /objects HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n");
    let (length, post) =
        (hidden.len(), "POST /request-upload HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n");
    // Where each is one request, both are answered.
    for head in ["Content-Length: 0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"] {
        let answer = raw(&gateway, &format!("{post}{head}{hidden}")).await;
        assert_eq!(statuses(&answer), [401, 200], "{head}: {answer}");
    }
    for (what, head) in [
        (
            "a length and chunks",
            format!("{post}Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ),
        ("two lengths", format!("{post}Content-Length: 0\r\nContent-Length: {length}\r\n\r\n")),
        ("a list of lengths", format!("{post}Content-Length: 0, {length}\r\n\r\n")),
        ("a length with a sign", format!("{post}Content-Length: +0\r\n\r\n")),
        ("an unknown coding", format!("{post}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n")),
        ("chunked not last", format!("{post}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n")),
        ("a blank before the colon", format!("{post}Content-Length : 0\r\n\r\n")),
        ("a folded header", format!("{post}X-A: b\r\n Transfer-Encoding: chunked\r\n\r\n")),
    ] {
        let answer = raw(&gateway, &format!("{head}{hidden}")).await;
        // A request that is taken as whole may be followed by another; what is doubtful must end the connection.
        let seen = statuses(&answer);
        assert_eq!(seen, [400], "{what}: {answer}");
    }
}

#[tokio::test]
async fn only_one_well_formed_header_carries_a_token() {
    let gateway = Gateway::start().await;
    let other = gateway.create_token(json!({ "app": "where2eat", "workflow": "other" })).await;
    let token = gateway.token.as_str();
    let ask = |headers: &str| format!("GET /objects HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n\r\n");
    for headers in [
        format!("Authorization: Bearer {token}\r\nAuthorization: Bearer {other}"),
        format!("Authorization: Bearer {token}, Bearer {token}"),
        format!("Authorization: Bearer {token},{other}"),
        format!("Authorization: Bearer {token} {other}"),
        format!("Authorization: Bearer  x{token}"),
        format!("Authorization: Bearer {token}\u{0}"),
        format!("Authorization: Bearer\u{a0}{token}"),
        format!("Authorization: Bearer {token}\r\nX-Workflow-Token: {other}"),
        format!("X-Workflow-Token: {token}\r\nX-Workflow-Token: {other}"),
        format!("Authorization : Bearer {token}"),
        format!("X_Workflow_Token: {token}"),
        format!("X-Authorization: Bearer {token}"),
        format!("Proxy-Authorization: Bearer {token}"),
        format!("Cookie: authorization=Bearer {token}; token={token}"),
        format!("X-Forwarded-Authorization: Bearer {token}\r\nX-Forwarded-User: operator"),
        format!("X-A: b\r\n Authorization: Bearer {token}"),
        format!("Authorization: Basic {token}"),
        format!("Authorization: {token}"),
    ] {
        let answer = raw(&gateway, &ask(&headers)).await;
        let seen = statuses(&answer);
        assert!(seen == [400] || seen == [401], "{headers}: {answer}");
        assert!(!answer.contains(token) && !answer.contains(&other), "{answer}");
    }
    let answer = raw(&gateway, &ask(&format!("Authorization: Bearer {token}"))).await;
    assert_eq!(statuses(&answer), [200], "{answer}");
}

#[tokio::test]
async fn a_token_of_any_kind_in_an_address_is_refused_on_every_route() {
    let gateway = Gateway::start().await;
    let jwt = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbmFseXN0In0.c2lnbmF0dXJl";
    for (base, token) in [(&gateway.public, &gateway.token), (&gateway.admin, &gateway.admin_token)] {
        let description = send(gateway.http.get(format!("{base}/openapi.json"))).await.body;
        let paths: Vec<&String> = description["paths"].as_object().unwrap().keys().collect();
        assert!(paths.len() >= 8);
        for path in paths {
            let path = path.replace("{id}", &format!("obj_{}", "0".repeat(32)));
            for method in ["GET", "POST", "DELETE"] {
                let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
                let request = gateway.http.request(method, format!("{base}{path}?x={jwt}")).bearer_auth(token);
                assert_problem(&send(request).await, 400, "token_in_query");
            }
        }
    }
    let list = format!("{}/objects", gateway.public);
    for query in [
        format!("access_token={}", gateway.token),
        format!("t={}", gateway.admin_token),
        "access_token=opaque".into(),
        "id_token=x".into(),
        "subject_token=x&grant_type=urn:ietf:params:oauth:grant-type:token-exchange".into(),
        "a=b&ACCESS_TOKEN=x".into(),
        format!("prefix={}", jwt.replace('.', "%2E")),
        format!("prefix=vst%5Flive_{}", &gateway.token[9..]),
    ] {
        let answer = send(gateway.http.get(format!("{list}?{query}")).bearer_auth(&gateway.token)).await;
        assert_problem(&answer, 400, "token_in_query");
        assert!(!answer.body.to_string().contains("eyJ"), "{}", answer.body);
    }
    // Neither the log nor the trail keeps what was refused.
    let (_, page) = gateway.admin_get("/admin/audit?limit=1000").await;
    let log = gateway.log();
    for secret in [jwt, gateway.token.as_str(), gateway.admin_token.as_str()] {
        assert!(!page.to_string().contains(secret) && !log.contains(secret));
    }
    assert!(page.to_string().contains("token_in_query"));
}
