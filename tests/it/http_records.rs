//! What leaves a record though nothing was done, what is never answered for a page of another origin, and bodies that
//! never end.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::gateway::Gateway;
use crate::http_errors::send;

async fn entries(gateway: &Gateway, filter: &str) -> Vec<Value> {
    let (status, page) = gateway.admin_get(&format!("/admin/audit?limit=1000{filter}")).await;
    assert_eq!(status, 200, "{page}");
    page["entries"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_second_deletion_succeeds_and_is_recorded_too() {
    let gateway = Gateway::start().await;
    let issued = gateway.request_jpeg(&[0xff, 0xd8, 0xff, 0xe0]).await;
    let id = issued["objectId"].as_str().unwrap();
    for _ in 0..2 {
        assert_eq!(gateway.delete(&format!("/objects/{id}")).await.0, 204);
    }
    let deletions: Vec<_> = entries(&gateway, &format!("&object={id}"))
        .await
        .into_iter()
        .filter(|entry| entry["action"] == "deleteObject")
        .map(|entry| (entry["outcome"].clone(), entry["detail"].clone()))
        .collect();
    assert_eq!(deletions.len(), 2, "{deletions:?}");
    assert!(deletions.contains(&("allowed".into(), "it was deleted before".into())), "{deletions:?}");
}

#[tokio::test]
async fn a_delivery_that_proves_nothing_is_refused_and_recorded() {
    let gateway = Gateway::start().await;
    let url = format!("{}/events/sns", gateway.public);
    let answer = send(gateway.http.post(url).body("{\"Type\":\"Notification\"}")).await;
    assert_eq!((answer.status, answer.body["code"].as_str()), (401, Some("token_invalid")), "{}", answer.body);
    let recorded = entries(&gateway, "").await;
    let refused = |entry: &&Value| entry["route"] == "/events/sns" && entry["outcome"] == "refused";
    assert_eq!(recorded.iter().filter(refused).count(), 1, "{recorded:?}");
}

#[tokio::test]
async fn the_admin_listener_answers_no_preflight() {
    let gateway = Gateway::start().await;
    let url = format!("{}/admin/tokens", gateway.admin);
    let asked = gateway.http.request(Method::OPTIONS, url).header("origin", "https://where2eat.example");
    let answer = send(asked.header("access-control-request-method", "POST")).await;
    assert_eq!(answer.status, 405);
    assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("access-control-")), "{:?}", answer.headers);
}

#[tokio::test]
async fn a_body_that_stops_halfway_is_answered_with_408_and_the_connection_ends() {
    let gateway = Gateway::start().await;
    let mut stream = TcpStream::connect(gateway.public.trim_start_matches("http://")).await.unwrap();
    let head = format!(
        "POST /request-upload HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: 100\r\n\r\n{{\"filename\":",
        gateway.token
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = tokio::time::timeout(Duration::from_secs(30), stream.read_to_string(&mut answer)).await;
    assert!(read.is_ok(), "the connection stays open: {answer}");
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("\"code\":\"request_timeout\""), "{answer}");
    let recorded = entries(&gateway, "").await;
    assert!(recorded.iter().any(|entry| entry["reason"] == "requestTimeout" || entry["status"] == 408), "{recorded:?}");
}
